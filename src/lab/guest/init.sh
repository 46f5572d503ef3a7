#!/bin/sh
# First process of the lab guest: mounts, modules, names; then busybox init, which reaps
# orphans and keeps the guest agent running (see inittab).

mount -t proc proc /proc
read -r words < /proc/cmdline
address='' name=kvmtune
for word in $words; do
    case $word in
        kvmtune.probe) echo KVMTUNE-PROBE-OK; poweroff -f ;;
        kvmtune.ip=*) address=${word#*=} ;;
        kvmtune.hostname=*) name=${word#*=} ;;
    esac
done

mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm /dev/hugepages /dev/virtio-ports
mount -t devpts devpts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t hugetlbfs hugetlbfs /dev/hugepages
mount -t sysfs sysfs /sys
mount -t debugfs debugfs /sys/kernel/debug
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs -o mode=0755 run /run
mount -t tmpfs -o mode=1777 tmp /tmp
echo "$name" > /proc/sys/kernel/hostname

modprobe -a virtio_pci virtio_console virtio_net virtio_blk

for disk in /sys/block/vd*; do
    serial=''
    read -r serial < "$disk/serial"
    case $serial in
        kvmtune-tools) mount -t ext4 -o ro "/dev/${disk##*/}" /opt/tools ;;
        kvmtune-data) ln -s "${disk##*/}" /dev/kvmtune-data ;;
    esac
done

busybox ip link set lo up
if [ -n "$address" ]; then
    busybox ip address add "$address" dev eth0
    busybox ip link set eth0 up
fi

# The ports of a virtio console appear some milliseconds after its driver.
tries=0
until [ -e /dev/virtio-ports/org.qemu.guest_agent.0 ] || [ $tries -ge 100 ]; do
    for port in /sys/class/virtio-ports/*; do
        label=''
        [ ! -e "$port/name" ] || read -r label < "$port/name"
        [ -z "$label" ] || ln -sf "/dev/${port##*/}" "/dev/virtio-ports/$label"
    done
    tries=$((tries + 1))
    [ -e /dev/virtio-ports/org.qemu.guest_agent.0 ] || usleep 20000
done

exec /sbin/init

#!/bin/sh
# First process of the lab host: its root is the tested machine's own, read-only, under a layer on its disk. So every
# program, library and module has its usual path, and what the host writes is still there at its next boot.
mount -t proc proc /proc
mount -t devtmpfs dev /dev
modprobe -a virtio_pci virtio_blk virtio_console virtio_net
for module in fuse virtiofs overlay; do
    insmod "/stage/$module.ko"
done

cd /stage || exit
mkdir machine disk root
mount -t virtiofs -o ro machine machine
mount -t ext4 /dev/vda disk
mkdir -p disk/upper disk/work
mount -t overlay -o lowerdir=machine,upperdir=disk/upper,workdir=disk/work root root
cp inittab lab-host root/etc/
mount --move /dev root/dev
init='/usr/bin/busybox init'
case $(cat /proc/cmdline) in *kvmtune.systemd*)
    init=/lib/systemd/systemd
    # The units that the machine wants are not of the lab host; those that it gets there are.
    if [ ! -e disk/units ]; then
        rm -rf root/etc/systemd/system
        mkdir root/etc/systemd/system disk/units
        # Without an id systemd takes the boot for the first one, and enables all units.
        tr -d - < /proc/sys/kernel/random/uuid > root/etc/machine-id
        # /tmp is the machine's: it is not emptied at a boot, which would open each of its files.
        : > root/etc/tmpfiles.d/tmp.conf
    fi
esac
umount /proc
exec busybox switch_root root $init

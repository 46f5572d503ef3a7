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
umount /proc
exec busybox switch_root root /usr/bin/busybox init

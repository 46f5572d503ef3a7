#!/usr/bin/env bash
# Installs the Debian packages that kvmtune is built from and that its lab guest is made of.
# Does nothing, and asks the network nothing, when all of them are there.
#
#   scripts/setup.sh            what building and running take
#   scripts/setup.sh test       and what only the tests and benchmarks take: a browser, tuned and their like
#   SETUP_DRY_RUN=1             prints the commands instead of running them
#
# The list follows src/lab/image/packages.rs and src/check.rs: `kvmtune check` tells what is missing at run time.
set -euo pipefail

packages=(
    # building: the bindings to libvirt link against its library
    libvirt-dev pkg-config
    # and the guest's program, which is linked statically
    gcc libc6-dev
    # running guests; the libvirt daemon itself is needed only for guests of your own
    libvirt-daemon-system libvirt-daemon-driver-qemu libvirt-clients qemu-system-x86 qemu-utils
    # the lab guest: its kernel, its programs, its agent, and what packs them
    linux-image-cloud-amd64 busybox-static qemu-guest-agent fio iperf3 stress-ng kmod e2fsprogs
    # more workloads of the lab guest: cyclictest and hackbench are in rt-tests
    mbw rt-tests sockperf sysbench
    # the lab's network, loop device and processes
    iproute2 mount util-linux
    # the offloads of the lab guest's link
    ethtool
    # the letters of plots as PNG
    fonts-dejavu-core
    # guests reached by ssh: the client, and a server for the lab's (this package starts none on the host)
    openssh-client dropbear-bin
)
for_tests=(
    # the benchmarks, and the test that reads a CSV with another program
    python3
    # the tests of the report's page
    chromium
    # what reads the files of a commit: 25 MB with all they need
    procps udev systemd dbus-daemon grub2-common tuned
)

fail() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

missing() {
    local installed
    installed=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "${packages[@]}" 2>/dev/null || true)
    local package
    for package in "${packages[@]}"; do
        grep -qx "$package installed" <<<"$installed" || printf '%s\n' "$package"
    done
}

# Runs a command as root, or prints it.
as_root() {
    local command=("$@")
    if [[ $(id -u) != 0 ]]; then
        command -v sudo >/dev/null || fail "not root, and no sudo; as root run: ${command[*]}"
        command=(sudo "${command[@]}")
    fi
    if [[ ${SETUP_DRY_RUN:-} == 1 ]]; then
        printf '%s\n' "${command[*]}"
    else
        "${command[@]}" </dev/null
    fi
}

apt_get() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get \
        -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 -qq --yes "$@"
}

candidate() {
    LC_ALL=C apt-cache policy "$1" | sed -n 's/^  Candidate: //p'
}

# Rebuilt packages of one source differ in a last `+b3` only.
source_version() {
    sed 's/+b[0-9]*$//' <<<"$1"
}

# A machine may carry parts of a newer QEMU, from backports say, that break the QEMU about to be installed. apt does
# not go back by itself, so each such part is named with the version that belongs to qemu-system-x86.
qemu_parts_to_pin() {
    local qemu=$1 package version
    while read -r package; do
        [[ $(source_version "$(candidate "$package")") != "$qemu" ]] || continue
        while read -r _ version _; do
            if [[ $(source_version "$version") == "$qemu" ]]; then
                printf '%s=%s\n' "$package" "$version"
                break
            fi
        done < <(apt-cache madison "$package" | tr '|' ' ')
    done < <(dpkg-query -W -f '${db:Status-Status} ${source:Package} ${Package}\n' | sed -n 's/^installed qemu //p')
}

without_pinned() {
    local package pin
    for package in "${wanted[@]}"; do
        for pin in "${pins[@]}"; do
            [[ ${pin%%=*} != "$package" ]] || continue 2
        done
        printf '%s\n' "$package"
    done
}

case "$*" in
'') ;;
test) packages+=("${for_tests[@]}") ;;
*) fail "unknown: $*; scripts/setup.sh takes nothing or the word test" ;;
esac

command -v cargo >/dev/null || fail "no cargo on the PATH; install Rust first: https://rustup.rs"
command -v cargo-nextest >/dev/null ||
    printf 'setup: no cargo-nextest on the PATH; `make test` needs it: cargo install --locked cargo-nextest\n' >&2

command -v dpkg-query >/dev/null || fail "this is no Debian; install the equivalents of: ${packages[*]}"
mapfile -t wanted < <(missing)
[[ ${#wanted[@]} -gt 0 ]] || exit 0

[[ $(dpkg --print-architecture) == amd64 ]] || fail "the lab guest is made for amd64 only"
printf 'setup: installing %s\n' "${wanted[*]}" >&2
apt_get update
qemu=$(source_version "$(candidate qemu-system-x86)")
[[ -n $qemu && $qemu != "(none)" ]] || fail "apt offers no qemu-system-x86; look at /etc/apt/sources.list.d"
mapfile -t pins < <(qemu_parts_to_pin "$qemu")
mapfile -t wanted < <(without_pinned)
# Its service would set this machine anew, now and at every boot; only its programs are wanted. It stays masked:
# `systemctl unmask tuned` is for whoever wants it.
if [[ " ${wanted[*]} " == *" tuned "* ]]; then
    as_root mkdir -p /etc/systemd/system
    as_root ln -sf /dev/null /etc/systemd/system/tuned.service
fi
apt_get install --no-install-recommends --allow-downgrades "${wanted[@]}" "${pins[@]}"

[[ ${SETUP_DRY_RUN:-} != 1 ]] || exit 0
mapfile -t wanted < <(missing)
[[ ${#wanted[@]} -eq 0 ]] || fail "still missing after the installation: ${wanted[*]}"

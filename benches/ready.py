#!/usr/bin/env python3
"""How long the lab's guest takes until its agent answers: through kvmtune and through a bare QEMU command line.

Interleaved on this machine, the same image and devices; prints each pair, both medians and their ratio, and
kvmtune's peak memory. Root only, as the lab is.

    benches/ready.py [PAIRS] [KVMTUNE]
"""

import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time

PAIRS = int(sys.argv[1]) if len(sys.argv) > 1 else 7
KVMTUNE = sys.argv[2] if len(sys.argv) > 2 else "target/release/kvmtune"


def image(folders):
    built = subprocess.run([KVMTUNE, *folders, "lab", "build", "--json"], check=True, capture_output=True)
    return json.loads(built.stdout)["folder"]


def through_kvmtune(folders):
    """Seconds by kvmtune's own clock, from create to the answer, and peak memory in MiB."""
    shell = subprocess.Popen(
        [KVMTUNE, *folders, "lab", "shell"], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    said = shell.stderr.read()
    _, _, usage = os.wait4(shell.pid, 0)
    return float(re.search(r"guest ready after ([0-9.]+)s", said).group(1)), usage.ru_maxrss / 1024


def bare(folder, scratch):
    path, data = f"{scratch}/agent", f"{scratch}/data"
    with open(data, "wb") as file:
        file.truncate(256 << 20)
    if os.path.exists(path):
        os.unlink(path)
    command = [
        "qemu-system-x86_64", "-machine", "q35", "-accel", "tcg,thread=multi", "-m", "512", "-smp", "2", "-nodefaults", "-display", "none", "-no-user-config",
        "-kernel", f"{folder}/vmlinuz", "-initrd", f"{folder}/initrd", "-append", "console=ttyS0 quiet panic=-1",
        "-serial", f"file:{scratch}/console",
        "-drive", f"file={folder}/tools.img,if=none,id=t,format=raw,readonly=on",
        "-device", "virtio-blk-pci,drive=t,serial=kvmtune-tools",
        "-drive", f"file={data},if=none,id=d,format=raw", "-device", "virtio-blk-pci,drive=d,serial=kvmtune-data",
        "-netdev", "user,id=n,restrict=on", "-device", "virtio-net-pci,netdev=n,romfile=",
        "-device", "virtio-serial-pci", "-chardev", f"socket,id=a,path={path},server=on,wait=off",
        "-device", "virtserialport,chardev=a,name=org.qemu.guest_agent.0",
    ]
    started = time.monotonic()
    guest = subprocess.Popen(command)
    try:
        return answer_after(path, started)
    finally:
        guest.kill()
        guest.wait()


def answer_after(path, started):
    while time.monotonic() - started < 60:
        try:
            with socket.socket(socket.AF_UNIX) as agent:
                agent.settimeout(0.5)
                agent.connect(path)
                while time.monotonic() - started < 60:
                    agent.sendall(b'{"execute":"guest-ping"}\n')
                    try:
                        if b"return" in agent.recv(4096):
                            return time.monotonic() - started
                    except TimeoutError:
                        pass
        except OSError:
            time.sleep(0.01)
    raise SystemExit("the bare guest's agent did not answer within 60 s")


def main():
    with tempfile.TemporaryDirectory(prefix="kvmtune-ready-") as scratch:
        folders = ["--state", f"{scratch}/state", "--cache", os.environ.get("KVMTUNE_CACHE_DIR", f"{scratch}/cache")]
        folder = image(folders)
        through_kvmtune(folders)  # libvirt asks QEMU for its capabilities once
        pairs = []
        for _ in range(PAIRS):
            ours, memory = through_kvmtune(folders)
            theirs = bare(folder, scratch)
            pairs.append((ours, theirs, memory))
            print(f"kvmtune {ours:.2f} s  bare {theirs:.2f} s  ratio {ours / theirs:.3f}  peak {memory:.0f} MiB")
        ours, theirs = (statistics.median(p[i] for p in pairs) for i in (0, 1))
        print(f"median: kvmtune {ours:.2f} s, bare {theirs:.2f} s, ratio {ours / theirs:.3f}; "
              f"median of ratios {statistics.median(p[0] / p[1] for p in pairs):.3f}; "
              f"peak memory {max(p[2] for p in pairs):.0f} MiB")


main()

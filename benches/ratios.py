#!/usr/bin/env python3
"""Sets what `cargo bench --bench analysis` measured beside scipy on the same runs, and beside the targets.

    benches/ratios.py [KVMTUNE]    after the benchmarks, in the project's folder; `make bench` does both

Without scipy only kvmtune's side is printed. Memory is the peak of the whole program. The page is timed as a user waits
for it, from the start of the program to its end, beside a Python program that only reads the same rows with sqlite3.
"""

import json
import os
import subprocess
import sys
import tempfile
import time

TARGET = os.environ.get("CARGO_TARGET_DIR", "target")
KVMTUNE = sys.argv[1] if len(sys.argv) > 1 else f"{TARGET}/release/kvmtune"
RUNS = f"{TARGET}/tmp/made-up-3"
PEAK_MIB = 200
# Building the page of 10,000 trials x 20 metrics, the whole program.
PAGE_SECONDS = 2.0
PAGE_MIB = 300

# Every row of the same run, and no more.
READ = """
import sqlite3, sys
db = sqlite3.connect(f"file:{sys.argv[1]}/kvmtune.db?immutable=1", uri=True)
run, = db.execute("SELECT id FROM run WHERE experiment = ?", sys.argv[2:]).fetchone()
rows = db.execute(
    "SELECT trial.id, block, position, treatment, workload, metric, value FROM trial"
    " JOIN observation ON observation.trial = trial.id WHERE run = ? ORDER BY trial.id, number", [run]).fetchall()
"""

# Name of the benchmark, what it does, seconds it may take.
ROWS = [
    ("evaluate/fixed", "judge 10,000 trials x 20 metrics: 50 treatments, 200 blocks", 1.0),
    ("evaluate/looks", "the same, followed block by block from 40 to 200", 1.0),
    ("evaluate/anytime", "the same, claims after any block", 1.0),
    ("evaluate/long", "judge 10,000 trials x 20 metrics: 2 treatments, 5,000 blocks", 1.0),
    ("fifty-untied/test", "signed rank, n = 50", 1e-3),
    ("fifty-tied/test", "signed rank, n = 50, ties", 1e-3),
    ("fifty-untied/interval", "its interval", 1e-3),
    ("fifty-tied/interval", "its interval, ties", None),
    ("fifty-untied/estimate", "Hodges-Lehmann, n = 50", None),
    ("store/csv-million", "1,000,000 observations to CSV", 3.0),
    ("store/jsonl-million", "1,000,000 observations to JSON Lines", None),
    ("store/trials", "read 10,000 trials x 20 metrics", None),
    ("report/html", "a report as HTML, once the trials are read", None),
    ("report/json", "the same as JSON", None),
]


def measured(name):
    """The median in seconds; None when it was not measured."""
    try:
        with open(f"{TARGET}/criterion/{name}/new/estimates.json") as file:
            return json.load(file)["median"]["point_estimate"] / 1e9
    except FileNotFoundError:
        return None


def with_scipy():
    try:
        from scipy_same_work import measure
    except ImportError as missing:
        print(f"{missing}: only kvmtune's side follows; for scipy's: python3 -m pip install scipy\n")
        return {}
    print("scipy does the same work; this takes a minute or two", file=sys.stderr)
    return measure(RUNS)


def unit(seconds):
    if seconds is None:
        return "-"
    for size, name in ((1, "s"), (1e-3, "ms"), (1e-6, "us")):
        if seconds >= size:
            break
    return f"{seconds / size:.3g} {name}"


def met(seconds, target):
    if target is None or seconds is None:
        return "-"
    return "yes" if seconds < target else "NO"


def cost(*command):
    """Of a program: seconds from start to end, seconds of a CPU, peak memory in MiB."""
    start = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {child.returncode}")
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def peak(*arguments):
    """Peak memory of kvmtune in MiB."""
    return cost(KVMTUNE, "--results", RUNS, *arguments)[2]


def pages():
    """The least of three: what else the machine does only adds. The ratio is one of CPU time, which it touches least."""
    yield ["HTML page of 10,000 trials x 20 metrics", "s", "target", "met", "CPU s", "x reading", "MiB", "target", "met"]
    with tempfile.TemporaryDirectory() as folder:
        page = os.path.join(folder, "page.html")
        for text, run in [
            ("50 treatments of two factors, 200 blocks, all there is to tell", "whole"),
            ("50 treatments, 200 blocks, 19 guards", "fixed"),
            ("2 treatments, 5,000 blocks, 19 guards", "long"),
        ]:
            page_of = [KVMTUNE, "--results", RUNS, "report", run, "--html", page]
            seconds, cpu, mib = map(min, zip(*(cost(*page_of) for _ in range(3))))
            _, read, _ = map(min, zip(*(cost(sys.executable, "-c", READ, RUNS, run) for _ in range(3))))
            name = f"{text} ({os.path.getsize(page) / 2**20:.1f} MiB)"
            wall = [f"{seconds:.2f}", f"{PAGE_SECONDS:.0f}", met(seconds, PAGE_SECONDS)]
            memory = [f"{mib:.0f}", f"{PAGE_MIB}", met(mib, PAGE_MIB)]
            yield [name, *wall, f"{cpu:.2f}", f"{cpu / read:.2f}", *memory]


def times(scipy):
    yield ["", "kvmtune", "scipy", "ratio", "target", "met"]
    for name, text, target in ROWS:
        own, other = measured(name), scipy.get(name)
        ratio = f"{other / own:.3g}" if own and other else "-"
        yield [text, unit(own), unit(other), ratio, unit(target), met(own, target)]


def memory():
    yield ["peak memory", "MiB", "target", "met"]
    for text, arguments in [
        ("report of 10,000 trials x 20 metrics", ["report", "fixed", "--json"]),
        ("the same with looks", ["report", "looks", "--json"]),
        ("the same, 5,000 blocks", ["report", "long", "--json"]),
        ("1,000,000 observations to CSV", ["export", "million", "--csv"]),
    ]:
        mib = peak(*arguments)
        yield [text, f"{mib:.0f}", f"{PEAK_MIB}", met(mib, PEAK_MIB)]


def table(rows):
    rows = list(rows)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    rows.insert(1, ["-" * width for width in widths])
    for first, *rest in rows:
        cells = [first.ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(rest, widths[1:])]
        print("| " + " | ".join(cells) + " |")
    print()


if __name__ == "__main__":
    # First, as a child begins with its parent's peak, and numpy's is higher.
    first = [list(pages()), list(memory())]
    table(times(with_scipy()))
    for rows in first:
        table(rows)

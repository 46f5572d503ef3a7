#!/usr/bin/env python3
"""The work of benches/analysis.rs once more, with numpy, scipy and the csv module, on the same stored runs.

    benches/scipy_same_work.py FOLDER    seconds by benchmark, as JSON; FOLDER has the kvmtune.db of the benchmarks

Reading the numbers is not part of the time of an analysis, here as there. Of the looks only the signed-rank tests,
estimates and drops are done: scipy has nothing that prices them. numpy makes all Walsh averages, as one does with it.
"""

import csv
import json
import math
import os
import sqlite3
import sys
import time

import numpy as np
from scipy import stats

EXACT_LIMIT = 50
FIRST_TO_DROP = 5


def run_id(db, name):
    return db.execute("SELECT id FROM run WHERE experiment = ?", [name]).fetchone()[0]


def differences(db, name):
    """ln(candidate / baseline), positive is better: candidates x metrics x blocks."""
    rows = db.execute(
        "SELECT treatment, metric, block, value FROM measurement WHERE run = ? ORDER BY treatment, metric, block",
        [run_id(db, name)],
    ).fetchall()
    treatments = sorted({row[0] for row in rows})
    metrics = sorted({row[1] for row in rows}, key=lambda metric: (metric != "iops", metric))
    values = np.array([row[3] for row in rows]).reshape(len(treatments), len(metrics), -1)
    # Rows come in the order of names; the response, last there, is first here.
    values = np.concatenate([values[:, -1:], values[:, :-1]], axis=1)
    sign = np.where(np.arange(len(metrics)) % 2 == 0, 1.0, -1.0)[None, :, None]
    return values, sign


def log_ratios(values, sign):
    logs = np.log(values)
    return sign * (logs[1:] - logs[:1])


def walsh(d):
    i, j = np.triu_indices(len(d))
    return (d[i] + d[j]) / 2


def estimate(d):
    return float(np.median(walsh(d)))


def cut(n, alpha):
    mean, deviation = n * (n + 1) / 4, math.sqrt(n * (n + 1) * (2 * n + 1) / 24)
    return int(math.floor(mean - 0.5 + stats.norm.ppf(alpha / 2) * deviation))


def exact_cut(n, alpha):
    counts = np.zeros(n * (n + 1) // 2 + 1)
    counts[0] = 1
    for rank in range(1, n + 1):
        counts[rank:] += counts[:-rank].copy()
    return int(np.searchsorted(np.cumsum(counts) / 2.0**n, alpha / 2, side="right")) - 1


def interval(d, alpha):
    averages = walsh(d)
    at = exact_cut(len(d), alpha) if len(d) <= EXACT_LIMIT else cut(len(d), alpha)
    ends = np.partition(averages, [at, len(averages) - 1 - at])
    return float(ends[at]), float(ends[len(averages) - 1 - at])


def p_value(d, alternative="two-sided"):
    method = "exact" if len(d) <= EXACT_LIMIT else "approx"
    return float(stats.wilcoxon(d, zero_method="pratt", alternative=alternative, method=method, correction=True).pvalue)


def holm(p):
    order = np.argsort(p)
    steps = np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p))))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(steps, 1)
    return adjusted


def judge(d):
    """Every test, estimate and interval of a report."""
    family = len(d)
    adjusted = holm(np.array([p_value(candidate[0]) for candidate in d]))
    responses = [(estimate(c[0]), interval(c[0], 0.05 / family), interval(c[0], 0.10)) for c in d]
    guards = [[(estimate(guard), interval(guard, 0.10)) for guard in candidate[1:]] for candidate in d]
    return adjusted, responses, guards


def fixed(values, sign):
    judge(log_ratios(values, sign))


def looks(values, sign):
    """After every block: the leader, its guards, and who is dropped."""
    d = log_ratios(values, sign)
    active = list(range(len(d)))
    for done in range(FIRST_TO_DROP, d.shape[2] + 1):
        ranked = sorted(active, key=lambda c: -estimate(d[c, 0, :done]))
        margins = np.where(sign[0, 1:, 0] > 0, math.log1p(-0.05), -math.log1p(0.05))
        holds = lambda c: all(
            p_value(guard[:done] - margin, "less") > 0.05 for guard, margin in zip(d[c, 1:], margins)
        )
        leader = next((c for c in ranked if holds(c)), None)
        if leader is not None and estimate(d[leader, 0, :done]) <= 0:
            leader = None
        against = d[leader, 0, :done] if leader is not None else np.zeros(done)
        active = [c for c in active if c == leader or p_value(d[c, 0, :done] - against, "less") > 0.05]
    judge(d)


def export(db, run, path):
    """The same columns as `kvmtune export --csv`."""
    experiment, plan = db.execute("SELECT experiment, plan FROM run WHERE id = ?", [run]).fetchone()
    plan = json.loads(plan)
    tunables = [factor["tunable"] for factor in plan["factors"]]
    levels = {t["id"]: [dict(t["levels"])[tunable] for tunable in tunables] for t in plan["treatments"]}
    roles = {t["id"]: "candidate" if place else "baseline" for place, t in enumerate(plan["treatments"])}
    rows = db.execute(
        "SELECT block, position, boot, treatment, workload, metric, value, started FROM trial JOIN observation"
        " ON observation.trial = trial.id WHERE run = ? ORDER BY trial.id, number",
        [run],
    )
    with open(path, "w", newline="") as out:
        table = csv.writer(out)
        table.writerow(
            ["run", "experiment", "block", "order", "boot", "treatment", "role", *tunables]
            + ["workload", "metric", "unit", "value", "outcome", "suspect", "message", "started"]
        )
        for block, order, boot, treatment, workload, metric, value, started in rows:
            fixed_part = [run, experiment, block, order, boot, treatment, roles[treatment], *levels[treatment]]
            table.writerow([*fixed_part, workload, metric, "1/s", value, "measured", "false", "", started])


def seconds(work, *arguments, repeat=1):
    """The fastest of some repetitions."""
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        work(*arguments)
        times.append(time.perf_counter() - start)
    return min(times)


def measure(folder):
    db = sqlite3.connect(f"file:{os.path.join(folder, 'kvmtune.db')}?immutable=1", uri=True)
    wide, long = differences(db, "fixed"), differences(db, "long")
    rng = np.random.default_rng(2)
    untied = rng.random(50) - 0.4
    return {
        "evaluate/fixed": seconds(fixed, *wide, repeat=3),
        "evaluate/looks": seconds(looks, *wide),
        "evaluate/long": seconds(fixed, *long),
        "fifty-untied/test": seconds(p_value, untied, repeat=50),
        "fifty-untied/estimate": seconds(estimate, untied, repeat=50),
        "fifty-untied/interval": seconds(interval, untied, 0.05, repeat=50),
        "store/csv-million": seconds(export, db, run_id(db, "million"), os.devnull),
    }


if __name__ == "__main__":
    json.dump(measure(sys.argv[1]), sys.stdout, indent=2)

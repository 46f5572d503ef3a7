#!/usr/bin/env python3
"""Write the reference values that tests/analysis_reference.rs holds kvmtune's statistics to.

Needs scipy and statsmodels (made with 1.17.1 and 0.15.0). Everything is seeded, so a second run writes the same files:
    python3 make_reference.py
Exact signed-rank values are enumerated over all sign assignments, and checked against scipy wherever scipy has them:
its exact method when there are no ties or zeros, its permutation method otherwise.
"""

import itertools
import json
import pathlib

import numpy as np
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

HERE = pathlib.Path(__file__).parent
TIE = 1e-9  # values closer than this part of the largest |d| count as equal
rng = np.random.default_rng(20260101)
SIGNS = {n: np.array(list(itertools.product([0.0, 1.0], repeat=n))).reshape(2**n, n) for n in range(13)}


def ranks(d, tolerance):
    """Signs and mid-ranks (Pratt: zeros are ranked, then dropped)."""
    size = np.where(np.abs(d) <= tolerance, 0.0, np.abs(d))
    size = np.round(size / tolerance) if tolerance > 0 else size
    # values one rounding step apart are still one value
    order = np.argsort(size)
    size[order] = np.concatenate([[0], np.cumsum(np.diff(size[order]) > 1)])
    if np.any(np.abs(d) <= tolerance):
        zero = np.abs(d) <= tolerance
    else:
        zero = np.zeros(len(d), bool)
    r = stats.rankdata(size)
    return d[~zero] > 0, r[~zero]


def p_values(d, tolerance):
    """(two-sided, greater, less) by enumeration of all sign assignments."""
    positive, r = ranks(d, tolerance)
    if len(r) == 0:
        return 1.0, 1.0, 1.0
    t = r[positive].sum()
    all_t = SIGNS[len(r)] @ r
    greater = float(np.mean(all_t >= t - 1e-9))
    less = float(np.mean(all_t <= t + 1e-9))
    return min(1.0, 2 * min(greater, less)), greater, less


def walsh(d):
    i, j = np.triu_indices(len(d))
    return np.sort((d[i] + d[j]) / 2)


def interval(d, level):
    """Hull of all shifts the exact conditional test does not reject; None if even infinity is not rejected."""
    if 2 * 0.5 ** len(d) > 1 - level:
        return None
    tolerance = TIE * np.max(np.abs(d))
    w = walsh(d)
    keep = np.concatenate([[True], np.diff(w) > 4 * tolerance])
    points = w[keep]
    tied = len(np.unique(np.round(d / max(tolerance, 1e-300)))) < len(d) or has_ties(d)
    accepted = []
    for k, x in enumerate(points):
        if tied and p_values(d - x, tolerance)[0] > 1 - level:
            accepted.append(x)
        if k + 1 < len(points) and p_values(d - (x + points[k + 1]) / 2, tolerance)[0] > 1 - level:
            accepted += [x, points[k + 1]]
    return [float(min(accepted)), float(max(accepted))]


def has_ties(d):
    size = np.sort(np.abs(d))
    return bool(size[0] <= TIE * size[-1] or np.any(np.diff(size) <= TIE * size[-1]))


def scipy_p(d, alternative):
    if has_ties(d):
        method = stats.PermutationMethod(n_resamples=10**7)
    else:
        method = "exact"
    return stats.wilcoxon(d, zero_method="pratt", alternative=alternative, method=method).pvalue


def signed_rank_cases():
    for case in range(320):
        n = int(rng.integers(2, 13))
        kind = ("plain", "ties", "zeros", "heavy")[case % 4]
        if kind == "plain":
            d = rng.normal(0.3, 1.0, n)
        elif kind == "heavy":
            d = rng.standard_t(2, n) + 0.5
        elif kind == "ties":
            d = rng.choice([-4, -3, -2, -1, 1, 2, 3, 4, 5], n) / 4.0
        else:
            d = rng.integers(-2, 4, n) / 4.0
        if np.all(d == 0):
            continue
        two, greater, less = p_values(d, TIE * np.max(np.abs(d)))
        if case < 200:  # scipy's permutations are slow; these many are proof enough
            for mine, side in ((two, "two-sided"), (greater, "greater"), (less, "less")):
                theirs = scipy_p(d, side)
                assert abs(mine - theirs) < 1e-9, (case, d, side, mine, theirs)
        yield {
            "kind": kind, "values": d.tolist(), "two_sided": two, "greater": greater, "less": less,
            "hodges_lehmann": float(np.median(walsh(d))),
            "interval_90": interval(d, 0.90), "interval_95": interval(d, 0.95), "interval_99": interval(d, 0.99),
        }


def larger_cases():
    """13 to 50 without ties: scipy's exact method. Above 50, ties and zeros too: its normal approximation."""
    for case in range(60):
        n = int(rng.integers(13, 51)) if case < 40 else int(rng.integers(51, 120))
        d = rng.normal(0.2, 1.0, n)
        if case >= 50:
            d = rng.integers(-6, 9, n) / 4.0
        method = {"method": "exact"} if n <= 50 else {"method": "asymptotic", "correction": True}
        p = {a: float(stats.wilcoxon(d, zero_method="pratt", alternative=a, **method).pvalue)
             for a in ("two-sided", "greater", "less")}
        yield {"values": d.tolist(), "two_sided": p["two-sided"], "greater": p["greater"], "less": p["less"],
               "hodges_lehmann": float(np.median(walsh(d)))}


def holm_cases():
    for _ in range(40):
        p = rng.random(int(rng.integers(1, 15))) ** 3
        p = np.round(p, 2) if rng.random() < 0.3 else p
        yield {"p": p.tolist(), "adjusted": multipletests(p, method="holm")[1].tolist()}


def quantiles():
    levels = [1e-6, 0.001, 0.005, 0.025, 0.05, 0.2, 0.5, 0.8, 0.9, 0.95, 0.975, 0.99, 0.9995, 0.999999]
    return {
        "normal": [[q, float(stats.norm.ppf(q))] for q in levels],
        "student_t": [[f, q, float(stats.t.ppf(q, f))] for f in (1, 2, 3, 5, 9, 19, 49, 200) for q in levels],
        "clopper_pearson": [
            [k, n, level, *map(float, proportion_confint(k, n, 1 - level, "beta"))]
            for k, n in ((0, 10), (1, 10), (5, 10), (10, 10), (0, 4000), (195, 4000), (488, 10000), (4000, 4000))
            for level in (0.9, 0.95, 0.99)
        ],
    }


def write(name, value):
    lines = ",\n".join(json.dumps(v) for v in value) if isinstance(value, list) else None
    text = f"[\n{lines}\n]\n" if lines else json.dumps(value, indent=0) + "\n"
    (HERE / name).write_text(text)


write("signed_rank_small.json", list(signed_rank_cases()))
write("signed_rank_large.json", list(larger_cases()))
write("holm.json", list(holm_cases()))
write("quantiles.json", quantiles())

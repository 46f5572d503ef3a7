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
from scipy.optimize import brentq
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
               "hodges_lehmann": float(np.median(walsh(d))),
               "interval_95": untied_interval(d, 0.95) if n <= 50 else None}


def untied_interval(d, level):
    """Tukey's interval: order statistics of the Walsh averages, at the largest cut the exact distribution allows."""
    counts = np.ones(1)
    for rank in range(1, len(d) + 1):
        counts = np.convolve(counts, np.concatenate([[1], np.zeros(rank - 1), [1]]))
    cut = int(np.sum(np.cumsum(counts) / 2.0 ** len(d) <= (1 - level) / 2)) - 1
    w = walsh(d)
    return [float(w[cut]), float(w[-1 - cut])] if cut >= 0 else None


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


def mser5(x):
    """The plain rule, straight from the formula: (d*, limit) in batches."""
    n = len(x) // 5
    z = np.array([x[5 * i:5 * i + 5].mean() for i in range(n)])
    values = [np.sum((z[d:] - z[d:].mean()) ** 2) / (n - d) ** 2 for d in range(n // 2 + 1)]
    return int(np.argmin(values)), n // 2


def mser5_cases():
    rng = np.random.default_rng(20260102)
    for case in range(240):
        n = int(rng.integers(10, 130))
        kind = ("normal", "heavy", "ramp", "warm-up", "autoregressive", "level")[case % 6]
        place = np.arange(n) / n
        noise = rng.normal(0, 2, n)
        if kind == "heavy":
            noise = rng.standard_t(3, n)
        elif kind == "autoregressive":
            for i in range(1, n):
                noise[i] += 0.5 * noise[i - 1]
        shape = {"ramp": 20 * place, "warm-up": -50 * np.exp(-8 * place), "level": np.where(place < 0.3, -20, 0)}
        x = np.round(100 + shape.get(kind, 0) + noise, 3)
        dropped, limit = mser5(x)
        yield {"kind": kind, "values": x.tolist(), "warmup": 5 * dropped, "at_limit": dropped == limit}


def e_process_cases():
    rng = np.random.default_rng(20260103)
    for case in range(120):
        n = int(rng.integers(1, 60))
        d = (rng.normal(0, 1, n), rng.normal(1, 1, n), rng.standard_t(1, n), -rng.exponential(1, n))[case % 4]
        d = np.round(d, 4)
        if case % 5 == 0:  # nothing to measure by at first
            d[:3] = 0
        scales = [np.median(np.abs(d[:b])) if b else 0 for b in range(n)]
        u = np.array([np.clip(d[b] / scales[b], -3, 3) if scales[b] > 0 else 0 for b in range(n)])
        s, v = np.cumsum(u), np.cumsum(u**2)
        e = (1 + 0.25 * v) ** -0.5 * np.exp(0.25 * s**2 / (2 * (1 + 0.25 * v)))
        best = int(np.argmax(e))
        yield {"values": d.tolist(), "value": float(e[-1]), "greatest": float(e[best]),
               "positive": bool(s[best] > 0 or e[best] <= 1)}


def boundary(looks, alpha):
    """Simpson's rule on the whole continuation region and Brent's root for each look; kvmtune integrates over half of
    it by Gauss and Legendre and solves by Newton."""
    times = np.array(looks) / looks[-1]
    spend = np.diff(np.concatenate([[0], alpha * times**1.5]))
    grid, density, before, critical = np.zeros(1), np.ones(1), 0.0, []
    for time, target in zip(times, spend):
        sd = np.sqrt(time - before)

        def excess(c):
            limit = c * np.sqrt(time)
            beyond = stats.norm.cdf((grid - limit) / sd) + stats.norm.cdf((-grid - limit) / sd)
            return np.sum(density * beyond) / target - 1

        critical.append(brentq(excess, 0.5, 12, xtol=1e-13, rtol=1e-14))
        limit = critical[-1] * np.sqrt(time)
        new = np.linspace(-limit, limit, 3001)
        weight = np.full(3001, 2.0)
        weight[1::2], weight[0], weight[-1] = 4.0, 1.0, 1.0
        values = stats.norm.pdf((new[:, None] - grid[None, :]) / sd) @ density / sd
        grid, density, before = new, values * weight * (new[1] - new[0]) / 3, time
    if len(looks) <= 6:
        covariance = np.sqrt(np.minimum.outer(times, times) / np.maximum.outer(times, times))
        normal = stats.multivariate_normal(cov=covariance, maxpts=4_000_000, abseps=1e-7, releps=0, seed=1)
        crossing = 1 - normal.cdf(critical, lower_limit=-np.array(critical))
        assert abs(crossing - alpha) < 2e-5, (looks, alpha, crossing)
    return (2 * stats.norm.sf(critical)).tolist()


def boundary_cases():
    every = list(range(6, 31))
    for looks in ([20], [8, 10, 12, 14, 17, 20], [6, 10, 14, 18, 24, 30], [12, 60], [1, 2, 3, 4, 5], every):
        for alpha in (0.05, 0.01, 0.05 / 10, 0.05 / 256):
            yield {"looks": looks, "alpha": alpha, "nominal": boundary(looks, alpha)}


def theil_sen_cases():
    rng = np.random.default_rng(20260104)
    for case in range(60):
        n = int(rng.integers(2, 60))
        x = rng.normal(0, 1, n) + rng.normal(0, 0.2) * np.arange(n) + 10 * (rng.random(n) < 0.1)
        x = np.round(x, 1 if case % 3 == 0 else 4)
        yield {"values": x.tolist(), "slope": float(stats.theilslopes(x, np.arange(n))[0])}


def textbooks():
    """Published data with scipy's p-values; tests/analysis_reference.rs also holds what the books print."""
    before = np.array([1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30])
    after = np.array([0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29])
    darwin = np.array([49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48.0])
    for name, d in (("hamilton", after - before), ("darwin", darwin)):
        p = {a: float(stats.wilcoxon(d, alternative=a, method="exact").pvalue)
             for a in ("two-sided", "greater", "less")}
        yield {"name": name, "values": d.tolist(), "two_sided": p["two-sided"], "greater": p["greater"],
               "less": p["less"], "hodges_lehmann": float(np.median(walsh(d))),
               "interval_95": untied_interval(d, 0.95)}


def write(name, value):
    lines = ",\n".join(json.dumps(v) for v in value) if isinstance(value, list) else None
    text = f"[\n{lines}\n]\n" if lines else json.dumps(value, indent=0) + "\n"
    (HERE / name).write_text(text)


write("signed_rank_small.json", list(signed_rank_cases()))
write("signed_rank_large.json", list(larger_cases()))
write("holm.json", list(holm_cases()))
write("quantiles.json", quantiles())
write("mser5.json", list(mser5_cases()))
write("e_process.json", list(e_process_cases()))
write("boundary.json", list(boundary_cases()))
write("theil_sen.json", list(theil_sen_cases()))
write("textbooks.json", list(textbooks()))

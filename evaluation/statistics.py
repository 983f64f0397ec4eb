"""Paired comparison of two arms on the same items, clustered by customer or thread.

Sources: cluster-robust variance of a mean, u_g = Σ(d_i − d̄), SE² = G/(G−1)·Σu_g²/n², t with G−1 degrees of freedom (Miller
2024, arXiv 2411.00640; Cameron & Miller 2015); ratio non-inferiority by linearisation e_i = c_i − ρ₀·b_i, the one-sided
form of Fieller's theorem; sample size n = ((z₁₋α + z₁₋β)·sd/effect)²·design effect.
Two separate intervals are never compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its two-sided interval. se None: it cannot be estimated (one cluster)."""

    mean: float
    low: float | None
    high: float | None
    se: float | None
    items: int
    clusters: int
    design_effect: float | None = None  # cluster-robust over simple variance


def clustered_mean(values: Sequence[float], groups: Sequence[str], *, confidence: float = 0.95) -> Estimate:
    """Mean of the values with a cluster-robust t interval. Raises ValueError without values."""
    x = np.asarray(values, dtype=float)
    if x.size == 0:
        raise ValueError("no values")
    mean, n = float(x.mean()), int(x.size)
    _, codes = np.unique(np.asarray(groups), return_inverse=True)
    clusters = int(codes.max()) + 1
    if clusters < 2:
        return Estimate(mean, None, None, None, n, clusters)
    sums = np.bincount(codes, weights=x - mean)
    se = math.sqrt(clusters / (clusters - 1) * float(sums @ sums)) / n
    simple = float(x.var(ddof=1)) / n
    reach = float(stats.t.ppf(0.5 + confidence / 2, clusters - 1)) * se
    return Estimate(mean, mean - reach, mean + reach, se, n, clusters, se * se / simple if simple > 0 else None)


@dataclass(frozen=True, slots=True)
class NonInferiority:
    """The candidate's mean over the baseline's against a required ratio.

    ratio None: the baseline's mean is zero. low, high: Fieller's interval at the gate's one-sided alpha on each side; None
    where it is unbounded. p_non_inferior and p_inferior are one-sided.
    """

    ratio: float | None
    low: float | None
    high: float | None
    p_non_inferior: float | None
    p_inferior: float | None
    alpha: float
    items: int
    clusters: int
    more_items: int | None  # further items for 80 % power, if the truth is what was seen; None: no number would do


def non_inferiority(
    candidate: Sequence[float], baseline: Sequence[float], groups: Sequence[str], *, ratio: float, alpha: float
) -> NonInferiority:
    """Test H0: mean(candidate) ≤ ratio·mean(baseline), and the opposite, on paired items."""
    c, b = np.asarray(candidate, dtype=float), np.asarray(baseline, dtype=float)
    e = clustered_mean(list(c - ratio * b), groups)
    seen = float(c.mean() / b.mean()) if b.mean() > 0 else None
    if e.se is None:
        return NonInferiority(seen, None, None, None, None, alpha, e.items, e.clusters, None)
    p_ni, p_inf = _one_sided(e.mean, e.se, e.clusters)
    low, high = fieller(c, b, groups, alpha=alpha)
    return NonInferiority(seen, low, high, p_ni, p_inf, alpha, e.items, e.clusters, more_items(e, alpha=alpha))


def _one_sided(mean: float, se: float, clusters: int) -> tuple[float, float]:
    if se == 0:  # every item alike: the data leave no doubt about themselves
        return (0.0, 1.0) if mean > 0 else (1.0, 0.0) if mean < 0 else (0.5, 0.5)
    t = mean / se
    return float(stats.t.sf(t, clusters - 1)), float(stats.t.cdf(t, clusters - 1))


def fieller(c: Floats, b: Floats, groups: Sequence[str], *, alpha: float) -> tuple[float | None, float | None]:
    """Fieller's interval of mean(c)/mean(b) at one-sided alpha on each side, cluster-robust. (None, None) if unbounded."""
    _, codes = np.unique(np.asarray(groups), return_inverse=True)
    g, n = int(codes.max()) + 1, c.size
    u_c = np.bincount(codes, weights=c - c.mean())
    u_b = np.bincount(codes, weights=b - b.mean())
    scale = g / (g - 1) / n**2
    v_cc, v_cb, v_bb = (scale * float(x @ y) for x, y in ((u_c, u_c), (u_c, u_b), (u_b, u_b)))
    t2 = float(stats.t.ppf(1 - alpha, g - 1)) ** 2
    mc, mb = float(c.mean()), float(b.mean())
    a = mb * mb - t2 * v_bb
    if a <= 0:
        return None, None
    half = mc * mb - t2 * v_cb
    disc = half * half - a * (mc * mc - t2 * v_cc)
    root = math.sqrt(max(0.0, disc))
    return (half - root) / a, (half + root) / a


def more_items(e: Estimate, *, alpha: float, power: float = 0.8) -> int | None:
    """How many items beyond these the one-sided test needs, if the true effect is the one seen. None for no effect."""
    if e.se is None or e.mean <= 0:
        return None
    z = float(stats.norm.ppf(1 - alpha) + stats.norm.ppf(power))
    needed = math.ceil(e.items * (z * e.se / e.mean) ** 2)
    return max(0, needed - e.items)


def bootstrap_difference(
    statistic: Callable[[npt.NDArray[np.intp]], float | None],
    groups: Sequence[str],
    *,
    seed: int,
    resamples: int = 2000,
    confidence: float = 0.95,
) -> tuple[float | None, float | None]:
    """Percentile interval of a statistic of item indices, resampling whole clusters. For macro-F1 and the like."""
    _, codes = np.unique(np.asarray(groups), return_inverse=True)
    members = [np.flatnonzero(codes == g) for g in range(int(codes.max()) + 1)]
    if len(members) < 2:
        return None, None
    rng = np.random.default_rng(seed)
    drawn = (
        statistic(np.concatenate([members[i] for i in rng.integers(len(members), size=len(members))]))
        for _ in range(resamples)
    )
    found = [d for d in drawn if d is not None]
    tail = (1 - confidence) / 2
    low, high = np.quantile(found, [tail, 1 - tail])
    return float(low), float(high)


def gate_alpha(alpha: float, items: int) -> float:
    """The alpha a gate uses: under 200 items the linearised test runs above its level, so half of it (at most 0.025)."""
    return min(alpha, 0.025) if items < 200 else alpha

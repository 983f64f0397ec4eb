"""Paired comparison of two arms on the same items, clustered by customer or thread.

Sources: cluster-robust variance of a mean, u_g = Σ(d_i − d̄), SE² = G/(G−1)·Σu_g²/n², t with G−1 degrees of freedom (Miller
2024, arXiv 2411.00640; Cameron & Miller 2015). Two
separate intervals are never compared.

The gate does not use that t test as it stands. By simulation (tests/bench/verdict.py) it promotes a model exactly at the margin in
up to 9 % of evaluations at a nominal 2.5 %: scores near 1 are skewed, and few or uneven clusters make the variance too small. So the
gate's p is the largest of three: t on the larger of the clustered and the plain error, with the CR2 variance and the degrees of
freedom of Bell & McCaffrey (2002); and Hall's (1992) monotone correction of that t for the skewness of the clusters' sums, and of the
items. Binary scores move in steps, so their mean is first brought a quarter of an item nearer to the margin. Where all items are alike,
p is the chance that as many clusters show no loss although the model is at the margin. The price is power in small sets; revisit with
another statistic if the benchmark says so.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special, stats

from evaluation.exact import exact_interval
from evaluation.power import Design, hall

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.intp]


def finite(values: Sequence[float]) -> Floats:
    """The values as an array. Raises ValueError for none, and for NaN or infinity: they are not measured, and no number."""
    x = np.asarray(values, dtype=float)
    if x.size == 0:
        raise ValueError("no values")
    if not np.isfinite(x).all():
        raise ValueError(
            f"{int((~np.isfinite(x)).sum())} of {x.size} values are not finite; leave out what was not measured"
        )
    return x


def clusters_of(groups: Sequence[str]) -> tuple[Codes, int]:
    """A number from 0 for each item's cluster, and how many there are."""
    _, codes = np.unique(np.asarray(groups), return_inverse=True)
    return codes, int(codes.max()) + 1


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

    @property
    def effective_items(self) -> float | None:
        """As many independent items would give the same error."""
        return self.items / self.design_effect if self.design_effect else None


def clustered_mean(
    values: Sequence[float], groups: Sequence[str], *, confidence: float = 0.95, within_unit: bool = False
) -> Estimate:
    """Mean of the values with a cluster-robust t interval. Raises ValueError without values and where one is not finite.

    within_unit: the values lie between 0 and 1, and so does the interval. Where all values are alike there is none, but of such
    values all 0 or all 1: there it is Clopper and Pearson's over clusters.
    """
    x = finite(values)
    mean, n = float(x.mean()), int(x.size)
    codes, clusters = clusters_of(groups)
    if clusters < 2:
        return Estimate(mean, None, None, None, n, clusters)
    if x.min() == x.max():  # nothing varies
        at_an_end = within_unit and mean in (0, 1)
        low, high = exact_interval(mean * clusters, clusters, confidence=confidence) if at_an_end else (None, None)
        return Estimate(mean, low, high, 0.0, n, clusters)
    sums = np.bincount(codes, weights=x - mean)
    se = math.sqrt(clusters / (clusters - 1) * float(sums @ sums)) / n
    simple = float(x.var(ddof=1)) / n
    reach = float(special.stdtrit(clusters - 1, 0.5 + confidence / 2)) * se
    low, high = mean - reach, mean + reach
    if within_unit:
        low, high = max(0.0, low), min(1.0, high)
    return Estimate(mean, low, high, se, n, clusters, se * se / simple if simple > 0 else None)


@dataclass(frozen=True, slots=True)
class Tested:
    """One-sided p of "the mean is above zero" and of "below zero", and the error behind them."""

    above: float
    below: float
    design: Design


def sign_of_mean(
    e: Floats, codes: Codes, clusters: int, *, step: float = 0, loss: float = 0, gain: float = 0
) -> Tested:
    """Corrected cluster-robust tests of a mean against zero (see above). Needs two clusters.

    step: continuity correction in units of e. loss, gain: the largest amounts by which an item can fall below and rise above zero;
    where all of e are alike, p is the chance of having seen none of these in as many clusters.
    """
    n, mean = e.size, float(e.mean())
    sizes = np.bincount(codes).astype(float)
    d = e - mean
    u: Floats = np.bincount(codes, weights=d).astype(float)
    leverage = 1 / (1 - sizes / n)
    variance = max(float(leverage @ (u * u)) / n**2, float(d @ d) / (n - 1) / n)
    weighted = leverage * sizes**2
    freedom = n**2 / (float(sizes @ sizes) + (float(weighted.sum()) ** 2 - float(weighted @ weighted)) / n**2)
    se = math.sqrt(variance)
    if se <= 1e-12 * float(np.abs(e).max(initial=0)):
        return _all_alike(mean, clusters, loss, gain)
    design = Design(se, freedom, ((_skewness(u), clusters), (_skewness(d), n)), step / n)
    up, down = (mean - design.step) / se, (mean + design.step) / se
    above = max(_tail(t, freedom) for t in (up, *(hall(up, g, k) for g, k in design.skews)))
    below = max(_tail(-t, freedom) for t in (down, *(hall(down, g, k) for g, k in design.skews)))
    return Tested(above, below, design)


def _all_alike(mean: float, clusters: int, loss: float, gain: float) -> Tested:
    """Nothing varies: how likely is that, if what was not seen brings the mean to zero?"""
    design = Design(0.0, clusters - 1)
    if mean > 0:
        return Tested((loss / (mean + loss)) ** clusters, 1.0, design)
    if mean < 0:
        return Tested(1.0, (gain / (gain - mean)) ** clusters, design)
    return Tested(1.0, 1.0, design)


def _tail(t: float, freedom: float) -> float:
    return float(special.stdtr(freedom, -t))


def _skewness(x: Floats) -> float:
    """Adjusted Fisher-Pearson skewness around zero; 0 where there is none to see."""
    k, second = x.size, float(x @ x) / x.size
    if k < 3 or second == 0:
        return 0.0
    return float(float((x * x) @ x) / k / second**1.5 * math.sqrt(k * (k - 1)) / (k - 2))


@dataclass(frozen=True, slots=True)
class Bootstrapped:
    """A bootstrap interval of a mean or a ratio of means. method: BCa, or percentile where BCa is degenerate."""

    low: float
    high: float
    method: str


def bootstrap_ratio(
    numerator: Sequence[float],
    denominator: Sequence[float],
    groups: Sequence[str],
    *,
    seed: int,
    resamples: int = 5000,
    confidence: float = 0.95,
) -> Bootstrapped | None:
    """BCa interval (Efron 1987) of sum(numerator)/sum(denominator), resampling whole clusters. A denominator of ones: of the mean.

    A cross-check of the gate, not the gate. None with one cluster, and where a resample's denominator is zero.
    """
    codes, clusters = clusters_of(groups)
    if clusters < 2:
        return None
    sums = [_exactly_added(np.bincount(codes, weights=finite(x)).astype(float)) for x in (numerator, denominator)]

    def ratio(c: Floats, b: Floats, axis: int = -1) -> Floats:
        return np.asarray(c.sum(axis=axis) / b.sum(axis=axis))

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        for method in ("BCa", "percentile"):
            found = stats.bootstrap(
                sums, ratio, paired=True, vectorized=True, method=method, n_resamples=resamples, batch=max(1, 10**6 // clusters),
                confidence_level=confidence, rng=np.random.default_rng(seed),
            ).confidence_interval  # fmt: skip
            if math.isfinite(found.low) and math.isfinite(found.high):
                return Bootstrapped(float(found.low), float(found.high), method)
    return None


def _exactly_added(x: Floats) -> Floats:
    """Rounded so that as many of them add up without rounding, in whatever order.

    A resample of the same customers in another order is then a tie with what was seen, as BCa's bias correction counts it.
    """
    unit = 2.0 ** (math.frexp(float(np.abs(x).max()) * x.size)[1] - 52)
    return np.asarray(np.round(x / unit) * unit)


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


FEW_ITEMS = 200  # items under which the gate is stricter


def gate_alpha(alpha: float, items: int) -> float:
    """The alpha a gate uses: under 200 items the linearised test runs above its level, so half of it (at most 0.025)."""
    return min(alpha, 0.025) if items < FEW_ITEMS else alpha

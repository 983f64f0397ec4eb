"""Is the candidate at least as good as the baseline, less a margin? A ratio of the means, or a difference, on the same items.

The ratio is tested by linearisation, e_i = c_i − ρ₀·b_i, the one-sided form of Fieller's theorem. The bounds that are shown are the
margins that the gate's own test just rejects, so bounds and verdict never contradict each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special

from evaluation import power
from evaluation.statistics import Codes, Floats, Tested, clustered_mean, clusters_of, finite, sign_of_mean

SMALL, RUNS = 200, 400  # under SMALL items the power is resampled, RUNS times
STEP = 0.25  # items; continuity correction for binary scores


@dataclass(frozen=True, slots=True)
class NonInferiority:
    """The candidate's mean against the baseline's: over a required ratio, or no more than a margin below it.

    ratio None: the baseline's mean is not above zero. low, high: the ratios that the gate's own test just rejects, at its one-sided
    alpha on each side; None where unbounded. difference_low, difference_high: the same for candidate minus baseline.
    p_non_inferior and p_inferior are one-sided. margin: where the difference is what is tested.
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
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    design_effect: float | None = None
    power: float | None = None  # chance to pass with these items, if the truth is what was seen
    margin: float | None = None


@dataclass(frozen=True, slots=True)
class Pairs:
    """Both arms' scores on the same items, ready to be tested against any margin."""

    candidate: Floats
    baseline: Floats
    codes: Codes
    clusters: int

    @classmethod
    def of(cls, candidate: Sequence[float], baseline: Sequence[float], groups: Sequence[str]) -> Pairs:
        return cls(finite(candidate), finite(baseline), *clusters_of(groups))

    @property
    def binary(self) -> bool:
        return all(bool(np.isin(x, (0.0, 1.0)).all()) for x in (self.candidate, self.baseline))

    def against_ratio(self, ratio: float) -> Tested:
        """Is mean(candidate) − ratio·mean(baseline) above zero, or below?"""
        return self._tested(self.candidate - ratio * self.baseline, worst=ratio * self._top(), best=self._top())

    def against_difference(self, difference: float) -> Tested:
        """Is mean(candidate) − mean(baseline) above this difference, or below?"""
        top = self._top()
        return self._tested(self.candidate - self.baseline - difference, worst=top + difference, best=top - difference)

    def _top(self) -> float:
        """The best score there may be: 1, or what was seen of scores that go beyond."""
        return float(max(self.candidate.max(), self.baseline.max(), 1.0))

    def _tested(self, e: Floats, *, worst: float, best: float) -> Tested:
        step = STEP if self.binary else 0.0
        return sign_of_mean(e, self.codes, self.clusters, step=step, loss=max(worst, 0.0), gain=max(best, 0.0))


def non_inferiority(
    candidate: Sequence[float], baseline: Sequence[float], groups: Sequence[str], *, ratio: float, alpha: float
) -> NonInferiority:
    """Test H0: mean(candidate) ≤ ratio·mean(baseline), and the opposite, on paired items."""
    pairs = Pairs.of(candidate, baseline, groups)
    return _described(pairs, pairs.candidate - ratio * pairs.baseline, lambda p: p.against_ratio(ratio), alpha, None)


def non_inferiority_by_difference(
    candidate: Sequence[float], baseline: Sequence[float], groups: Sequence[str], *, margin: float, alpha: float
) -> NonInferiority:
    """Test H0: mean(candidate) − mean(baseline) ≤ −margin, and the opposite. For scores without a ratio scale, such as win rates."""
    pairs = Pairs.of(candidate, baseline, groups)
    e = pairs.candidate - pairs.baseline + margin
    return _described(pairs, e, lambda p: p.against_difference(-margin), alpha, margin)


def _described(
    pairs: Pairs, e: Floats, test: Callable[[Pairs], Tested], alpha: float, margin: float | None
) -> NonInferiority:
    c, b = float(pairs.candidate.mean()), float(pairs.baseline.mean())
    ratio = c / b if b > 0 else None
    n, g = int(e.size), pairs.clusters
    if g < 2:
        return NonInferiority(ratio, None, None, None, None, alpha, n, g, None, difference=c - b, margin=margin)
    tested, effect = test(pairs), float(e.mean())
    low, high = ratio_bounds(pairs, alpha=alpha)
    under, over = difference_bounds(pairs, alpha=alpha)
    chance = power.of_gate(effect, tested.design, alpha=alpha)
    if n < SMALL:
        chance = resampled_power(pairs, test, items=n, alpha=alpha, runs=RUNS, seed=0)
    more = power.more_items(effect, tested.design, items=n, alpha=alpha)
    if more == 0 and tested.above >= alpha:  # all alike: p falls with each further customer that is too
        more = max(1, math.ceil(n * (math.log(alpha) / math.log(tested.above) - 1))) if tested.above < 1 else None
    return NonInferiority(
        ratio, low, high, tested.above, tested.below, alpha, n, g, more, c - b, under, over,
        clustered_mean(list(e), list(map(str, pairs.codes))).design_effect,
        chance, margin,
    )  # fmt: skip


def resampled_power(
    pilot: Pairs, test: Callable[[Pairs], Tested], *, items: int, alpha: float, runs: int, seed: int
) -> float:
    """Share of sets of this many items, drawn from the pilot customer by customer, that the gate passes at alpha.

    For sets under SMALL items, where few customers and skewed scores make the formula (power.py) miss by up to 12 points.
    """
    rng, order = np.random.default_rng(seed), np.argsort(pilot.codes, kind="stable")
    sizes = np.bincount(pilot.codes)
    starts = np.cumsum(sizes) - sizes
    passed = 0
    for _ in range(runs):
        drawn = rng.integers(pilot.clusters, size=items)
        codes = np.repeat(np.arange(items), sizes[drawn])[:items]
        first = np.repeat(starts[drawn], sizes[drawn])[:items]
        within = np.arange(items) - np.repeat(np.cumsum(sizes[drawn]) - sizes[drawn], sizes[drawn])[:items]
        chosen, clusters = order[first + within], int(codes[-1]) + 1
        if clusters > 1:
            again = Pairs(pilot.candidate[chosen], pilot.baseline[chosen], codes, clusters)
            passed += test(again).above < alpha
    return passed / runs


def ratio_bounds(pairs: Pairs, *, alpha: float) -> tuple[float | None, float | None]:
    """Lowest and highest ratio that the gate's test does not reject at alpha on each side: Fieller's interval, with its corrections.

    Where the baseline cannot be told from zero no ratio is too high, and of scores that can be negative none is too low either.
    """
    c, b = float(pairs.candidate.mean()), float(pairs.baseline.mean())
    if b <= 0:
        return None, None
    least = 0.0 if min(pairs.candidate.min(), pairs.baseline.min()) >= 0 else None
    is_open = Pairs(pairs.baseline, pairs.candidate, pairs.codes, pairs.clusters).against_ratio(0).above >= alpha
    if is_open and least is None:
        return None, None
    seen = c / b
    low = _crossing(lambda r: pairs.against_ratio(r).above - alpha, seen, -max(seen, 1e-6), floor=least)
    return low, None if is_open else _crossing(lambda r: pairs.against_ratio(r).below - alpha, seen, max(seen, 0.1))


def difference_bounds(pairs: Pairs, *, alpha: float) -> tuple[float | None, float | None]:
    """Lowest and highest difference that the gate's test does not reject at alpha on each side."""
    seen = float(pairs.candidate.mean() - pairs.baseline.mean())
    spread = max(float(np.abs(pairs.candidate).max()), float(np.abs(pairs.baseline).max()), 1e-6)
    low = _crossing(lambda d: pairs.against_difference(d).above - alpha, seen, -spread)
    return low, _crossing(lambda d: pairs.against_difference(d).below - alpha, seen, spread)


def _crossing(
    excess: Callable[[float], float], start: float, step: float, *, floor: float | None = None
) -> float | None:
    """Where excess falls through zero, going from start in steps that double. None: nowhere. floor: the least answer there is."""
    inside = start
    for power_of_two in range(12):
        outside = start + step * 2**power_of_two
        if floor is not None and outside <= floor:
            outside = floor
        if excess(outside) < 0:
            return float(optimize.brentq(excess, inside, outside, xtol=1e-12)) if excess(inside) >= 0 else inside
        if outside == floor:
            return floor
        inside = outside
    return None


def fieller(c: Floats, b: Floats, groups: Sequence[str], *, alpha: float) -> tuple[float | None, float | None]:
    """Fieller's interval of mean(c)/mean(b) at one-sided alpha on each side, cluster-robust. (None, None) if unbounded."""
    codes, g = clusters_of(groups)
    n = c.size
    u_c = np.bincount(codes, weights=c - c.mean())
    u_b = np.bincount(codes, weights=b - b.mean())
    scale = g / (g - 1) / n**2
    v_cc, v_cb, v_bb = (scale * float(x @ y) for x, y in ((u_c, u_c), (u_c, u_b), (u_b, u_b)))
    t2 = float(special.stdtrit(g - 1, 1 - alpha)) ** 2
    mc, mb = float(c.mean()), float(b.mean())
    a = mb * mb - t2 * v_bb
    if a <= 0:
        return None, None
    half = mc * mb - t2 * v_cb
    disc = half * half - a * (mc * mc - t2 * v_cc)
    root = math.sqrt(max(0.0, disc))
    return (half - root) / a, (half + root) / a

"""Power of the gate's test, and how many items reach it: known before any data, or as if the truth were what was seen.

A test of a mean rejects when T exceeds the critical value of t, moved by the gate's corrections (statistics.py: the skewness of Hall's
transformation inverted, the continuity step). P(T > x) for a mean of skewed values is the normal tail of mean − x·s, with
Var(mean − x·s) = 1 − x·skewness/√k + x²/(2·degrees of freedom) in units of the standard error: a small mean and a small s come
together where the skewness is negative. More items of the same kind bring more clusters in proportion, so the error falls with the
root of n and the degrees of freedom grow with n; the design effect is in the error already.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import special

LARGEST = 10_000_000


@dataclass(frozen=True, slots=True)
class Design:
    """What the error of a mean is made of. skews: skewness of the clusters' sums and of the items, with how many there are."""

    se: float
    freedom: float
    skews: tuple[tuple[float, int], ...] = ()
    step: float = 0.0  # what the continuity correction takes from the mean

    def times(self, scale: float) -> Design:
        """The same kind of items, `scale` times as many."""
        skews = tuple((g, max(2, round(k * scale))) for g, k in self.skews)
        return Design(self.se / math.sqrt(scale), self.freedom * scale, skews, self.step / scale)


def hall(t: float, skew: float, k: int) -> float:
    """Hall's (1992, JRSS B 54:221) transformation of a t statistic of k values with that skewness; monotone in t."""
    s = t / math.sqrt(k)
    return math.sqrt(k) * (s + skew * s**2 / 3 + skew**2 * s**3 / 27 + skew / (6 * k))


def hall_inverse(h: float, skew: float, k: int) -> float:
    """The t statistic that Hall's transformation brings to h."""
    if abs(skew) < 1e-9:
        return h
    return math.sqrt(k) * 3 / skew * (float(np.cbrt(1 + skew * (h / math.sqrt(k) - skew / (6 * k)))) - 1)


def of_gate(effect: float, design: Design, *, alpha: float) -> float:
    """Chance that the gate's one-sided test at alpha rejects, if the true mean is `effect`."""
    if design.se == 0:
        return 1.0 if effect > 0 else 0.0
    critical = float(special.stdtrit(design.freedom, 1 - alpha))
    needed = max([critical, *(hall_inverse(critical, g, k) for g, k in design.skews)])
    skew, k = min(design.skews, default=(0.0, 1))
    spread = max(0.1, 1 - needed * skew / math.sqrt(k) + needed**2 / (2 * design.freedom))
    return float(special.ndtr(((effect - design.step) / design.se - needed) / math.sqrt(spread)))


def of_t_test(effect: float, se: float, *, freedom: float, alpha: float) -> float:
    """The same for the plain one-sided t test, exactly, by the noncentral t distribution."""
    critical, shift = float(special.stdtrit(freedom, 1 - alpha)), effect / se
    return float(1 - special.nctdtr(freedom, shift, critical))


def more_items(effect: float, design: Design, *, items: int, alpha: float, power: float = 0.8) -> int | None:
    """How many items beyond these the gate needs for this power, if the true effect is the one seen. None: no number would do."""
    if effect <= 0:
        return None

    def reached(n: int) -> bool:
        return of_gate(effect, design.times(n / items), alpha=alpha) >= power

    low, high = items, items
    while not reached(high):
        low, high = high, 2 * high
        if high > LARGEST:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high - items

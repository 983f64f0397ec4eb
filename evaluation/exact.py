"""Exact tests and score intervals for yes/no scores of two arms on the same items. Only where every item stands alone.

With several items of one customer these are not valid; the clustered tests are. Sources: McNemar's test in its exact binomial form on
the discordant pairs; Tango 1998 (Stat. Med. 17:891), the score interval of a paired difference; Newcombe 1998 (Stat. Med. 17:2635),
method 10, from two Wilson intervals and the phi coefficient.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import optimize, special, stats


@dataclass(frozen=True, slots=True)
class Table:
    """Pairs of a yes/no score: right in both arms, only in the candidate's, only in the baseline's, in neither."""

    both: int
    gained: int
    lost: int
    neither: int

    @property
    def items(self) -> int:
        return self.both + self.gained + self.lost + self.neither

    @property
    def difference(self) -> float:
        return (self.gained - self.lost) / self.items


@dataclass(frozen=True, slots=True)
class Exact:
    """McNemar's exact p, two-sided and of "the candidate is better", and Tango's interval of the difference."""

    table: Table
    p: float
    p_better: float
    low: float
    high: float


def table(candidate: Sequence[float], baseline: Sequence[float]) -> Table | None:
    """The pairs counted; None where a score is neither 0 nor 1."""
    pairs = list(zip(candidate, baseline, strict=True))
    if not pairs or any(x not in (0, 1) for pair in pairs for x in pair):
        return None
    return Table(*(pairs.count(p) for p in ((1, 1), (1, 0), (0, 1), (0, 0))))


def compared(
    candidate: Sequence[float], baseline: Sequence[float], groups: Sequence[str], *, confidence: float
) -> Exact | None:
    """The exact comparison; None where scores are not yes/no or a customer has several items."""
    counted = table(candidate, baseline)
    if counted is None or len(set(groups)) < len(groups):
        return None
    return Exact(counted, mcnemar(counted), mcnemar_better(counted), *tango(counted, confidence=confidence))


def mcnemar(t: Table) -> float:
    """Two-sided exact p of equal arms; 1 without discordant pairs."""
    n = t.gained + t.lost
    return float(stats.binomtest(t.gained, n, 0.5).pvalue) if n else 1.0


def mcnemar_better(t: Table) -> float:
    """One-sided exact p of "the candidate is not better"; 1 without discordant pairs."""
    n = t.gained + t.lost
    return float(stats.binomtest(t.gained, n, 0.5, alternative="greater").pvalue) if n else 1.0


def exact_interval(k: float, n: float, *, confidence: float = 0.95) -> tuple[float, float]:
    """Clopper and Pearson's interval of k successes in n trials; n may be an effective number."""
    tail = (1 - confidence) / 2
    low = float(stats.beta.ppf(tail, k, n - k + 1)) if k > 0 else 0.0
    return low, float(stats.beta.ppf(1 - tail, k + 1, n - k)) if k < n else 1.0


def wilson(k: int, n: int, *, confidence: float) -> tuple[float, float]:
    """Wilson's score interval of a share."""
    z = float(special.ndtri(0.5 + confidence / 2))
    middle, reach = k + z * z / 2, z * math.sqrt(k * (n - k) / n + z * z / 4)
    return max(0.0, (middle - reach) / (n + z * z)), min(1.0, (middle + reach) / (n + z * z))


def newcombe(t: Table, *, confidence: float = 0.95) -> tuple[float, float]:
    """Newcombe's method 10: squared and added Wilson reaches, correlated by phi with his continuity correction."""
    n = t.items
    right, left = t.both + t.gained, t.both + t.lost
    p1, p2 = right / n, left / n
    (l1, u1), (l2, u2) = wilson(right, n, confidence=confidence), wilson(left, n, confidence=confidence)
    margins = right * (n - right) * left * (n - left)
    cross = float(t.both * t.neither - t.gained * t.lost)
    cross = max(cross - n / 2, 0.0) if cross > 0 else cross
    phi = cross / math.sqrt(margins) if margins else 0.0
    below = (p1 - l1) ** 2 - 2 * phi * (p1 - l1) * (u2 - p2) + (u2 - p2) ** 2
    above = (u1 - p1) ** 2 - 2 * phi * (u1 - p1) * (p2 - l2) + (p2 - l2) ** 2
    return p1 - p2 - math.sqrt(max(below, 0.0)), p1 - p2 + math.sqrt(max(above, 0.0))


def tango(t: Table, *, confidence: float = 0.95) -> tuple[float, float]:
    """The differences that Tango's score test does not reject, two-sided."""
    z, seen = float(special.ndtri(0.5 + confidence / 2)), t.difference
    low = optimize.brentq(lambda d: tango_score(t, d) - z, -1.0, seen, xtol=1e-14) if seen > -1 else -1.0
    high = optimize.brentq(lambda d: tango_score(t, d) + z, seen, 1.0, xtol=1e-14) if seen < 1 else 1.0
    return float(low), float(high)


def tango_score(t: Table, difference: float) -> float:
    """Tango's score of a difference: approximately standard normal if that is the true one; falls as it grows."""
    n, gap = t.items, t.gained - t.lost - t.items * difference
    if abs(difference) >= 1:
        return math.copysign(math.inf, gap) if gap else 0.0
    b = -(t.gained + t.lost) + (2 * n - t.gained + t.lost) * difference
    c = -t.lost * difference * (1 - difference)
    lost = max((math.sqrt(max(b * b - 8 * n * c, 0.0)) - b) / (4 * n), 0.0)  # restricted maximum likelihood
    variance = n * (2 * lost + difference * (1 - difference))
    if variance <= 0:
        return math.copysign(math.inf, gap) if gap else 0.0
    return gap / math.sqrt(variance)

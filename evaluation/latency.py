"""Percentiles of latency with intervals, the service level they must keep, and the search for the highest rate that keeps it.

A percentile is the smallest value that at least a share q of the requests do not exceed; a request that failed never ended.
So "p95 within the bound" and "at most 5 % of the requests missed the bound" are one statement. Intervals are of order
statistics (binomial). Requests that queued behind each other are not independent: the binomial's n is divided by the
autocorrelation time of the misses, without which intervals near saturation cover far less than they say.

A queue needs time to show an overload: with arrivals δ above what the server can take, the wait passes a bound of L seconds
only after L/δ seconds. So a run should last at least ten times the longest bound; what is found is then at most a tenth too high.
And it should have a thousand requests: on simulated M/D/1 queues the rate found was off by 13 % (root mean square, most of it
too high) with 100 requests a run, by 6 % with 300, by 3 % with 1,000.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

from evaluation.exact import exact_interval

SHARE = 0.95  # of the requests that must keep each bound
PERCENTILES = (0.5, 0.95, 0.99)
CONFIDENCE = 0.95
SURE = 0.9  # two-sided; a rate whose miss share is settled at this level needs no further run


@dataclass(frozen=True, slots=True)
class Timing:
    """One request. The times count from its scheduled arrival, so a late client makes a server look slower, never faster.

    inter_token_ms: the mean time between its tokens, after the first; None where it had one token or failed.
    """

    at_s: float
    late_ms: float  # sent after it was due
    first_token_ms: float | None
    inter_token_ms: float | None
    latency_ms: float | None  # to the last token
    tokens: int | None
    error: str | None = None


CRITERIA = ("first_token_ms", "inter_token_ms", "latency_ms")


@dataclass(frozen=True, slots=True)
class Slo:
    """Bounds on the 95th percentiles, in milliseconds; None sets no bound."""

    first_token_ms: float | None = None
    inter_token_ms: float | None = None
    latency_ms: float | None = None

    def bounds(self) -> dict[str, float]:
        return {f.name: v for f in fields(self) if (v := getattr(self, f.name)) is not None}


@dataclass(frozen=True, slots=True)
class Run:
    """One run at one rate: the requests that were due in the measured time, warm-up left out.

    planned: requests that were due. Fewer timings than planned: the run was stopped once the level could not be kept any more.
    fault: why this run says nothing about the server (a late client, a server that did not come to rest); None is a good run.
    """

    rate: float
    seconds: float
    seed: int
    planned: int
    timings: tuple[Timing, ...]
    fault: str | None = None

    @property
    def whole(self) -> bool:
        return len(self.timings) == self.planned


@dataclass(frozen=True, slots=True)
class Quantile:
    """value, high None: the order statistic lies among failed requests, or beyond the requests there are."""

    value: float | None
    low: float | None
    high: float | None
    requests: int
    effective: float  # independent requests that say as much as these


def quantile(values: Sequence[float], q: float, *, confidence: float = CONFIDENCE) -> Quantile:
    """The q-quantile in order of arrival, failed requests as infinity. Raises ValueError without values."""
    if not values:
        raise ValueError("no values")
    x, n = np.asarray(values, dtype=float), len(values)
    ranked = np.sort(x)
    found = float(ranked[math.ceil(q * n - 1e-9) - 1])
    effective = effective_number(x > found)
    low, high = _order_statistics(n, q, effective, confidence)
    return Quantile(
        _finite(found),
        _finite(float(ranked[low - 1])) if low >= 1 else None,
        _finite(float(ranked[high - 1])) if high <= n else None,
        n,
        effective,
    )


def _order_statistics(n: int, q: float, effective: float, confidence: float) -> tuple[int, int]:
    """Ranks (from 1) of the interval's ends: the binomial's tail quantiles for `effective` trials, scaled to n ranks."""
    trials, tail = max(1, round(effective)), (1 - confidence) / 2
    low = int(stats.binom.ppf(tail, trials, q))
    high = int(stats.binom.ppf(1 - tail, trials, q)) + 1
    return math.floor(low * n / trials), math.ceil(high * n / trials) if high <= trials else n + 1


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def effective_number(missed: npt.ArrayLike) -> float:
    """n over the autocorrelation time of a yes/no sequence, by Geyer's initial positive sequence (1992); at most n."""
    x = np.asarray(missed, dtype=float)
    n, centred = x.size, x - x.mean()
    variance = float(centred @ centred) / n
    if n < 4 or variance == 0:
        return float(n)
    size = 1 << (2 * n - 1).bit_length()
    spectrum = np.fft.rfft(centred, size)
    rho = np.fft.irfft(spectrum * spectrum.conj(), size)[: n // 2] / n / variance
    pairs = rho[: 2 * (rho.size // 2)].reshape(-1, 2).sum(axis=1)
    falling = np.flatnonzero(pairs <= 0)
    pairs = np.minimum.accumulate(pairs[: falling[0] if falling.size else pairs.size])
    return n / max(1.0, 2 * float(pairs.sum()) - 1)


def column(timings: Sequence[Timing], criterion: str) -> list[float]:
    """A criterion's values in order of arrival: infinity where the request failed, nothing where it does not apply."""
    ordered = sorted(timings, key=lambda t: t.at_s)
    return [v for t in ordered if (v := math.inf if t.error else getattr(t, criterion)) is not None]


@dataclass(frozen=True, slots=True)
class Level:
    """What the runs at one rate say about the service level. misses: share of requests a criterion; the largest decides."""

    rate: float
    kept: bool
    sure: bool
    misses: dict[str, float]
    requests: int


def judge(runs: Sequence[Run], slo: Slo) -> Level:
    """The level of runs at one rate, pooled. Needs at least one run without fault."""
    misses: dict[str, float] = {}
    settled = []
    for name, bound in slo.bounds().items():
        missed, effective, planned = 0, 0.0, 0
        for run in runs:
            late = np.asarray(column(run.timings, name)) > bound
            missed += int(late.sum())
            planned += late.size if run.whole else run.planned
            effective += effective_number(late) if run.whole else run.planned
        share = missed / planned if planned else 0.0
        low, high = exact_interval(share * effective, effective, confidence=SURE)
        misses[name] = share
        # a stopped run has proved its misses; what it did not send cannot take them back
        settled.append(low > 1 - SHARE or high <= 1 - SHARE or (share > 1 - SHARE and not all(r.whole for r in runs)))
    kept = all(share <= 1 - SHARE + 1e-12 for share in misses.values())
    certain = (
        all(settled) if kept else any(s for s, share in zip(settled, misses.values(), strict=True) if share > 1 - SHARE)
    )
    return Level(runs[0].rate, kept, certain, misses, sum(len(r.timings) for r in runs))


def allowed_misses(planned: int) -> int:
    """Requests of this many that may miss a bound before its 95th percentile does."""
    return math.floor((1 - SHARE) * planned + 1e-9)


@dataclass(frozen=True, slots=True)
class Capacity:
    """requests_per_second: the highest rate that was seen to keep the level; None with a reason where there is none.

    above: the lowest rate that was seen to miss it; None: none was found.
    reason: what ended the search early; None: the two rates are as close as was asked for.
    hopeless: single requests on the idle server miss the level already, or those at a thousandth of the rate they would allow.
    """

    requests_per_second: float | None
    above: float | None
    reason: str | None
    runs: tuple[Run, ...]
    levels: tuple[Level, ...]
    hopeless: bool = False

    @property
    def keeps_level(self) -> bool | None:
        """Is there a rate that keeps it; None: that is not known."""
        return True if self.requests_per_second is not None else (False if self.hopeless else None)


Measure = Callable[[float, int], Run]
Outcome = Literal["kept", "missed", "faulty", "unknown"]


class _Search:
    def __init__(self, measure: Measure, slo: Slo, repeats: int, out_of_time: Callable[[], bool]) -> None:
        self.measure, self.slo, self.repeats, self.out_of_time = measure, slo, repeats, out_of_time
        self.runs: list[Run] = []
        self.levels: list[Level] = []
        self.reason: str | None = None

    def outcome(self, rate: float) -> Outcome:
        """Runs at one rate until its level is settled, at most `repeats` of them; then what they say so far counts."""
        here: list[Run] = []
        for repeat in range(self.repeats):
            if self.out_of_time():
                self.reason = "the time for the search was used up"
                break
            run = self.measure(rate, repeat)
            self.runs.append(run)
            if run.fault is not None:
                self.reason = f"at {rate:.3g} requests a second: {run.fault}"
                return "faulty"
            here.append(run)
            if judge(here, self.slo).sure:
                break
        if not here or (self.reason and not judge(here, self.slo).sure):
            return "unknown"
        level = judge(here, self.slo)
        self.levels.append(level)
        return "kept" if level.kept else "missed"

    def result(self, low: float | None, high: float | None) -> Capacity:
        return Capacity(low, high, self.reason, tuple(self.runs), tuple(self.levels))


def search(
    measure: Measure,
    slo: Slo,
    *,
    first_rate: float,
    precision: float,
    repeats: int,
    out_of_time: Callable[[], bool],
) -> Capacity:
    """The highest rate inside the service level: doubled or halved until it is between two rates, then bisected.

    measure(rate, repeat) makes one run; the same repeat at another rate should use the same random numbers, so that rates are
    compared on the same arrivals. Ends when the two rates differ by no more than `precision`, or with a reason. A run with a
    fault, such as a client that a far overloaded server makes late, says nothing about its rate: lower ones are tried.
    """
    hunt = _Search(measure, slo, repeats, out_of_time)
    low: float | None = None
    high: float | None = None
    faulty: float | None = None  # the lowest rate whose run had a fault, and which
    fault: str | None = None
    rate = first_rate
    while low is None or (high is None and faulty is None):
        outcome = hunt.outcome(rate)
        if outcome == "unknown" or (outcome == "faulty" and low is None):
            return hunt.result(low, high)
        if outcome == "faulty":
            faulty, fault, hunt.reason = rate, hunt.reason, None
            break
        low, high = (rate, high) if outcome == "kept" else (low, rate)
        if low is None and rate < first_rate / 1000:
            hunt.reason = f"even at {rate:.3g} requests a second the service level is missed"
            return replace(hunt.result(None, high), hopeless=True)
        rate = rate * 2 if outcome == "kept" else rate / 2
    assert low is not None
    while (top := min(r for r in (high, faulty) if r is not None)) / low > 1 + precision:
        middle = math.sqrt(low * top)
        outcome = hunt.outcome(middle)
        if outcome == "unknown":
            return hunt.result(low, high)
        if outcome == "kept":
            low = middle
        elif outcome == "missed":
            high = middle
        else:
            faulty, fault, hunt.reason = middle, hunt.reason, None
    hunt.reason = None if top == high else fault
    return hunt.result(low, high)


def at_rates(
    measure: Measure, slo: Slo, *, rates: Sequence[float], repeats: int, out_of_time: Callable[[], bool]
) -> Capacity:
    """The same at given rates, lowest first: the highest before the first that misses the level."""
    hunt = _Search(measure, slo, repeats, out_of_time)
    low: float | None = None
    for rate in sorted(rates):
        outcome = hunt.outcome(rate)
        if outcome != "kept":
            hunt.reason = hunt.reason or (
                f"the lowest rate, {rate:.3g} a second, misses the level" if low is None else None
            )
            return hunt.result(low, rate if outcome == "missed" else None)
        low = rate
    hunt.reason = "the highest of the given rates keeps the level; more may be possible"
    return hunt.result(low, None)


def table(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Per rate: percentiles of each criterion with intervals over the pooled runs, errors, lateness of the client."""
    rows = []
    for rate in sorted({r.rate for r in runs}):
        here = [r for r in runs if r.rate == rate]
        timings = [t for r in here for t in r.timings]
        whole = all(r.whole for r in here) and all(r.fault is None for r in here)
        row: dict[str, Any] = {
            "requests_per_second": rate,
            "runs": len(here),
            "requests": len(timings),
            "planned": sum(r.planned for r in here),
            "errors": _counted(t.error for t in timings if t.error is not None),
            "late_p99_ms": float(np.quantile([t.late_ms for t in timings], 0.99)) if timings else None,
            "tokens_per_second": sum(t.tokens or 0 for t in timings) / sum(r.seconds for r in here) if whole else None,
            "fault": next((r.fault for r in here if r.fault), None),
        }
        for name in CRITERIA:
            values = [v for r in here for v in column(r.timings, name)] if whole else []
            # a run that was stopped has lost its slowest requests: its percentiles would flatter
            row[name] = {f"p{100 * q:g}": _cell(quantile(values, q)) if values else None for q in PERCENTILES}
        rows.append(row)
    return rows


def _cell(q: Quantile) -> dict[str, float | None]:
    return {"value": q.value, "low": q.low, "high": q.high}


def _counted(errors: Any) -> dict[str, int]:
    found: dict[str, int] = {}
    for e in errors:
        found[e] = found.get(e, 0) + 1
    return dict(sorted(found.items()))

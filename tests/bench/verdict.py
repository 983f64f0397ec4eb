"""The verdict's error rate and power, by simulated evaluations judged with the gate's own code.

    python tests/bench/verdict.py [EVALUATIONS]

A cell is a kind of score, a size and a way the items come in customers. Scores of both arms are made from one Gaussian copula: an
effect of the customer and of the item that both arms share, an effect of the customer on each arm (what makes errors of one customer
alike), and noise. False promotion: the candidate's true mean is exactly ratio × the baseline's. Power: the candidate's true mean is
set so that the formula of evaluation/power.py, from the population's variance and before any data, promises 80 %, or both arms are
equal where no candidate could reach that. Under 200 items the plan resamples customers of the population, as the gate does.
Beside the gate: the rule that compares bare means, a t test that ignores pairs and customers, and the clustered t test without the
gate's corrections. Writes verdict.json.
"""

from __future__ import annotations

import json
import platform
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy import optimize, special

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent.parent))

from evaluation import power  # noqa: E402
from evaluation.margins import SMALL, STEP, Pairs, resampled_power  # noqa: E402
from evaluation.statistics import gate_alpha  # noqa: E402

RECORD = Path(sys.argv[2]) if len(sys.argv) > 2 else HERE / "verdict.json"
RATIO, ALPHA = 0.9, 0.05
SIZES = (50, 100, 200, 400, 1000)
SCORES = (("binary", 0.8), ("binary", 0.9), ("binary", 0.95), ("continuous", 0.4), ("continuous", 0.7))
CUSTOMERS = {"one item each": 1, "about three items each, uneven": 3}
SHARES = (0.15, 0.35, 0.15, 0.35)  # customer, item, customer in one arm, noise: of the latent variance
CHUNK = 500


def customers(rng: np.random.Generator, n: int, mean: int) -> np.ndarray:
    """Items of each customer: geometric, at most 12."""
    if mean == 1:
        return np.ones(n, dtype=int)
    made: list[int] = []
    while sum(made) < n:
        made.append(min(int(rng.geometric(1 / mean)), 12))
    made[-1] -= sum(made) - n
    return np.array(made)


def scores(
    rng: np.random.Generator, runs: int, sizes: np.ndarray, kind: str, candidate: float, baseline: float
) -> tuple[np.ndarray, np.ndarray]:
    """Scores of both arms, runs × items, with these true means."""
    codes, n = np.repeat(np.arange(sizes.size), sizes), int(sizes.sum())
    customer, item, own, noise = (np.sqrt(s) for s in SHARES)
    shared = customer * rng.standard_normal((runs, sizes.size))[:, codes] + item * rng.standard_normal((runs, n))
    made = []
    for mean in (candidate, baseline):
        z = shared + own * rng.standard_normal((runs, sizes.size))[:, codes] + noise * rng.standard_normal((runs, n))
        made.append((z < special.ndtri(mean)).astype(float) if kind == "binary" else special.ndtr(z) ** (1 / mean - 1))
    return made[0], made[1]


def plan(kind: str, baseline: float, n: int, mean: int) -> tuple[float, float, np.ndarray]:
    """The candidate's true mean that the plan gives 80 % power, the planned power, and how the items come in customers."""
    sizes = customers(np.random.default_rng(n), n, mean)
    w = 1 / (1 - sizes / n)
    freedom = n**2 / ((sizes**2).sum() + ((w * sizes**2).sum() ** 2 - (w**2 * sizes**4.0).sum()) / n**2)
    starts = np.r_[0, np.cumsum(sizes)[:-1]]

    def promised(candidate: float) -> float:
        c, b = scores(np.random.default_rng(2), 600_000 // n, sizes, kind, candidate, baseline)
        e = c - RATIO * b - (candidate - RATIO * baseline)
        u = np.add.reduceat(e, starts, axis=1)
        second = (u**2).mean()
        skews = (((u**3).mean() / second**1.5, sizes.size), ((e**3).mean() / (e**2).mean() ** 1.5, n))
        design = power.Design(
            float(np.sqrt(second * sizes.size)) / n, freedom, skews, STEP / n if kind == "binary" else 0.0
        )
        return power.of_gate(candidate - RATIO * baseline, design, alpha=gate_alpha(ALPHA, n))

    most = min(0.99, baseline * 1.05)
    if promised(most) < 0.8:
        return baseline, promised(baseline), sizes
    found = float(optimize.brentq(lambda q: promised(q) - 0.8, RATIO * baseline + 1e-4, most, xtol=1e-3))
    return found, promised(found), sizes


def plan_by_resampling(kind: str, candidate: float, baseline: float, n: int, mean: int) -> float:
    """The planned power of small sets: the gate on sets drawn from a population of customers."""
    rng = np.random.default_rng(3)
    sizes = customers(rng, 400_000, mean)
    c, b = scores(rng, 1, sizes, kind, candidate, baseline)
    pilot = Pairs(c[0], b[0], np.repeat(np.arange(sizes.size), sizes), sizes.size)
    gated = partial(Pairs.against_ratio, ratio=RATIO)
    return resampled_power(pilot, gated, items=n, alpha=gate_alpha(ALPHA, n), runs=5000, seed=4)


def gate(c: np.ndarray, b: np.ndarray, codes: np.ndarray, alpha: float) -> np.ndarray:
    count = int(codes.max()) + 1
    return np.array([Pairs(x, y, codes, count).against_ratio(RATIO).above < alpha for x, y in zip(c, b, strict=True)])


def means(c: np.ndarray, b: np.ndarray, codes: np.ndarray, alpha: float) -> np.ndarray:
    return c.mean(axis=1) >= RATIO * b.mean(axis=1)


def unpaired(c: np.ndarray, b: np.ndarray, codes: np.ndarray, alpha: float) -> np.ndarray:
    """Welch's t test of two samples that it takes for independent."""
    n = c.shape[1]
    vc, vb = c.var(axis=1, ddof=1) / n, RATIO**2 * b.var(axis=1, ddof=1) / n
    freedom = (vc + vb) ** 2 / (vc**2 + vb**2) * (n - 1)
    return (c.mean(axis=1) - RATIO * b.mean(axis=1)) / np.sqrt(vc + vb) > special.stdtrit(freedom, 1 - alpha)


def plain_t(c: np.ndarray, b: np.ndarray, codes: np.ndarray, alpha: float) -> np.ndarray:
    """The clustered linearised t test with G − 1 degrees of freedom."""
    e, n, count = c - RATIO * b, c.shape[1], int(codes.max()) + 1
    starts = np.flatnonzero(np.diff(codes, prepend=-1))
    u = np.add.reduceat(e - e.mean(axis=1, keepdims=True), starts, axis=1)
    se = np.sqrt(count / (count - 1) * (u**2).sum(axis=1)) / n
    return e.mean(axis=1) > special.stdtrit(count - 1, 1 - alpha) * se


RULES: dict[str, Callable[..., np.ndarray]] = {
    "gate": gate, "bare means": means, "unpaired t": unpaired, "clustered t, uncorrected": plain_t,
}  # fmt: skip


def promoted(
    kind: str,
    candidate: float,
    baseline: float,
    layout: Callable[[np.random.Generator], np.ndarray],
    *,
    runs: int,
    seed: int,
) -> dict[str, float]:
    """Share of simulated evaluations that each rule promotes. layout: items of each customer, drawn anew every CHUNK evaluations."""
    rng, found = np.random.default_rng(seed), dict.fromkeys(RULES, 0)
    for _ in range(runs // CHUNK):
        sizes = layout(rng)
        alpha = gate_alpha(ALPHA, int(sizes.sum()))
        c, b = scores(rng, CHUNK, sizes, kind, candidate, baseline)
        codes = np.repeat(np.arange(sizes.size), sizes)
        with np.errstate(divide="ignore", invalid="ignore"):
            for name, rule in RULES.items():
                found[name] += int(rule(c, b, codes, alpha).sum())
    return {name: round(k / (runs // CHUNK * CHUNK), 4) for name, k in found.items()}


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 8_000
    began, cells = time.monotonic(), []
    for kind, baseline in SCORES:
        for named, mean in CUSTOMERS.items():
            for n in SIZES:
                candidate, planned, sizes = plan(kind, baseline, n, mean)
                seed = len(cells)
                drawn, fixed = partial(customers, n=n, mean=mean), lambda _, sizes=sizes: sizes
                false = promoted(kind, RATIO * baseline, baseline, drawn, runs=runs, seed=1000 + seed)
                if n < SMALL:
                    planned, fixed = plan_by_resampling(kind, candidate, baseline, n, mean), drawn
                won = promoted(kind, candidate, baseline, fixed, runs=max(4 * CHUNK, runs // 4), seed=2000 + seed)
                cell: dict[str, Any] = {
                    "score": kind, "baseline": baseline, "customers": named, "items": n, "alpha": gate_alpha(ALPHA, n),
                    "false_promotion": false, "candidate_for_power": round(candidate, 4), "planned_power": round(planned, 4), "power": won,
                }  # fmt: skip
                cells.append(cell)
                print(
                    f"{kind} {baseline} {named:32} n={n:5} alpha={cell['alpha']}"
                    f" false {false} power {won['gate']:.3f} planned {planned:.3f} (t {won['clustered t, uncorrected']})",
                    flush=True,
                )
                write(cells, runs, began)
    print(json.dumps(summary(cells), indent=1))


def write(cells: list[dict[str, Any]], runs: int, began: float) -> None:
    record = {
        "ratio": RATIO, "evaluations": runs, "evaluations_for_power": max(4 * CHUNK, runs // 4), "latent_shares": SHARES,
        "seconds": round(time.monotonic() - began), "python": platform.python_version(), "summary": summary(cells), "cells": cells,
    }  # fmt: skip
    RECORD.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def summary(cells: list[dict[str, Any]]) -> dict[str, Any]:
    """Highest false promotion of each rule by alpha, and the gate's largest shortfall from the plan."""
    return {
        "highest_false_promotion": {
            str(alpha): {
                r: max((c["false_promotion"][r] for c in cells if c["alpha"] == alpha), default=None) for r in RULES
            }
            for alpha in (0.025, 0.05)
        },
        "power_minus_plan": {
            "lowest": round(min(c["power"]["gate"] - c["planned_power"] for c in cells), 4),
            "highest": round(max(c["power"]["gate"] - c["planned_power"] for c in cells), 4),
        },
    }


if __name__ == "__main__":
    main()

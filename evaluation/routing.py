"""Who answers what: a static policy that any gateway can read, from the decision and the tuned model's confidence on `dev`.

Fails closed: what no rule names goes where it goes today, and what must stay in the house never goes to the API, whatever the
verdict. Where a slice moves, answers below a confidence may still go to the API. That threshold is chosen on `dev` by fixed-sequence
testing (Learn then Test, Angelopoulos et al. 2021, arXiv 2110.01052): from the strictest downwards, each is accepted while the upper
bound of the error rate of what it would answer stays under the risk; the first that fails ends the search, so that the whole search
errs with probability delta at most.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from evaluation.decision import Decision
from evaluation.results import Answer, Item
from evaluation.statistics import clustered_mean
from evaluation.summary import slices_of


@dataclass(frozen=True, slots=True)
class Threshold:
    """Answers whose label has at least this probability are given locally.

    min_confidence None: no threshold keeps the risk. coverage: share of `dev` answered locally. errors_at_most: upper bound of
    their error rate at confidence 1 − delta.
    """

    min_confidence: float | None
    coverage: float
    errors_at_most: float | None
    risk: float
    delta: float
    items: int


def confidence(answer: Answer) -> float | None:
    """Probability of the chosen label among all labels; None where no log-probabilities were measured."""
    if not answer.choice_logprobs or answer.text not in answer.choice_logprobs:
        return None
    values = np.array(list(answer.choice_logprobs.values()), dtype=float)
    if not np.isfinite(values).all():
        return None
    return float(
        np.exp(answer.choice_logprobs[answer.text] - (values.max() + math.log(np.exp(values - values.max()).sum())))
    )


def upper_bound(errors: Sequence[bool], groups: Sequence[str], *, delta: float) -> float:
    """Upper confidence bound of an error rate: Clopper-Pearson, and the cluster-robust t bound where that is higher."""
    n, k = len(errors), sum(errors)
    exact = float(stats.beta.ppf(1 - delta, k + 1, n - k)) if k < n else 1.0
    e = clustered_mean([float(x) for x in errors], groups, confidence=1 - 2 * delta, within_unit=True)
    return max(exact, e.high) if e.high is not None else 1.0


def threshold(
    confidences: Sequence[float],
    correct: Sequence[bool],
    groups: Sequence[str],
    *,
    risk: float,
    delta: float,
    steps: int = 20,
) -> Threshold:
    """The lowest threshold that keeps the error rate of local answers under `risk`, tested from the strictest of `steps` on.

    confidences in [0, 1], correct and groups: one a dev item. Raises ValueError without items.
    """
    if not confidences:
        raise ValueError("no dev items")
    c, ok = np.asarray(confidences, dtype=float), np.asarray(correct, dtype=bool)
    g = np.asarray(groups)
    best: tuple[float, float, float] | None = None
    fewest = math.ceil(
        math.log(delta) / math.log(1 - risk)
    )  # with fewer, not even a faultless answer sheet shows the risk
    for share in np.linspace(min(1.0, max(1 / steps, fewest / c.size)), 1, steps):
        at = float(np.sort(c)[::-1][math.ceil(round(share * c.size, 9)) - 1])
        kept = c >= at
        bound = upper_bound(list(~ok[kept]), list(g[kept]), delta=delta)
        if bound > risk:
            break
        best = (at, float(kept.mean()), bound)
    if best is None:
        return Threshold(None, 0.0, None, risk, delta, c.size)
    return Threshold(*best, risk, delta, c.size)


def thresholds(dev: Sequence[Item], answers: dict[str, Answer], *, risk: float, delta: float) -> dict[str, Threshold]:
    """Slice → its threshold, from its own items, for those with labels whose answers carry log-probabilities.

    A bound for a whole task says nothing of a part of it: what is answered locally there may be the task's hard part.
    """
    found = {}
    for name, items in slices_of([i for i in dev if i.choices]).items():
        rows = [
            (p, a.text == i.reference, i.group)
            for i in items
            if (a := answers.get(i.id)) is not None and (p := confidence(a)) is not None
        ]
        if rows:
            confidences, correct, groups = zip(*rows, strict=True)
            found[name] = threshold(confidences, correct, groups, risk=risk, delta=delta)
    return found


def policy(
    decided: Decision, limits: dict[str, Threshold], *, model: str, apis: Sequence[str] = ("api",)
) -> dict[str, Any]:
    """The policy as plain data: `default`, `sensitive`, `slices`.

    model: what the self-hosted target is called. apis: the arms that are somebody else's machines. The most specific slice
    wins; a slice that is undecided stays where it is.
    """
    default = decided.gates.baseline
    slices: dict[str, Any] = {}
    for s in decided.slices:
        moves = decided.verdict == "self_host" and s.verdict == "self_host"
        rule: dict[str, Any] = {
            "target": "self_host" if moves else default,
            "verdict": s.verdict,
            "because": s.sentence,
        }
        limit, task = limits.get(s.slice), f"task={s.slice.removeprefix('task=').split('/')[0]}"
        if moves and limit is None and task in limits:
            rule["note"] = "no dev item of this slice, so no confidence threshold"
        if moves and limit is not None:
            if limit.min_confidence is None:
                rule["note"] = (
                    f"no confidence threshold keeps errors under {limit.risk:.0%} on {limit.items} dev items: every answer is used"
                )
            else:
                rule |= {
                    "min_confidence": limit.min_confidence, "below": default, "share_answered_locally": round(limit.coverage, 3),
                    "errors_at_most": round(limit.errors_at_most or 0, 4), "confidence": 1 - limit.delta,
                }  # fmt: skip
        slices[s.slice] = rule
    moved = any(r["target"] == "self_host" for r in slices.values())
    return {
        "version": 1,
        "model": model,
        "default": {"target": default},
        "sensitive": {
            "sensitivity": "local_only",
            "target": "self_host" if moved else "refuse",
            "never": sorted(apis),
            "without_a_self_hosted_slice": "refuse",
            "unknown_sensitivity": "local_only",
        },
        "slices": slices,
    }

"""What a judge's numbers are worth: win rates, the trial a judge must pass, and its correction by people's verdicts.

Question: when does a model's preference count? Choice: when four tests pass, each by the unfavourable bound of its 90 % interval
(one-sided 5 %): agreement with people (Cohen's kappa), the same verdict in both orders, no preference for padding, and no
leaning towards its own family beyond what people prefer. Price: about a hundred labels. What has not been measured has not
passed; the numbers of a judge that did not qualify are shown as such and never gate.

People label a sample in which disputed items are over-represented, so whatever is said of all items weighs each label by its
stratum. Corrected win rate: the judge's mean plus the weighted mean of what people say less what the judge says, an augmented
inverse-probability estimate (prediction-powered inference, arXiv 2301.09633, with strata of known share); unbiased whatever
the judge is. Length control: fractional logistic regression on tanh of the standardised length difference, predicted at 0
(AlpacaEval 2, arXiv 2404.04475, without its item difficulties, which need other models' answers).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

from evaluation.exact import exact_interval
from evaluation.gates import Gate
from evaluation.judge import Judgement
from evaluation.results import Item
from evaluation.statistics import Estimate, bootstrap_difference, clustered_mean
from evaluation.summary import slices_of

CONFIDENCE = 0.9  # two-sided; each test looks at one bound
FEWEST_LABELS = (
    5  # of a stratum that is not labelled whole: fewer show no spread, and an interval without it excludes the truth
)
SLOPE_PRIOR_SD = 2.5  # keeps the slope finite where length alone decides; weak against any real number of items


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a judge must show."""

    min_labels: int
    min_kappa: float
    min_consistency: float
    max_padded_wins: float
    max_lean: float


@dataclass(frozen=True, slots=True)
class Labels:
    """What people said, from the candidate's side (1, .5 or 0; the mean of several reviewers), and what they drew from.

    strata: every item that could have been drawn → its stratum. A label's weight is its stratum's items over its labels, so
    lines left blank count as not drawn.
    """

    values: Mapping[str, float]
    strata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Test:
    name: Literal["agreement", "swap", "verbosity", "self_preference"]
    outcome: Literal["passed", "failed", "not_measured"]
    value: float | None
    low: float | None
    high: float | None
    required: str
    measured: int
    sentence: str


def summarise(
    judged: Sequence[Judgement],
    items: Sequence[Item],
    labels: Labels | None,
    bounds: Bounds,
    *,
    own: frozenset[str],
    seed: int,
) -> dict[str, Any]:
    """All of it as JSON: `qualified`, the tests, and the win rates per slice. own: sides of the judge's family."""
    pairs = [j for j in judged if j.kind == "pair"]
    tests = [
        agreement(pairs, labels, bounds, seed=seed),
        swap(pairs, bounds),
        verbosity([j for j in judged if j.kind == "padded"], bounds),
        self_preference(pairs, labels, bounds, own=own),
    ]
    of_item = {j.item: j for j in pairs}
    parts = slices_of([i for i in items if i.id in of_item])
    return {
        "qualified": all(t.outcome == "passed" for t in tests),
        "tests": [asdict(t) for t in tests],
        "slices": {name: win_rate([of_item[i.id] for i in part], labels) for name, part in parts.items()},
    }


def win_rate(judged: Sequence[Judgement], labels: Labels | None) -> dict[str, Any]:
    """Win rate of the candidate with a 95 % interval: raw, length-controlled, and corrected by people where they labelled."""
    measured = [(j, j.score) for j in judged if j.score is not None]
    scores, groups = [s for _, s in measured], [j.group for j, _ in measured]
    firsts = Counter(_position(j) for j, _ in measured)
    picked = firsts["first"] + firsts["second"]
    controlled = length_controlled(
        scores, [j.candidate_chars for j, _ in measured], [j.baseline_chars for j, _ in measured], groups
    )
    fixed = corrected(judged, labels) if labels else None
    return {
        "items": len(judged),
        "measured": len(measured),
        "not_measured": dict(sorted(Counter(r for j in judged if j.score is None for r in j.reasons).items())),
        "same_text": sum("same_text" in j.reasons for j in judged),
        "raw": asdict(clustered_mean(scores, groups, within_unit=True)) if scores else None,
        "length_controlled": asdict(controlled) if controlled else None,
        "corrected": asdict(fixed) if fixed else None,
        "labels": sum(j.item in labels.values for j in judged) if labels else 0,
        "inconsistent": sum(not j.consistent for j, _ in measured) / len(measured) if measured else None,
        "reversed": sum({j.candidate_first, j.baseline_first} == {"candidate", "baseline"} for j, _ in measured),
        "picks_first": firsts["first"] / picked if picked else None,
    }


def gates(found: Mapping[str, Any], margin: float) -> list[Gate]:
    """A gate a task: it fails where a qualified judge, corrected by people, shows a win rate below one half less the margin.

    Without qualification it could not be measured, whatever the numbers are.
    """
    made = []
    for name, rates in found["slices"].items():
        if not name.startswith("task="):
            continue
        rate = rates["corrected"]
        if not found["qualified"] or rate is None or rate["high"] is None:
            why = (
                "the judge has not qualified"
                if not found["qualified"]
                else "too few labels for an interval of the win rate"
            )
            made.append(Gate(f"judge {name}", None, margin, None, f"{name}: {why}, so its win rate gates nothing."))
            continue
        told = f"{name}: win rate {rate['mean']:.3f} ({rate['low']:.3f} to {rate['high']:.3f}) by judge and people"
        passed = rate["high"] >= 0.5 - margin
        says = "not shown to be below" if passed else "below"
        sentence = f"{told}, {says} {0.5 - margin:.3f}."
        made.append(Gate(f"judge {name}", 0.5 - rate["mean"], margin, passed, sentence))
    return made


def _position(j: Judgement) -> str | None:
    """Where the orders contradict each other outright: which place won both times. Elsewhere nothing is known of places."""
    if (j.candidate_first, j.baseline_first) == ("candidate", "baseline"):
        return "first"
    return "second" if (j.candidate_first, j.baseline_first) == ("baseline", "candidate") else None


def length_controlled(
    scores: Sequence[float],
    candidate_chars: Sequence[int],
    baseline_chars: Sequence[int],
    groups: Sequence[str],
    *,
    slope_prior_sd: float = SLOPE_PRIOR_SD,
    confidence: float = 0.95,
) -> Estimate | None:
    """The win rate at equal lengths, cluster-robust (sandwich, t with G−1). None where every score is 0, or every score 1."""
    y = np.asarray(scores, dtype=float)
    if y.size < 2 or y.max() == 0 or y.min() == 1:
        return None
    longer = np.asarray(candidate_chars, dtype=float) - np.asarray(baseline_chars, dtype=float)
    spread = float(longer.std())
    x = np.column_stack([np.ones(y.size), np.tanh(longer / spread) if spread > 0 else np.zeros(y.size)])
    prior = np.diag([0.0, 1 / slope_prior_sd**2])
    beta = _fit(x, y, prior)
    p = _logistic(x @ beta)
    bread = np.linalg.inv(x.T @ (x * (p * (1 - p))[:, None]) + prior)
    at_zero = float(_logistic(beta[:1])[0])
    _, codes = np.unique(np.asarray(groups), return_inverse=True)
    clusters = int(codes.max()) + 1
    if clusters < 2:
        return Estimate(at_zero, None, None, None, int(y.size), clusters)
    u = np.zeros((clusters, 2))
    np.add.at(u, codes, x * (y - p)[:, None])
    variance = clusters / (clusters - 1) * bread @ (u.T @ u) @ bread
    se = math.sqrt(float(variance[0, 0]))
    reach = float(stats.t.ppf(0.5 + confidence / 2, clusters - 1)) * se
    low, high = _logistic(beta[0] + np.array([-reach, reach])).tolist()
    return Estimate(at_zero, low, high, at_zero * (1 - at_zero) * se, int(y.size), clusters)


def _fit(
    x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], prior: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Newton's method on the penalised quasi-likelihood, the step halved until it improves."""

    def loss(b: npt.NDArray[np.float64]) -> float:
        z = x @ b
        return float(np.logaddexp(0, z).sum() - y @ z + 0.5 * b @ prior @ b)

    beta = np.zeros(x.shape[1])
    for _ in range(100):
        p = _logistic(x @ beta)
        gradient = x.T @ (y - p) - prior @ beta
        step = np.linalg.solve(x.T @ (x * (p * (1 - p))[:, None]) + prior + 1e-12 * np.eye(x.shape[1]), gradient)
        while loss(beta + step) > loss(beta) and float(abs(step).max()) > 1e-12:
            step /= 2
        beta = beta + step
        if float(abs(step).max()) < 1e-12:
            break
    return beta


def _logistic(z: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(0.5 * (1 + np.tanh(z / 2)))


def corrected(judged: Sequence[Judgement], labels: Labels, *, confidence: float = 0.95) -> Estimate | None:
    """The win rate as people would give it: all verdicts of the judge, and the labels of some items.

    None where a stratum has so few labels that they say nothing of how far they differ. An item the judge could not judge
    counts as its tie, which the labels correct like any other of its verdicts.
    """
    return _weighed(judged, labels, lambda y, residual: y + residual, confidence)


def lean(judged: Sequence[Judgement], labels: Labels, *, confidence: float = CONFIDENCE) -> Estimate | None:
    """How much more than people the judge favours the candidate, over all items that it could judge."""
    return _weighed([j for j in judged if j.score is not None], labels, lambda _, residual: -residual, confidence)


def _weighed(judged: Sequence[Judgement], labels: Labels, value: Any, confidence: float) -> Estimate | None:
    same = [j for j in judged if "same_text" in j.reasons]  # a tie, and nobody need be asked
    drawn = [j for j in judged if j.item in labels.strata and "same_text" not in j.reasons]
    of_stratum: dict[str, list[Judgement]] = {}
    for j in drawn:
        of_stratum.setdefault(labels.strata[j.item], []).append(j)
    influence = {j.item: value(0.5, 0.0) for j in same}
    for part in of_stratum.values():
        gaps = {j.item: labels.values[j.item] - _or_tie(j) for j in part if j.item in labels.values}
        if not gaps or len(gaps) < min(FEWEST_LABELS, len(part)):
            return None
        mean, weight = sum(gaps.values()) / len(gaps), len(part) / len(gaps)
        for j in part:  # the stratum's mean gap, and each label's own part in how sure that mean is
            own = weight * (gaps[j.item] - mean) if j.item in gaps else 0.0
            influence[j.item] = value(_or_tie(j), mean + own)
    if not of_stratum:
        return None
    both = [*same, *drawn]
    e = clustered_mean([influence[j.item] for j in both], [j.group for j in both], confidence=confidence)
    if e.clusters > 1 and e.low is None:
        # no label differs from the judge by another amount than the rest: as many more might as that does not exclude, by 1 at most
        customers = len({j.group for j in drawn if j.item in labels.values})
        reach = exact_interval(0, customers, confidence=confidence)[1]
        e = replace(e, low=e.mean - reach, high=e.mean + reach)
    return e


def _or_tie(j: Judgement) -> float:
    return 0.5 if j.score is None else j.score


def agreement(pairs: Sequence[Judgement], labels: Labels | None, bounds: Bounds, *, seed: int) -> Test:
    """Cohen's kappa of judge and people over win, tie and loss, each label weighed by its stratum."""
    required = f"kappa at least {bounds.min_kappa} (lower bound)"
    both = _labelled(pairs, labels)
    if labels is None or len(both) < bounds.min_labels:
        return _open("agreement", required, len(both), f"{len(both)} labels by people, {bounds.min_labels} needed")
    weights = _weights(both, pairs, labels)
    ours = np.array([_category(j.score) for j in both])
    theirs = np.array([_category(labels.values[j.item]) for j in both])
    whole = kappa(ours, theirs, weights)
    if whole is None:
        return _open(
            "agreement", required, len(both), "people and judge gave one verdict throughout: nothing to agree on"
        )
    low, high = bootstrap_difference(
        lambda i: kappa(ours[i], theirs[i], weights[i]), [j.group for j in both], seed=seed, confidence=CONFIDENCE
    )
    return _test(
        "agreement", whole, low, high, required, len(both), low is not None and low >= bounds.min_kappa, "kappa"
    )


def kappa(ours: npt.NDArray[np.int64], theirs: npt.NDArray[np.int64], weights: npt.NDArray[np.float64]) -> float | None:
    """Cohen's kappa of three categories (0, 1, 2). None where chance alone would agree always."""
    table = np.zeros((3, 3))
    np.add.at(table, (ours, theirs), weights)
    table /= table.sum()
    by_chance = float(table.sum(0) @ table.sum(1))
    return (float(np.trace(table)) - by_chance) / (1 - by_chance) if by_chance < 1 - 1e-12 else None


def _category(score: float | None) -> int:
    assert score is not None
    return 1 if score == 0.5 else 2 if score > 0.5 else 0


def _labelled(pairs: Sequence[Judgement], labels: Labels | None) -> list[Judgement]:
    return [j for j in pairs if labels is not None and j.item in labels.values and j.score is not None]


def _weights(both: Sequence[Judgement], pairs: Sequence[Judgement], labels: Labels) -> npt.NDArray[np.float64]:
    of_all = Counter(labels.strata.get(j.item) for j in pairs if j.score is not None)
    of_labelled = Counter(labels.strata.get(j.item) for j in both)
    return np.array([of_all[s] / of_labelled[s] for s in (labels.strata.get(j.item) for j in both)])


def swap(pairs: Sequence[Judgement], bounds: Bounds) -> Test:
    """Share of items whose verdict stays when the answers change places. Equal texts were never asked and do not count."""
    required = f"at least {bounds.min_consistency:.0%} (lower bound)"
    asked = [j for j in pairs if j.consistent is not None and "same_text" not in j.reasons]
    if not asked:
        return _open("swap", required, 0, "no item was judged in both orders")
    same, groups = [float(bool(j.consistent)) for j in asked], [j.group for j in asked]
    e = clustered_mean(same, groups, confidence=CONFIDENCE, within_unit=True)
    passed = e.low is not None and e.low >= bounds.min_consistency
    return _test("swap", e.mean, e.low, e.high, required, len(asked), passed, "share")


def verbosity(probes: Sequence[Judgement], bounds: Bounds) -> Test:
    """Share of probes in which padding wins over both orders."""
    required = f"at most {bounds.max_padded_wins:.0%} (upper bound)"
    scores = [j.score for j in probes if j.score is not None]
    if not scores:
        return _open("verbosity", required, 0, "no padded answer was judged in both orders")
    won = sum(s > 0.5 for s in scores)
    low, high = exact_interval(won, len(scores), confidence=CONFIDENCE)
    return _test(
        "verbosity", won / len(scores), low, high, required, len(scores), high <= bounds.max_padded_wins, "share"
    )


def self_preference(pairs: Sequence[Judgement], labels: Labels | None, bounds: Bounds, *, own: frozenset[str]) -> Test:
    """How far the judge leans beyond people: towards its own family's side, or to either where it has none or both."""
    required = f"leaning at most {bounds.max_lean} beyond people"
    both = _labelled(pairs, labels)
    if labels is None or len(both) < bounds.min_labels:
        return _open(
            "self_preference", required, len(both), f"{len(both)} labels by people, {bounds.min_labels} needed"
        )
    e = lean(pairs, labels)
    if e is None or e.low is None or e.high is None:
        return _open(
            "self_preference",
            required,
            len(both),
            f"a stratum has fewer than {FEWEST_LABELS} labels, or all are of one customer",
        )
    sides = own if len(own) == 1 else frozenset(("candidate", "baseline"))
    passed = not ("candidate" in sides and e.high > bounds.max_lean) and not (
        "baseline" in sides and e.low < -bounds.max_lean
    )
    return _test("self_preference", e.mean, e.low, e.high, required, len(both), passed, "leaning to the candidate")


def _test(
    name: Any,
    value: float,
    low: float | None,
    high: float | None,
    required: str,
    measured: int,
    passed: bool,
    what: str,
) -> Test:
    seen = f"{what} {value:.2f}" + (f" ({low:.2f} to {high:.2f})" if low is not None and high is not None else "")
    return Test(
        name, "passed" if passed else "failed", value, low, high, required, measured, f"{seen}, required: {required}"
    )


def _open(name: Any, required: str, measured: int, why: str) -> Test:
    return Test(name, "not_measured", None, None, None, required, measured, f"could not measure: {why}")

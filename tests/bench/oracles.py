"""The statistics of evaluation/ beside statsmodels, scipy, scikit-learn and evalstats: largest difference over 200 random cases each.

    python tests/bench/oracles.py

Needs evalstats (MIT), statsmodels and scikit-learn in an interpreter of its own, as they bring plotting and more; of this project's
dependencies, numpy, scipy, pydantic and charset-normalizer. Where no library has a method, the oracle is its definition, computed by
another way than the code under test (dense matrices, root finding, enumeration) and marked so. Scores are yes/no, continuous, or full of
ties; items stand alone, share customers of uneven size, or belong to two to six customers. NaN and None must stand at the same places.
Writes oracles.json and fails where an exact comparison is further apart than LIMIT.
"""

from __future__ import annotations

import functools
import importlib.metadata
import itertools
import json
import math
import sys
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import statsmodels.api as sm
from scipy import optimize, special, stats
from sklearn import metrics as sk
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from statsmodels.stats.proportion import proportion_confint
from statsmodels.tsa.stattools import acf

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent.parent))

from evalstats.core import resampling as es  # noqa: E402
from evalstats.core.stats_utils import correct_pvalues  # noqa: E402
from evalstats.ppi import _analytic_mean_point_se_given_lambda  # noqa: E402
from evalstats.tests import _mcnemar_p, _paired_sign_test_p  # noqa: E402

from evaluation import canaries, exact, latency, leaks, power, qualification, routing  # noqa: E402
from evaluation.judge import Judgement  # noqa: E402
from evaluation.margins import Pairs, difference_bounds, fieller, ratio_bounds  # noqa: E402
from evaluation.metrics import Given, brier, ece, example, label_accuracy, macro_f1  # noqa: E402
from evaluation.slices import holm  # noqa: E402
from evaluation.statistics import bootstrap_difference, bootstrap_ratio, clustered_mean  # noqa: E402

CASES = 200
LIMIT = 1e-8
RESAMPLES = 1000
SCORES = ("binary", "continuous", "ties")
GROUPINGS = ("alone", "customers", "few customers")
LABELS = ("billing", "delivery", "login", "other")
Array = np.ndarray[Any, np.dtype[Any]]
Both = tuple[object, object]  # ours, the oracle's


@dataclass(frozen=True)
class Case:
    """Scores of two arms on the same items and the items' customers; more is drawn from `rng`, anew for each comparison."""

    seed: int
    candidate: Array
    baseline: Array
    codes: Array

    @classmethod
    def of(cls, seed: int) -> Case:
        rng = np.random.default_rng(seed)
        scores, grouping = list(itertools.product(SCORES, GROUPINGS))[seed % 9]
        n = int(rng.integers(30, 240))
        most = int(rng.integers(2, 7)) if grouping == "few customers" else int(rng.integers(10, 60))
        codes = np.arange(n) if grouping == "alone" else np.unique(rng.zipf(1.6, n) % most, return_inverse=True)[1]
        if codes.max() == 0:
            codes[: n // 3] = 1
        of_customer = rng.normal(size=n)[codes] * 0.4
        z = np.stack([rng.normal(size=n) + of_customer, rng.normal(size=n) + of_customer]) + 0.7 * rng.normal(size=n)
        share = stats.norm.cdf(z + 0.4)
        drawn = {"binary": (share > 0.35) * 1.0, "continuous": share, "ties": np.round(share * 4) / 4}[scores]
        return cls(seed, drawn[0], drawn[1], codes)

    @property
    def rng(self) -> np.random.Generator:
        return np.random.default_rng([self.seed, 1])

    @property
    def n(self) -> int:
        return int(self.codes.size)

    @property
    def clusters(self) -> int:
        return int(self.codes.max()) + 1

    @property
    def groups(self) -> list[str]:
        return [f"{g:04}" for g in self.codes]

    @property
    def alone(self) -> list[str]:
        return [f"{i:04}" for i in range(self.n)]

    @property
    def difference(self) -> Array:
        return self.candidate - self.baseline

    @property
    def confidence(self) -> float:
        return float(self.rng.choice([0.9, 0.95, 0.99]))

    @property
    def share(self) -> tuple[int, int]:
        """Successes and trials, none and all included."""
        n = int(self.rng.integers(1, 300))
        return int(self.rng.choice([0, n, *np.random.default_rng([self.seed, 2]).integers(0, n + 1, size=6)])), n

    @property
    def table(self) -> exact.Table:
        """Small in every fourth case."""
        return exact.Table(*(int(x) for x in self.rng.integers(1, 6 if self.seed % 4 == 0 else 60, size=4)))

    def sums(self, x: Array) -> Array:
        """By customer."""
        return self.of_customer @ x

    @cached_property
    def of_customer(self) -> Array:
        return (np.arange(self.clusters)[:, None] == self.codes) * 1.0

    @cached_property
    def cr2(self) -> tuple[Array, float]:
        """Row g: what customer g gives to the error of the mean by the CR2 variance; and Bell and McCaffrey's freedom. Dense matrices."""
        residual_maker = np.eye(self.n) - 1 / self.n
        working = np.zeros((self.clusters, self.n))
        for g in range(self.clusters):
            mine = self.codes == g
            values, vectors = np.linalg.eigh(residual_maker[np.ix_(mine, mine)])
            working[g] = (vectors @ np.diag(values**-0.5) @ vectors.T).sum(axis=0) @ residual_maker[mine] / self.n
        gram = working @ working.T
        return working, float(np.trace(gram) ** 2 / np.trace(gram @ gram))

    def gate_p(self, e: Array, *, step: float) -> tuple[float, float]:
        """p of "the mean is above zero" and of "below", as the docstring of statistics.py defines the gate's."""
        working, freedom = self.cr2
        se = math.sqrt(max(float(((working @ e) ** 2).sum()), float(e.var(ddof=1)) / self.n))
        d = e - e.mean()
        found = []
        for sign in (1, -1):
            t = (sign * e.mean() - step / self.n) / se
            ts = [t]
            for x in (self.sums(d), d):
                skew = sign * float(stats.skew(x, bias=False)) if x.size > 2 else 0.0
                s, k = t / math.sqrt(x.size), x.size
                ts.append(math.sqrt(k) * (s + skew / 3 * s * s + skew * skew / 27 * s**3 + skew / (6 * k)))
            found.append(max(float(stats.t.sf(x, freedom)) for x in ts))
        return found[0], found[1]

    @property
    def step(self) -> float:
        return 0.25 if set(np.concatenate([self.candidate, self.baseline])) <= {0.0, 1.0} else 0.0


CASE = functools.cache(Case.of)


@dataclass(frozen=True)
class Comparison:
    """reason: why it is not exact by definition; such a comparison is shown and not held to LIMIT."""

    name: str
    oracle: str
    both: Callable[[Case], Both | None]
    reason: str | None


COMPARED: list[Comparison] = []
ABSENT = {
    "McNemar mid-p": "evaluation/ has none: where it tests discordant pairs it takes the exact p",
    "CR2 with Bell and McCaffrey's freedom": "no library here has it: held against dense matrices",
}


def compared(name: str, oracle: str, *, reason: str | None = None) -> Callable[[Any], Any]:
    """Registers a function of a case that gives our numbers and the oracle's; None where the case is outside the method."""

    def register(both: Callable[[Case], Both | None]) -> Callable[[Case], Both | None]:
        COMPARED.append(Comparison(name, oracle, both, reason))
        return both

    return register


def clustered_fit(
    y: Array, codes: Array, x: Array | None = None, model: Callable[..., Any] = sm.OLS, **options: Any
) -> Any:
    """statsmodels, cluster-robust, t with G−1. Its correction is G/(G−1)·(n−1)/(n−k): ours where there is one regressor."""
    return model(y, np.ones(y.size) if x is None else x, **options).fit(
        cov_type="cluster", cov_kwds={"groups": codes, "use_correction": True, "df_correction": True}, use_t=True
    )


# means and their errors


@compared("clustered mean, error, interval, p", "statsmodels OLS cov_type=cluster use_t, its small-sample correction")
def _(case: Case) -> Both:
    ours = clustered_mean(list(case.difference), case.groups, confidence=case.confidence)
    fit = clustered_fit(case.difference, case.codes)
    assert ours.se is not None
    p = 2 * stats.t.sf(abs(ours.mean) / ours.se, case.clusters - 1) if ours.se > 1e-12 else 1.0
    theirs = fit.pvalues[0] if ours.se > 1e-12 else 1.0
    return (
        [ours.mean, ours.se, ours.low, ours.high, p],
        [fit.params[0], fit.bse[0], *fit.conf_int(1 - case.confidence)[0], theirs],
    )


@compared("design effect, effective items", "statsmodels OLS, cluster over nonrobust variance")
def _(case: Case) -> Both:
    ours = clustered_mean(list(case.difference), case.groups)
    simple = sm.OLS(case.difference, np.ones(case.n)).fit().bse[0] ** 2
    effect = clustered_fit(case.difference, case.codes).bse[0] ** 2 / simple
    few = effect < 1e-12  # the customers' sums cancel: effective items are then a number over rounding
    return [ours.design_effect, 0 if few else ours.effective_items], [effect, 0 if few else case.n / effect]


@compared("paired t, items alone", "scipy ttest_rel, its interval and p")
def _(case: Case) -> Both:
    ours = clustered_mean(list(case.difference), case.alone, confidence=case.confidence)
    found = stats.ttest_rel(case.candidate, case.baseline)
    assert ours.se is not None
    p = 2 * stats.t.sf(abs(ours.mean) / ours.se, case.n - 1)
    return [ours.low, ours.high, p], [*found.confidence_interval(case.confidence), found.pvalue]


@compared("t interval, items alone", "evalstats t_interval_ci_1d")
def _(case: Case) -> Both:
    ours = clustered_mean(list(case.difference), case.alone, confidence=case.confidence)
    return [ours.low, ours.high], es.t_interval_ci_1d(case.difference, 1 - case.confidence)


# the gate: ratio and difference against a margin


@compared("Fieller interval", "definition: roots of |t| = critical value by brentq, t from per-customer sums")
def _(case: Case) -> Both:
    critical = float(stats.t.isf(0.05, case.clusters - 1))

    def excess(r: float) -> float:
        """t² of c − r·b less its critical value, times the variance: smooth, and negative inside the interval."""
        e = case.candidate - r * case.baseline
        u = case.sums(e - e.mean())
        return float(e.mean() ** 2 - critical**2 * case.clusters / (case.clusters - 1) * (u**2).sum() / case.n**2)

    ours = fieller(case.candidate, case.baseline, case.groups, alpha=0.05)
    base = clustered_mean(list(case.baseline), case.groups, confidence=0.9)
    assert base.low is not None
    if base.low <= 0:  # the baseline cannot be told from zero: unbounded
        return ours, (None, None)
    seen = float(case.candidate.mean() / case.baseline.mean())
    ends = []
    for sign in (-1, 1):
        reach = 1e-3
        while excess(seen + sign * reach) < 0:
            reach *= 2
        ends.append(optimize.brentq(excess, seen, seen + sign * reach, xtol=1e-15, rtol=1e-14))
    return ours, ends


@compared(
    "linearised non-inferiority, the gate's p of both sides",
    "definition: CR2 by dense matrices, Hall with scipy.stats.skew",
)
def _(case: Case) -> Both:
    ratio = float(case.rng.choice([0.8, 0.9, 0.95, 1.0]))
    tested = Pairs.of(list(case.candidate), list(case.baseline), case.groups).against_ratio(ratio)
    return [tested.above, tested.below], case.gate_p(case.candidate - ratio * case.baseline, step=case.step)


@compared(
    "linearised non-inferiority, the gate's p",
    "statsmodels OLS cov_type=cluster, one-sided p of c − ratio·b",
    reason="the gate adds CR2, its degrees of freedom, skewness and continuity on purpose, and is never below the plain test's p",
)
def _(case: Case) -> Both | None:
    tested = Pairs.of(list(case.candidate), list(case.baseline), case.groups).against_ratio(0.9)
    fit = clustered_fit(case.candidate - 0.9 * case.baseline, case.codes)
    if fit.params[0] <= 0 or fit.bse[0] < 1e-12:
        return None
    p = float(stats.t.sf(fit.params[0] / fit.bse[0], case.clusters - 1))
    assert tested.above >= p - 1e-12, (case.seed, tested.above, p)
    return tested.above, p


@compared("bounds of the ratio and of the difference", "definition: the gate's p of dense matrices is alpha at each")
def _(case: Case) -> Both:
    pairs = Pairs.of(list(case.candidate), list(case.baseline), case.groups)
    found = []
    for bounds, moved in (
        (ratio_bounds(pairs, alpha=0.05), lambda r: case.candidate - r * case.baseline),
        (difference_bounds(pairs, alpha=0.05), lambda d: case.difference - d),
    ):
        for side, bound in enumerate(bounds):
            if bound is not None and bound != 0:  # 0: no ratio is below it
                found.append(case.gate_p(moved(bound), step=case.step)[side])
    return found, [0.05] * len(found)


# bootstrap


@compared("BCa of the mean, items alone", "scipy.stats.bootstrap of numpy.mean, same seed and so the same resamples")
def _(case: Case) -> Both | None:
    ours = bootstrap_ratio(list(case.candidate), [1.0] * case.n, case.alone, seed=case.seed, resamples=RESAMPLES)
    found = stats.bootstrap(
        (case.candidate,), np.mean, n_resamples=RESAMPLES, rng=np.random.default_rng(case.seed)
    ).confidence_interval
    return None if ours is None else ([ours.low, ours.high], [found.low, found.high])


@compared("BCa of the ratio, whole customers", "definition (Efron 1987) on the same resamples of customers")
def _(case: Case) -> Both | None:
    ours = bootstrap_ratio(
        list(case.candidate),
        list(case.baseline),
        case.groups,
        seed=case.seed,
        resamples=RESAMPLES,
        confidence=case.confidence,
    )
    if ours is None or ours.method != "BCa":
        return None
    g = case.clusters
    tops, bottoms = case.sums(case.candidate), case.sums(case.baseline)
    drawn = np.random.default_rng(case.seed).integers(0, g, size=(RESAMPLES, g))
    drawn.sort(axis=1)  # the same customers in another order must be a tie, and floating point sums are not
    again = np.array([tops[i].sum() / bottoms[i].sum() for i in drawn])
    seen = tops.sum() / bottoms.sum()
    z0 = special.ndtri(((again < seen).sum() + (again <= seen).sum()) / 2 / RESAMPLES)
    without = np.array([np.delete(tops, i).sum() / np.delete(bottoms, i).sum() for i in range(g)])
    gaps = without.mean() - without
    a = (gaps**3).sum() / 6 / (gaps**2).sum() ** 1.5
    at = [z0 + special.ndtri(0.5 + sign * case.confidence / 2) for sign in (-1, 1)]
    return [ours.low, ours.high], np.quantile(again, [special.ndtr(z0 + x / (1 - a * x)) for x in at])


@compared(
    "BCa of the mean, items alone",
    "evalstats bca_interval_1d, same resamples",
    reason="evalstats estimates the bias correction by (less + 1/2)/(B + 1), without ties; scipy and we by half of less and less or equal",
)
def _(case: Case) -> Both | None:
    ours = bootstrap_ratio(list(case.candidate), [1.0] * case.n, case.alone, seed=case.seed, resamples=RESAMPLES)
    again = es.bootstrap_means_1d(case.candidate, RESAMPLES, np.random.default_rng(case.seed))
    found = es.bca_interval_1d(case.candidate, float(case.candidate.mean()), again, 0.05)
    return None if ours is None else ([ours.low, ours.high], found)


@compared("percentile bootstrap, whole customers", "definition: means weighted by how often each customer was drawn")
def _(case: Case) -> Both:
    ours = bootstrap_difference(lambda i: float(case.difference[i].mean()), case.groups, seed=case.seed, resamples=200)
    rng, g = np.random.default_rng(case.seed), case.clusters
    weights = [np.bincount(rng.integers(g, size=g), minlength=g)[case.codes] for _ in range(200)]
    return ours, np.percentile([np.average(case.difference, weights=w) for w in weights], [2.5, 97.5])


# yes/no scores


def pairs_of(t: exact.Table) -> tuple[Array, Array]:
    counts = [t.both, t.gained, t.lost, t.neither]
    return np.repeat([1.0, 1.0, 0.0, 0.0], counts), np.repeat([1.0, 0.0, 1.0, 0.0], counts)


@compared("McNemar, exact", "statsmodels mcnemar exact=True")
def _(case: Case) -> Both:
    t = case.table
    return exact.mcnemar(t), mcnemar([[t.both, t.gained], [t.lost, t.neither]], exact=True).pvalue


@compared("McNemar, exact", "evalstats")
def _(case: Case) -> Both:
    return exact.mcnemar(case.table), _mcnemar_p(*pairs_of(case.table))


@compared("sign test, two-sided and one-sided", "definition: binomial tails in whole numbers")
def _(case: Case) -> Both:
    t = case.table
    n = t.gained + t.lost
    upper, lower = (sum(math.comb(n, i) for i in range(k, n + 1)) / 2**n for k in (t.gained, t.lost))
    return [exact.mcnemar(t), exact.mcnemar_better(t)], [min(1.0, 2 * min(upper, lower)), upper]


@compared("sign test", "evalstats")
def _(case: Case) -> Both:
    candidate, baseline = pairs_of(case.table)
    return exact.mcnemar(case.table), _paired_sign_test_p(candidate - baseline)


@compared("sign-flip permutation test, up to 12 discordant pairs", "scipy permutation_test, all flips")
def _(case: Case) -> Both:
    gained, lost = (int(x) for x in case.rng.integers(1, 7, size=2))
    t = exact.Table(5, gained, lost, 5)
    signs = np.repeat([1.0, -1.0], [gained, lost])
    found = [
        stats.permutation_test((signs,), np.sum, permutation_type="samples", n_resamples=np.inf, alternative=a).pvalue
        for a in ("two-sided", "greater")
    ]
    return [exact.mcnemar(t), exact.mcnemar_better(t)], found


@compared("Tango interval", "evalstats, its continuity correction set to 0")
def _(case: Case) -> Both:
    return exact.tango(case.table), es.tango_scc_paired_ci(*pairs_of(case.table), alpha=0.05, c=0.0)


@compared("Newcombe interval, method 10", "evalstats")
def _(case: Case) -> Both:
    return exact.newcombe(case.table), es.newcombe_mover_paired_ci(*pairs_of(case.table))


@compared("Wilson interval", "statsmodels proportion_confint wilson")
def _(case: Case) -> Both:
    return exact.wilson(*case.share, confidence=case.confidence), proportion_confint(
        *case.share, alpha=1 - case.confidence, method="wilson"
    )


@compared("Wilson interval", "evalstats")
def _(case: Case) -> Both:
    return exact.wilson(*case.share, confidence=0.95), es.wilson_ci(*case.share, 0.05)


@compared("Clopper-Pearson: leaks, qualification, latency", "statsmodels proportion_confint beta")
def _(case: Case) -> Both:
    (k, n), beta = case.share, "beta"
    ours = [
        *leaks.exact_interval(k, n, confidence=case.confidence),
        *qualification._exact(k, n),
        *latency._clopper_pearson(k / n, n),
    ]
    levels = (1 - case.confidence, 1 - qualification.CONFIDENCE, 1 - latency.SURE)
    return ours, [x for alpha in levels for x in proportion_confint(k, n, alpha=alpha, method=beta)]


@compared("Clopper-Pearson: leaks", "evalstats")
def _(case: Case) -> Both:
    return leaks.exact_interval(*case.share), es.clopper_pearson_ci(*case.share, 0.05)


@compared("upper bound of an error rate (routing)", "statsmodels, the larger of beta and OLS cov_type=cluster")
def _(case: Case) -> Both:
    wrong = case.candidate < 0.5
    delta = 1 - case.confidence
    beta = proportion_confint(int(wrong.sum()), case.n, alpha=2 * delta, method="beta")[1]
    clustered = clustered_fit(wrong * 1.0, case.codes).conf_int(2 * delta)[0][1]
    return routing.upper_bound([bool(x) for x in wrong], case.groups, delta=delta), max(beta, clustered)


# many tests, power, sample size


@compared("Holm, ties among p included", "statsmodels multipletests, evalstats correct_pvalues")
def _(case: Case) -> Both:
    p = np.round(case.rng.random(int(case.rng.integers(1, 40))) ** 3, 2 if case.seed % 2 else 12)
    adjusted = holm({str(i): float(x) for i, x in enumerate(p)})
    ours = [adjusted[str(i)] for i in range(p.size)]
    return ours * 2, [*multipletests(p, method="holm")[1], *correct_pvalues(p, "holm")]


@compared("power of the t test", "statsmodels TTestPower and scipy.stats.nct")
def _(case: Case) -> Both:
    effect, alpha = float(case.rng.uniform(0.01, 0.6)), 1 - case.confidence
    ours = power.of_t_test(effect, 1 / math.sqrt(case.n), freedom=case.n - 1, alpha=alpha)
    noncentral = stats.nct.sf(stats.t.isf(alpha, case.n - 1), case.n - 1, effect * math.sqrt(case.n))
    return [ours, ours], [TTestPower().power(effect, case.n, alpha, alternative="larger"), noncentral]


@compared(
    "power of the gate's test, no skewness",
    "statsmodels TTestPower",
    reason="the formula takes the noncentral t's tail as normal (module docstring of power.py)",
)
def _(case: Case) -> Both:
    effect = float(case.rng.uniform(0.01, 0.5))
    ours = power.of_gate(effect, power.Design(1 / math.sqrt(case.n), case.n - 1), alpha=0.05)
    return ours, TTestPower().power(effect, case.n, 0.05, alternative="larger")


def planned(case: Case) -> tuple[float, int]:
    """A standardised effect and the items it needs beyond 10, by our search."""
    effect = float(case.rng.uniform(0.1, 0.6))
    more = power.more_items(effect, power.Design(1 / math.sqrt(10), 9), items=10, alpha=0.05)
    assert more is not None
    return effect, 10 + more


@compared("sample size, items", "definition: the first number, counted upwards, whose power of the gate's test is 0.8")
def _(case: Case) -> Both:
    effect, found = planned(case)
    design = power.Design(1 / math.sqrt(10), 9)
    powers = ((n, power.of_gate(effect, design.times(n / 10), alpha=0.05)) for n in itertools.count(10))
    return found, next(n for n, p in powers if p >= 0.8)


@compared(
    "sample size, items",
    "statsmodels TTestPower.solve_power, rounded up",
    reason="degrees of freedom grow in proportion to items here (of any cluster size), and the tail is normal; the difference is in items",
)
def _(case: Case) -> Both:
    effect, found = planned(case)
    return found, math.ceil(TTestPower().solve_power(effect, alpha=0.05, power=0.8, alternative="larger"))


# metrics


def labelled(case: Case) -> tuple[list[str], list[str], list[Given], Array]:
    """Answers, references and probabilities of labels; a label in neither in some cases."""
    rng, known = case.rng, LABELS[: 2 + case.seed % 3]
    logits = rng.normal(size=(case.n, len(known))) * 2
    truth = rng.integers(len(known), size=case.n)
    logits[np.arange(case.n), truth] += 1
    given = [example(logprobs=dict(zip(known, map(float, row), strict=True))) for row in logits]
    answers = [known[i] for i in logits.argmax(axis=1)]
    return answers, [known[i] for i in truth], given, special.softmax(logits, axis=1)


@compared("macro-F1 and label accuracy", "scikit-learn f1_score macro, accuracy_score")
def _(case: Case) -> Both:
    answers, references, *_ = labelled(case)
    right = np.mean([label_accuracy.score(a, r) for a, r in zip(answers, references, strict=True)])
    return (
        [macro_f1.aggregate(answers, references), right],
        [sk.f1_score(references, answers, average="macro"), sk.accuracy_score(references, answers)],
    )


@compared("probabilities of labels, Brier score", "scipy softmax, scikit-learn brier_score_loss")
def _(case: Case) -> Both:
    answers, references, given, probabilities = labelled(case)
    ours = np.mean([brier.score(a, r, given=g) for a, r, g in zip(answers, references, given, strict=True)])
    known = list(given[0].item.choices)
    theirs = (
        sk.brier_score_loss(references, probabilities, labels=known, scale_by_half=False) if len(known) > 2 else None
    )
    if theirs is None:  # of two labels scikit-learn takes one probability and one square
        theirs = 2 * sk.brier_score_loss([r == known[1] for r in references], probabilities[:, 1])
    return [ours, *[p for g in given for p in g.probabilities.values()]], [theirs, *probabilities.ravel()]


@compared("ECE, ten bins", "definition with scipy binned_statistic")
def _(case: Case) -> Both:
    answers, references, given, probabilities = labelled(case)
    sure = probabilities.max(axis=1)
    gap = sure - np.array([a == r for a, r in zip(answers, references, strict=True)])
    bins = stats.binned_statistic(sure, gap, "sum", bins=10, range=(0, 1)).statistic
    return ece.aggregate(answers, references, given=given), np.abs(bins).sum() / case.n


@compared("Cohen's kappa, weighted cases", "scikit-learn cohen_kappa_score")
def _(case: Case) -> Both:
    ours, theirs = case.rng.integers(0, 3, size=case.n), case.rng.integers(0, 3, size=case.n)
    theirs = np.where(np.arange(case.n) % 3 == 0, theirs, ours)
    weights = 1 + case.baseline
    return qualification.kappa(ours, theirs, weights), sk.cohen_kappa_score(ours, theirs, sample_weight=weights)


@compared("length-controlled win rate, no prior: estimate and interval", "statsmodels GLM Binomial cov_type=cluster")
def _(case: Case) -> Both:
    lengths = case.rng.integers(20, 400, size=(2, case.n))
    ours = qualification.length_controlled(
        list(case.candidate), list(lengths[0]), list(lengths[1]), case.groups, slope_prior_sd=math.inf
    )
    longer = lengths[0] - lengths[1]
    x = sm.add_constant(np.tanh(longer / longer.std()))
    fit = clustered_fit(case.candidate, case.codes, x, sm.GLM, family=sm.families.Binomial())
    se = fit.bse[0] * math.sqrt((case.n - 2) / (case.n - 1))  # ours is without the factor for two regressors
    reach = stats.t.ppf(0.975, case.clusters - 1) * se
    assert ours is not None
    return [ours.mean, ours.low, ours.high], special.expit(fit.params[0] + np.array([0, -reach, reach]))


def verdicts(case: Case) -> tuple[list[Judgement], dict[str, float]]:
    """Every item judged in both orders; what people say of a quarter of them (the disputed) and of some others."""
    rng, picks = case.rng, ("candidate", "tie", "baseline")
    drawn = zip(case.groups, *rng.integers(0, 3, size=(2, case.n)), strict=True)
    judged = [Judgement("pair", f"i{i}", "t", g, picks[a], picks[b], (), 9, 9, "") for i, (g, a, b) in enumerate(drawn)]
    return judged, {f"i{i}": float(rng.choice([0, 0.5, 1])) for i in range(case.n) if i % 4 == 0 or i % 5 == 1}


@compared("win rate corrected by people, one stratum", "evalstats prediction-powered mean, lambda 1")
def _(case: Case) -> Both:
    judged, values = verdicts(case)
    ours = qualification.corrected(judged, qualification.Labels(values, {j.item: "all" for j in judged}))
    scores = [j.score for j in judged if j.item in values]
    theirs = _analytic_mean_point_se_given_lambda(
        np.array(list(values.values())), np.array(scores), np.array([j.score for j in judged]), 1.0
    )
    return ours and ours.mean, theirs[0]


@compared(
    "win rate corrected by people, in strata", "definition: weighted means of judge and labels, influence item by item"
)
def _(case: Case) -> Both:
    judged, values = verdicts(case)
    disputed = np.arange(case.n) % 4 == 0
    strata = {j.item: str(part) for j, part in zip(judged, disputed, strict=True)}
    ours = qualification.corrected(judged, qualification.Labels(values, strata))
    scores, known = np.array([j.score for j in judged]), np.array([j.item in values for j in judged])
    gap = np.array([values.get(j.item, 0.0) for j in judged]) - scores
    mean, influence = scores.mean(), scores - scores.mean()
    for part in (disputed, ~disputed):
        inside = gap[part & known].mean()
        mean += part.mean() * inside
        influence = influence + part * inside + (part & known) * part.sum() / (part & known).sum() * (gap - inside)
    influence = influence - influence.mean()
    se = math.sqrt(case.clusters / (case.clusters - 1) * (case.sums(influence) ** 2).sum()) / case.n
    return ours and [ours.mean, ours.se], [mean, se]


# leaks


def sides(case: Case) -> tuple[Array, Array]:
    """Scores of members and of others, with ties in two cases of three."""
    members, others = case.rng.normal(0.8, 1, case.n), np.random.default_rng([case.seed, 3]).normal(0, 1, case.n + 25)
    digits = (12, 1, 0)[case.seed % 3]
    return np.round(members, digits), np.round(others, digits)


def roc(case: Case) -> tuple[Array, Array]:
    members, others = sides(case)
    return np.repeat([1, 0], [members.size, others.size]), np.concatenate([members, others])


@compared("AUC of membership inference", "scikit-learn roc_auc_score, scipy mannwhitneyu")
def _(case: Case) -> Both:
    ours, (members, others) = leaks.auc(*sides(case)), sides(case)
    u = stats.mannwhitneyu(members, others).statistic / members.size / others.size
    return [ours, ours], [sk.roc_auc_score(*roc(case)), u]


@compared(
    "true positive rate at 1 % and at 5 % false positives", "scikit-learn roc_curve, the highest that keeps the rate"
)
def _(case: Case) -> Both:
    false, true, _ = sk.roc_curve(*roc(case), drop_intermediate=False)
    rates = (0.01, 0.05)
    ours = [leaks.true_positive_rate(*sides(case), false_alarms=r) for r in rates]
    return ours, [true[false <= r].max() for r in rates]


@compared("exposure of a canary, bits", "definition with scipy rankdata")
def _(case: Case) -> Both:
    scores = np.round(case.rng.normal(size=1000), 1 + case.seed % 6)
    ranks = stats.rankdata(-scores)
    own = range(0, 1000, 97)
    return [canaries.exposure(scores, i) for i in own], np.log2(1000) - np.log2(ranks[list(own)])


@compared("rank test of canaries, up to 6 a side", "definition: every split enumerated, ties included")
def _(case: Case) -> Both:
    planted, controls = (np.round(case.rng.normal(m, 1, int(case.rng.integers(3, 7))), 1) for m in (0.7, 0))
    pooled = np.concatenate([planted, controls])

    def wins(x: Array, y: Array) -> float:
        return float((x[:, None] > y).sum() + 0.5 * (x[:, None] == y).sum())

    seen = wins(planted, controls)
    splits = [list(s) for s in itertools.combinations(range(pooled.size), planted.size)]
    p = np.mean([wins(pooled[s], np.delete(pooled, s)) >= seen for s in splits])
    return canaries._rank_test(list(planted), list(controls), seed=1), p


# latency


@compared("percentiles and their intervals, independent requests", "scipy quantile_test, numpy quantile inverted_cdf")
def _(case: Case) -> Both:
    values, q = case.rng.lognormal(size=case.n), float(case.rng.choice([0.5, 0.95, 0.99]))
    found = latency.quantile(list(values), q, confidence=case.confidence)
    if round(found.effective) != case.n:  # correlated by chance; the next comparison has those
        return None
    interval = stats.quantile_test(values, q=0, p=q).confidence_interval(case.confidence)
    return [found.value, found.low, found.high], [np.quantile(values, q, method="inverted_cdf"), *interval]


@compared("effective number of requests", "definition (Geyer 1992) on the autocorrelation of statsmodels acf")
def _(case: Case) -> Both | None:
    queue = np.convolve(case.rng.normal(size=case.n + 9), np.ones(10), "valid")
    missed = (queue > np.quantile(queue, 0.8)) * 1.0
    rho = acf(missed, nlags=case.n // 2 - 1, fft=False)
    pairs: list[float] = []
    for even, odd in zip(rho[::2], rho[1::2], strict=False):
        if even + odd <= 0:
            break
        pairs.append(min([even + odd, *pairs[-1:]]))
    return latency.effective_number(missed), case.n / max(1.0, 2 * sum(pairs) - 1)


def numbers(found: object) -> Array:
    """None as NaN."""
    flat = found if isinstance(found, Iterable) else [found]
    return np.array([math.nan if x is None else float(x) for x in flat])


def measured(c: Comparison) -> dict[str, Any]:
    """Over the first 200 cases that the method is for."""
    largest, worst, values = 0.0, None, 0
    inside = ((case, both) for case in map(CASE, itertools.count()) if (both := c.both(case)) is not None)
    for case, (mine, other) in itertools.islice(inside, CASES):
        ours, theirs = numbers(mine), numbers(other)
        assert ours.size, (c.name, case.seed)
        assert (np.isnan(ours) == np.isnan(theirs)).all(), (c.name, case.seed, ours, theirs)
        known = ~np.isnan(ours)
        values += int(known.sum())
        apart = float(np.abs(ours - theirs)[known].max(initial=0.0))
        if apart > largest:
            largest, worst = apart, case.seed
    found: dict[str, Any] = {
        "name": c.name,
        "oracle": c.oracle,
        "cases": CASES,
        "values": values,
        "largest_difference": largest,
    }
    found["within_1e-8"] = largest <= LIMIT
    return (
        found
        | ({"worst_case": worst} if largest > LIMIT else {})
        | ({"not_exact_because": c.reason} if c.reason else {})
    )


def main() -> None:
    warnings.simplefilter("ignore")
    records = []
    for c in COMPARED:
        records.append(measured(c))
        print(json.dumps(records[-1]), flush=True)
    apart = [r for r in records if not r["within_1e-8"] and "not_exact_because" not in r]
    versions = {
        name: importlib.metadata.version(name)
        for name in ("evalstats", "statsmodels", "scikit-learn", "scipy", "numpy")
    }
    record = {"cases": CASES, "limit": LIMIT, "failed": len(apart), "comparisons": records, "not_compared": ABSENT}
    record["versions"] = versions
    (HERE / "oracles.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    sys.exit(f"{len(apart)} comparisons are further apart than {LIMIT}" if apart else 0)


if __name__ == "__main__":
    main()

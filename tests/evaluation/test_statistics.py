"""The statistics against oracles (statsmodels, scipy) and by simulation: the verdict's error rate is what it says."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats

from evaluation.statistics import bootstrap_difference, clustered_mean, fieller, gate_alpha, more_items, non_inferiority


def clustered(rng: np.random.Generator, n: int, clusters: int) -> tuple[np.ndarray, np.ndarray]:
    groups = rng.integers(clusters, size=n)
    return rng.normal(size=clusters)[groups] * 0.5 + rng.normal(size=n) + 0.2, groups


@pytest.mark.parametrize("seed", range(20))
def test_cluster_robust_error_agrees_with_statsmodels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values, groups = clustered(rng, int(rng.integers(20, 300)), int(rng.integers(5, 60)))
    ours = clustered_mean(list(values), [str(g) for g in groups])
    options = {"groups": groups, "use_correction": False}
    fit = sm.OLS(values, np.ones(len(values))).fit(cov_type="cluster", cov_kwds=options)
    g = len(set(groups))
    assert ours.mean == pytest.approx(fit.params[0], abs=1e-12)
    assert ours.se == pytest.approx(fit.bse[0] * np.sqrt(g / (g - 1)), rel=1e-8)


def test_without_clusters_it_is_the_t_interval() -> None:
    values = np.random.default_rng(0).normal(size=50)
    ours = clustered_mean(list(values), [str(i) for i in range(50)])
    low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (ours.low, ours.high) == (pytest.approx(low), pytest.approx(high))
    assert ours.design_effect == pytest.approx(1.0)


def test_fieller_inverts_the_linearised_test() -> None:
    rng = np.random.default_rng(3)
    b = rng.normal(1, 0.3, 120)
    c = 0.9 * b + rng.normal(0, 0.2, 120)
    groups = [str(i // 3) for i in range(120)]
    low, high = fieller(c, b, groups, alpha=0.05)
    assert low is not None
    assert high is not None
    for bound in (low, high):
        test = non_inferiority(list(c), list(b), groups, ratio=bound, alpha=0.05)
        assert test.p_non_inferior is not None
        assert min(test.p_non_inferior, 1 - test.p_non_inferior) == pytest.approx(0.05, abs=1e-8)


def test_one_customer_and_a_zero_baseline_are_no_numbers() -> None:
    alone = non_inferiority([1.0, 1.0], [1.0, 0.0], ["a", "a"], ratio=0.9, alpha=0.05)
    assert alone.p_non_inferior is None
    zero = non_inferiority([1.0, 0.0, 1.0], [0.0, 0.0, 0.0], ["a", "b", "c"], ratio=0.9, alpha=0.05)
    assert zero.ratio is None
    assert (zero.low, zero.high) == (None, None)


def promoted_share(p_candidate: float, p_base: float, n: int, *, runs: int, seed: int) -> float:
    """Share of simulated evaluations that promote, on paired binary scores with items in clusters of two."""
    rng = np.random.default_rng(seed)
    groups = [str(i // 2) for i in range(n)]
    alpha, promoted = gate_alpha(0.05, n), 0
    for _ in range(runs):
        shared, own_c, own_b = rng.random(n), rng.random(n), rng.random(n)
        common = rng.random(n) < 0.5
        c = (np.where(common, shared, own_c) < p_candidate).astype(float)
        b = (np.where(common, shared, own_b) < p_base).astype(float)
        test = non_inferiority(list(c), list(b), groups, ratio=0.9, alpha=alpha)
        promoted += test.p_non_inferior is not None and test.p_non_inferior < alpha
    return promoted / runs


@pytest.mark.parametrize(("n", "limit"), [(60, 0.045), (240, 0.075)])
def test_a_model_at_the_margin_is_promoted_no_more_often_than_declared(n: int, limit: float) -> None:
    # 1,000 runs: three standard errors of a share of 0.025 or 0.05 are 0.015 and 0.021
    assert promoted_share(0.72, 0.80, n, runs=1000, seed=n) <= limit


def test_an_equal_model_is_promoted_with_enough_items() -> None:
    assert promoted_share(0.85, 0.85, 400, runs=300, seed=5) > 0.8


def test_more_items_gives_the_planned_power() -> None:
    rng = np.random.default_rng(11)
    e = clustered_mean(list(rng.normal(0.05, 0.5, 100)), [str(i) for i in range(100)])
    more = more_items(e, alpha=0.05)
    assert more is not None
    assert e.se is not None
    scaled = e.se * np.sqrt(100 / (100 + more))
    assert stats.norm.sf(1.6449 - e.mean / scaled) == pytest.approx(0.8, abs=0.02)
    assert more_items(clustered_mean([-1.0, -2.0, -1.5], ["a", "b", "c"]), alpha=0.05) is None


def test_the_bootstrap_resamples_whole_customers() -> None:
    values = np.array([0.0] * 50 + [1.0] * 50)
    two = bootstrap_difference(lambda i: float(values[i].mean()), ["a"] * 50 + ["b"] * 50, seed=1, resamples=200)
    assert two == (0.0, 1.0)
    assert bootstrap_difference(lambda i: float(values[i].mean()), ["a"] * 100, seed=1) == (None, None)

import numpy as np
import pytest

from behavesim.metrics import bootstrap
from behavesim.metrics.bootstrap import METRICS, paired_bootstrap
from behavesim.metrics.likes import LikesEstimates, likes_metrics


def world(noise_a, noise_b, n=400):
    rng = np.random.default_rng(1)
    level = rng.normal(5, 1.5, n)
    guesses = [LikesEstimates.point(np.exp(level + noise * rng.normal(size=n))) for noise in (noise_a, noise_b)]
    return np.exp(level), *guesses


@pytest.mark.parametrize("metric", METRICS)
def test_clear_gap_excludes_zero(metric):
    actual, worse, better = world(1.0, 0.3)
    result = paired_bootstrap(actual, worse, better, metric=metric, samples=500)
    sign = -1 if metric == "spearman" else 1
    expected = likes_metrics(actual, worse)[metric] - likes_metrics(actual, better)[metric]
    assert result.difference == pytest.approx(expected)
    assert result.low <= result.difference <= result.high
    assert result.low * sign > 0
    assert result.high * sign > 0
    assert result.p_value < 0.05


@pytest.mark.parametrize("metric", METRICS)
def test_equally_good_models_cover_zero(metric):
    actual, a, b = world(0.5, 0.5)
    result = paired_bootstrap(actual, a, b, metric=metric, samples=500)
    assert result.low < 0 < result.high
    assert result.p_value > 0.05


@pytest.mark.parametrize("metric", METRICS)
def test_model_against_itself(metric):
    actual, a, _ = world(0.5, 0.5)
    result = paired_bootstrap(actual, a, a, metric=metric, samples=100)
    assert (result.difference, result.low, result.high, result.p_value) == (0, 0, 0, 1)


def test_swapped_models_swap_the_interval():
    actual, a, b = world(0.6, 0.5)
    one, other = paired_bootstrap(actual, a, b, samples=200), paired_bootstrap(actual, b, a, samples=200)
    assert (one.difference, one.p_value) == (-other.difference, other.p_value)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))


def test_same_seed_same_result():
    actual, a, b = world(0.6, 0.5)
    first = paired_bootstrap(actual, a, b, samples=200, seed=3)
    assert first == paired_bootstrap(actual, a, b, samples=200, seed=3)
    assert first != paired_bootstrap(actual, a, b, samples=200, seed=4)


def test_chunks_stay_bounded_and_complete(monkeypatch):
    monkeypatch.setattr(bootstrap, "CHUNK_ELEMENTS", 1000)
    sizes = [rows.shape for rows in bootstrap._resamples(300, 10, seed=0)]
    assert sizes == [(3, 300)] * 3 + [(1, 300)]
    assert [rows.shape for rows in bootstrap._resamples(5000, 2, seed=0)] == [(1, 5000)] * 2


def test_interval_is_near_the_normal_one():
    rng = np.random.default_rng(2)
    actual = np.full(1000, 100.0)
    a = LikesEstimates.point(100 + rng.exponential(10, 1000))
    b = LikesEstimates.point(actual)
    result = paired_bootstrap(actual, a, b, metric="mae")
    error = (a.median - actual).std() / np.sqrt(1000)
    assert (result.high - result.low) / (2 * 1.96 * error) == pytest.approx(1, abs=0.1)


def test_one_row_and_no_error_at_all():
    one = LikesEstimates.point(np.array([3.0]))
    assert paired_bootstrap(np.array([3]), one, one, metric="rmse", samples=10).p_value == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metric": "bleu"}, "metric 'bleu' .* accepted: rmse, rmsle, mae, spearman"),
        ({"samples": 0}, "samples .* got 0"),
        ({"b": LikesEstimates.point(np.ones(3))}, "actual has 2 rows, the estimates have 3"),
    ],
)
def test_unusable_input_is_named(change, message):
    two = LikesEstimates.point(np.ones(2))
    with pytest.raises(ValueError, match=message):
        paired_bootstrap(**({"actual": np.ones(2), "a": two, "b": two} | change))

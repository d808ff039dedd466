import numpy as np
import pytest

from behavesim.metrics import bootstrap
from behavesim.metrics.bootstrap import METRICS, WITHIN, confidence_interval, mean_interval, paired_bootstrap
from behavesim.metrics.estimates import LEVELS, LikesEstimates
from behavesim.metrics.likes import likes_metrics

SPREAD = np.linspace(-1, 1, len(LEVELS))
HIGHER = ("spearman", WITHIN, "r2", "r2_log", "coverage_80")
BETTER = [metric for metric in METRICS if metric != "top_1_share"]  # which no model has better than another
ACCOUNTS = np.arange(400) % 40


def clusters_of(metric):
    """One score is of accounts, and has no other clusters."""
    return {"clusters": ACCOUNTS} if metric == WITHIN else {}


def world(noise_a, noise_b, n=400):
    """Likes and two guesses whose intervals are as wide as their noise; the worse one's are too narrow."""
    rng = np.random.default_rng(1)
    level = rng.normal(5, 1.5, n)
    guesses = []
    for noise in (noise_a, noise_b):
        log = level + noise * rng.normal(size=n)
        guesses.append(LikesEstimates(*3 * [np.exp(log)], np.exp(log[:, None] + SPREAD * min(noise, 0.5))))
    return np.exp(level), *guesses


@pytest.mark.parametrize("metric", BETTER)
def test_clear_gap_excludes_zero(metric):
    actual, worse, better = world(1.0, 0.3)
    result = paired_bootstrap(actual, worse, better, metric=metric, samples=500, **clusters_of(metric))
    sign = -1 if metric in HIGHER else 1
    expected = likes_metrics(actual, worse, ACCOUNTS)[metric] - likes_metrics(actual, better, ACCOUNTS)[metric]
    assert result.difference == pytest.approx(expected)
    assert result.low <= result.difference <= result.high
    assert result.low * sign > 0
    assert result.high * sign > 0
    assert result.p_value < 0.05


@pytest.mark.parametrize("metric", METRICS)
def test_equally_good_models_cover_zero(metric):
    actual, a, b = world(0.5, 0.5)
    result = paired_bootstrap(actual, a, b, metric=metric, samples=500, **clusters_of(metric))
    assert result.low < 0 < result.high
    assert result.p_value > 0.05


@pytest.mark.parametrize("metric", METRICS)
def test_model_against_itself(metric):
    actual, a, _ = world(0.5, 0.5)
    result = paired_bootstrap(actual, a, a, metric=metric, samples=100, **clusters_of(metric))
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
    shapes = [counts.shape for counts in bootstrap._resamples(np.arange(300), 10, seed=0)]
    assert shapes == [(3, 300)] * 3 + [(1, 300)]
    assert [counts.shape for counts in bootstrap._resamples(np.arange(5000), 2, seed=0)] == [(1, 5000)] * 2
    in_four = [counts.shape for counts in bootstrap._resamples(np.arange(300) % 4, 10, seed=0)]
    assert in_four == [(3, 4)] * 3 + [(1, 4)]


@pytest.mark.parametrize("metric", METRICS)
def test_counts_of_accounts_are_the_rows_that_they_stand_for(metric):
    actual, guess, _ = world(0.5, 0.5, n=60)
    cluster = np.arange(60) % 7
    counts = np.array([3.0, 0, 1, 0, 2, 1, 0])
    rows = np.repeat(np.arange(60), counts[cluster].astype(int))
    got = bootstrap._statistic(actual, guess, metric, cluster)(counts[None])[0]
    if metric == "rmse_winsorised":  # the cut is that of the table, not of each resample
        cut = np.quantile(actual, 0.99)
        guess = LikesEstimates.point(guess.mean.clip(max=cut))
        actual, metric = actual.clip(max=cut), "rmse"
    assert got == pytest.approx(likes_metrics(actual[rows], guess.take(rows), cluster[rows])[metric])


def test_the_worst_hundredth_and_the_median_of_many_rows():
    actual, guess, _ = world(0.5, 0.5)
    cluster = np.arange(400) % 7
    for counts in ([1, 2, 0, 0, 3, 1, 0], [0, 0, 1, 1, 0, 0, 5]):  # several rows are the worst; odd and even numbers
        rows = np.repeat(np.arange(400), np.array(counts)[cluster])
        expected = likes_metrics(actual[rows], guess.take(rows))
        for metric in ("medae", "top_1_share"):
            got = bootstrap._statistic(actual, guess, metric, cluster)(np.array([counts], dtype=float))[0]
            assert got == pytest.approx(expected[metric])


def test_accounts_of_few_tweets_or_of_equal_likes_do_not_count_within():
    few, equal, other = np.zeros(4, int), np.ones(9, int), np.full(9, 2)
    cluster = np.concatenate([few, equal, other])
    actual = np.concatenate([np.arange(4), np.full(9, 5), np.arange(9)])
    guess = LikesEstimates.point(np.concatenate([np.arange(4), np.arange(9), np.arange(9)[::-1]]))
    counts = np.array([[1.0, 1, 1], [2, 0, 1], [0, 1, 2], [3, 0, 0]])  # four tweets that are drawn twice are still few
    assert bootstrap._statistic(actual, guess, WITHIN, cluster)(counts) == pytest.approx([-1, -1, -1, 0])
    assert likes_metrics(actual, guess, cluster)[WITHIN] == pytest.approx(-1)


def test_a_score_of_accounts_needs_them():
    one = LikesEstimates.point(np.ones(2))
    for function, estimates in ((confidence_interval, [one]), (paired_bootstrap, [one, one])):
        with pytest.raises(ValueError, match="clusters: found None; accepted: the accounts of the rows, as spearman_w"):
            function(np.ones(2), *estimates, metric=WITHIN)


def test_the_mean_of_any_column_is_drawn_as_mae_is():
    actual, guess, _ = world(0.5, 0.5)
    expected = confidence_interval(actual, guess, metric="mae", clusters=ACCOUNTS, samples=200)
    assert mean_interval(np.abs(guess.median - actual), clusters=ACCOUNTS, samples=200) == expected


def test_interval_is_near_the_normal_one():
    rng = np.random.default_rng(2)
    actual = np.full(1000, 100.0)
    a = LikesEstimates.point(100 + rng.exponential(10, 1000))
    b = LikesEstimates.point(actual)
    result = paired_bootstrap(actual, a, b, metric="mae")
    error = (a.median - actual).std() / np.sqrt(1000)
    assert (result.high - result.low) / (2 * 1.96 * error) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("metric", METRICS)
def test_the_interval_of_a_metric_holds_it(metric):
    actual, guess, _ = world(0.5, 0.5)
    settings = {"metric": metric, "samples": 300, **clusters_of(metric)}
    low, high = confidence_interval(actual, guess, **settings)
    assert low < likes_metrics(actual, guess, ACCOUNTS)[metric] < high
    assert (low, high) == confidence_interval(actual, guess, **settings)


def test_accounts_that_err_together_widen_the_interval():
    rng = np.random.default_rng(3)
    accounts = np.repeat([f"account {number}" for number in range(40)], 25)
    error = np.repeat(rng.normal(size=40), 25) + 0.1 * rng.normal(size=1000)
    actual = np.full(1000, 100.0)
    guess = LikesEstimates.point(100 * np.exp(error))
    widths = []
    for clusters in (None, accounts):
        low, high = confidence_interval(actual, guess, metric="rmsle", clusters=clusters)
        widths.append(high - low)
    assert widths[1] > 3 * widths[0]  # 25 rows an account: five times, were they all alike


def test_accounts_of_one_row_each_are_rows():
    actual, a, b = world(0.6, 0.5)
    alone = np.array([f"{number:03}" for number in range(400)])
    assert paired_bootstrap(actual, a, b, samples=50, clusters=alone) == paired_bootstrap(actual, a, b, samples=50)


def test_a_single_account_says_nothing_of_others():
    actual, guess, _ = world(0.5, 0.5)
    low, high = confidence_interval(actual, guess, metric="mae", clusters=np.zeros(400), samples=20)
    assert low == high == pytest.approx(likes_metrics(actual, guess)["mae"])


def test_one_row_and_no_error_at_all():
    one = LikesEstimates.point(np.array([3.0]))
    assert paired_bootstrap(np.array([3]), one, one, metric="rmse", samples=10).p_value == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metric": "bleu"}, "metric 'bleu' .* accepted: rmse, rmse_winsorised, rmsle, mae, .*, spearman"),
        ({"clusters": np.ones(3)}, r"clusters must have shape \[2\], one of each row, got \[3\]"),
        ({"samples": 0}, "samples .* got 0"),
        ({"b": LikesEstimates.point(np.ones(3))}, "actual has 2 rows, the estimates have 3"),
    ],
)
def test_unusable_input_is_named(change, message):
    two = LikesEstimates.point(np.ones(2))
    with pytest.raises(ValueError, match=message):
        paired_bootstrap(**({"actual": np.ones(2), "a": two, "b": two} | change))

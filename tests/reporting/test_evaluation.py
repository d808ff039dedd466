import numpy as np
import pytest

from behavesim.metrics.bootstrap import confidence_interval, paired_bootstrap
from behavesim.metrics.estimates import LikesEstimates
from behavesim.metrics.likes import likes_metrics
from behavesim.reporting import evaluation as module


def test_scores_are_those_of_the_metrics_with_accounts(evaluation):
    accounts = evaluation.frame["username"].to_numpy()
    expected = likes_metrics(evaluation.frame["likes"].to_numpy(), evaluation.model, accounts)
    assert evaluation.scores["model"] == expected | {"parse_failures": 0.25}
    assert "parse_failures" not in evaluation.scores["constant"] | evaluation.intervals["constant"]


def test_metrics_json_keeps_scores_on_top_and_bounds_below(evaluation):
    metrics = evaluation.metrics()
    bounds = metrics.pop("intervals")
    assert metrics.keys() - evaluation.scores["model"].keys() == {"with_past", "baselines"}
    assert {name: metrics[name] for name in evaluation.scores["model"]} == evaluation.scores["model"]
    for name, (low, high) in bounds.items():
        assert low <= metrics[name] <= high
    assert set(bounds) == set(evaluation.scores["model"]) - {"distinct", "n"}
    low, high = bounds["parse_failures"]
    assert 0 < low < 0.25 < high < 0.5


def test_rows_with_a_past_are_also_scored_alone(evaluation, make):
    past = np.flatnonzero(evaluation.known)
    assert 0 < len(past) < evaluation.frame.height
    accounts = evaluation.frame["username"].to_numpy()[past]
    for name, estimates in evaluation.estimates.items():
        expected = likes_metrics(evaluation.actual[past], estimates.take(past), accounts)
        found = evaluation.metrics_of(name)["with_past"]
        bounds = found.pop("intervals")
        if name == "model":
            assert found.pop("parse_failures") == evaluation.failures[past].mean()
        assert found == expected
        settings = {"metric": "rmsle", "clusters": accounts, "samples": 2000}
        assert tuple(bounds["rmsle"]) == confidence_interval(evaluation.actual[past], estimates.take(past), **settings)
        assert bounds.keys() == evaluation.intervals[name].keys()
    for known in (None, np.zeros(300, np.int64)):
        assert "with_past" not in make(known=known).metrics()


def test_baselines_stand_below_the_model(evaluation, make):
    expected = {"account_mean": evaluation.metrics_of("account mean"), "constant": evaluation.metrics_of("constant")}
    assert evaluation.metrics()["baselines"] == expected
    assert make(beside=False).metrics()["baselines"] == {}


def test_differences_are_the_models_less_the_baselines_by_account(evaluation):
    assert list(evaluation.differences) == ["account mean", "constant"]
    accounts = evaluation.frame["username"].to_numpy()
    pair = (evaluation.model, evaluation.estimates["constant"])
    expected = paired_bootstrap(evaluation.actual, *pair, clusters=accounts)
    assert evaluation.differences["constant"].difference == expected.difference < 0
    assert evaluation.differences["constant"].high == pytest.approx(expected.high, abs=0.05)


def test_large_tables_are_resampled_less_often(evaluation, monkeypatch):
    assert evaluation.samples == 2000
    monkeypatch.setattr(module, "RESAMPLED_ROWS", 300 * 500)
    assert evaluation.samples == 500
    monkeypatch.setattr(module, "RESAMPLED_ROWS", 1)
    assert evaluation.samples == 200


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"estimates": {"constant": LikesEstimates.point(np.ones(300))}}, "estimates: found constant; accepted: model"),
        ({"estimates": {"model": LikesEstimates.point(np.ones(3))}}, "model has 3 rows, the frame has 300"),
        ({"known": np.ones(2)}, "known has 2 rows, the frame has 300"),
        ({"failures": np.ones(2)}, "failures has 2 rows, the frame has 300"),
    ],
)
def test_what_does_not_fit_is_named(make, change, message):
    with pytest.raises(ValueError, match=message):
        make(**change)

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from behavesim.metrics.breakdown import SIZES, account_sizes, by_group
from behavesim.metrics.estimates import LEVELS, LikesEstimates
from behavesim.metrics.likes import likes_metrics


def test_groups_are_scored_alone_and_stand_by_size():
    actual = np.array([1, 3, 7, 0, 15, 31])
    guess = np.array([1.0, 3, 7, 1, 7, 31])
    found = by_group(actual, LikesEstimates.point(guess), ["b", "b", "b", "a", "c", "c"])
    assert [scores["group"] for scores in found] == ["b", "c", "a"]
    assert [scores["n"] for scores in found] == [3, 2, 1]
    assert list(found[0]) == ["group", "n", "rmsle", "rmse", "mae", "spearman", "bias"]
    assert [scores["bias"] for scores in found] == pytest.approx([0, -np.log(2) / 2, np.log(2)])
    assert found[1]["mae"] == 4


def test_groups_of_one_size_stand_by_name_and_coverage_is_told():
    quantiles = np.tile(np.linspace(0, 10, len(LEVELS)), (4, 1))
    estimates = LikesEstimates(*3 * [np.full(4, 5.0)], quantiles)
    found = by_group(np.array([5, 50, 5, 5]), estimates, ["y", "y", "x", "x"])
    assert [(scores["group"], scores["coverage_80"]) for scores in found] == [("x", 1.0), ("y", 0.5)]


@given(st.lists(st.tuples(st.integers(0, 1000), st.floats(0, 1000), st.sampled_from("abc")), min_size=1, max_size=20))
def test_the_groups_together_are_the_whole(rows):
    actual, guess, groups = (np.array(column) for column in zip(*rows, strict=True))
    found = by_group(actual, LikesEstimates.point(guess), groups)
    whole = likes_metrics(actual, LikesEstimates.point(guess))
    assert sum(scores["n"] for scores in found) == whole["n"]
    assert sum(scores["n"] * scores["mae"] for scores in found) / len(rows) == pytest.approx(whole["mae"])
    assert sum(s["n"] * s["rmsle"] ** 2 for s in found) / len(rows) == pytest.approx(whole["rmsle"] ** 2)


def test_accounts_by_how_many_of_their_tweets_are_known():
    counts = np.array([0, 1, 2, 3, 5, 6, 20, 21, 100, 101, 10**6])
    labels = [SIZES[place] for place in (0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5)]
    assert account_sizes(counts).tolist() == labels


def test_another_number_of_groups_is_refused():
    with pytest.raises(ValueError, match=r"groups must have shape \[2\]"):
        by_group(np.ones(2), LikesEstimates.point(np.ones(2)), ["a"])

"""Means of accounts from other rows than their own, as the boosted trees among the baselines are told them."""

import itertools

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from behavesim.data.accounts import FOLDS, NAMES, STRENGTH, FoldStatistics

SEED = 3


def labelled(likes):
    height = len(likes)
    return pl.DataFrame(
        {
            "username": [f"user {i % 3}" for i in range(height)],
            "company": [f"company {i % 2}" for i in range(height)],
            "likes": likes,
        }
    )


def cut(frame, lengths):
    """The frame in pieces, the last of which takes what is left."""
    bounds = sorted({0, frame.height, *(end for end in np.cumsum(lengths).tolist() if end < frame.height)})
    return [frame[start:end] for start, end in itertools.pairwise(bounds)]


def fit(frame, *lengths):
    return FoldStatistics.fit(iter(cut(frame, lengths)), frame.height, SEED)


def out_of_fold(frame):
    return fit(frame).out_of_fold(frame, 0)


def naive(frame, others):
    """Statistics of each row of `frame` from the rows of `others`, as the definition says."""
    logs = np.log1p(others["likes"].to_numpy().astype(np.float64))
    overall = logs.sum() / max(1, len(logs))

    def known(column, name):
        own = logs[(others[column] == name).to_numpy()]
        return own.sum(), len(own)

    found = []
    for username, company in frame.select("username", "company").iter_rows():
        (account, accounts), (firm, firms) = known("username", username), known("company", company)
        company_mean = (firm + STRENGTH * overall) / (firms + STRENGTH)
        account_mean = (account + STRENGTH * company_mean) / (accounts + STRENGTH)
        found.append([account_mean, company_mean, np.log1p(accounts), np.log1p(firms)])
    return np.array(found).reshape(-1, len(NAMES))


LIKES = st.lists(st.integers(0, 10**6), min_size=2, max_size=40)
LENGTHS = st.lists(st.integers(1, 20), max_size=8)


@settings(deadline=None, max_examples=50)
@given(LIKES, st.integers(0, 10**8), st.data())
def test_no_row_s_own_likes_reach_its_statistics(likes, changed, data):
    row = data.draw(st.integers(0, len(likes) - 1))
    other = [*likes[:row], changed, *likes[row + 1 :]]
    found = [out_of_fold(labelled(table))[row] for table in (likes, other)]
    # Sums less the row's own fold: equal but for the last bits of a float64.
    np.testing.assert_allclose(found[0], found[1], rtol=1e-12, atol=1e-12)
    assert (found[0][2:] == found[1][2:]).all()


@settings(deadline=None, max_examples=25)
@given(LIKES, LENGTHS, st.integers(0, 5))
def test_out_of_fold_statistics_are_those_of_the_other_folds(likes, lengths, seed):
    frame = labelled(likes)
    statistics = FoldStatistics.fit(cut(frame, lengths), frame.height, seed)
    folds = np.random.default_rng(seed).permutation(frame.height) % FOLDS
    assert (statistics.folds == folds).all()
    found, start = [], 0
    for chunk in cut(frame, [7]):
        found.append(statistics.out_of_fold(chunk, start))
        start += chunk.height
    found = np.concatenate(found)
    for fold in range(FOLDS):
        own, rest = (frame.filter(pl.Series(chosen)) for chosen in (folds == fold, folds != fold))
        np.testing.assert_allclose(found[folds == fold], naive(own, rest), rtol=1e-9, atol=1e-9)


@settings(deadline=None, max_examples=25)
@given(LIKES, LENGTHS)
def test_all_folds_together_are_all_training_rows(likes, lengths):
    frame = labelled(likes)
    strangers = pl.DataFrame({"username": ["user 0", "nobody", "nobody"], "company": ["no one", "company 1", "no one"]})
    for rows in (frame, strangers):
        found = fit(frame, *lengths).overall_statistics().lookup(rows)
        np.testing.assert_allclose(found, naive(rows, frame), rtol=1e-12)


def test_other_rows_likes_do_reach_a_row():
    frame = labelled([10] * 30)
    more = frame.with_columns(likes=pl.Series([10] * 29 + [10**6]))
    change = out_of_fold(more)[:, 0] - out_of_fold(frame)[:, 0]
    assert change[-1] == pytest.approx(0, abs=1e-12) and (change[2:29:3] > 0.1).sum() >= 6


def test_unknown_accounts_fall_back_to_their_company_then_to_all():
    frame = labelled([0, 100, 10_000, 7, 30, 2000])
    statistics = fit(frame).overall_statistics()
    known, new_account, unknown = statistics.lookup(
        pl.DataFrame({"username": ["user 0", "nobody", "nobody"], "company": ["company 0", "company 0", "no one"]})
    )
    logs = np.log1p([0, 10_000, 30])
    company = (logs.sum() + STRENGTH * statistics.overall) / (3 + STRENGTH)
    assert new_account == pytest.approx([company, company, 0, np.log1p(3)])
    assert unknown == pytest.approx([statistics.overall, statistics.overall, 0, 0])
    assert known == pytest.approx(
        [(np.log1p([0, 7]).sum() + STRENGTH * company) / (2 + STRENGTH), company, np.log1p(2), np.log1p(3)]
    )

"""The covariance of tweets, against its formula written out, and what makes it one."""

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from behavesim.data.gp.kernel import Points, codes

SIZES = st.tuples(st.integers(1, 25), st.integers(0, 4), st.integers(0, 3))  # rows, columns, columns of text
SEEDS = st.integers(0, 10_000)


def by_hand(kernel, a, b, level):
    """What one level says of one pair of tweets."""
    same, time, shown, text = np.exp(kernel.log_amplitudes.numpy())[level]
    memory, reach = np.exp(kernel.log_memories.numpy())[level], np.exp(kernel.log_reaches.numpy())[level]
    text_reach, relevance = float(kernel.log_text_reach.exp()), np.exp(kernel.log_relevance.numpy())
    apart = ((a.shown - b.shown).numpy() * relevance) ** 2
    said = (a.text - b.text).numpy() ** 2
    fading = np.exp(-abs(float(a.time - b.time)) / memory)
    near = np.exp(-apart.sum() / (2 * reach**2))
    return same + time * fading + shown * near + text * np.exp(-said.sum() / (2 * text_reach**2))


@settings(deadline=None, max_examples=20)
@given(st.tuples(st.integers(1, 6), st.integers(0, 4), st.integers(0, 3)), SEEDS)
def test_every_covariance_is_the_one_written_out(points_of, exactly, kernel_of, sizes, seed):
    rows, columns, text = sizes
    points = exactly(points_of(rows, seed=seed, columns=columns, text=text))
    kernel = kernel_of(columns, seed).double()
    expected = np.zeros((2, rows, rows))
    for i, j in np.ndindex(rows, rows):
        a, b = points[torch.tensor(i)], points[torch.tensor(j)]
        expected[0, i, j] = by_hand(kernel, a, b, 0)
        expected[1, i, j] = by_hand(kernel, a, b, 1) * (a.company == b.company).item()
        expected[1, i, j] += by_hand(kernel, a, b, 2) * (a.account == b.account).item()
    np.testing.assert_allclose(kernel.shared(points, points), expected[0], rtol=1e-9)
    np.testing.assert_allclose(kernel.own(points, points), expected[1], rtol=1e-9)
    np.testing.assert_allclose(kernel(points, points), expected.sum(axis=0), rtol=1e-9)


@settings(deadline=None, max_examples=40)
@given(SIZES, SEEDS)
def test_a_covariance_is_symmetric_and_positive_semidefinite(points_of, exactly, kernel_of, sizes, seed):
    rows, columns, text = sizes
    points = exactly(points_of(rows, seed=seed, columns=columns, text=text))
    kernel = kernel_of(columns, seed).double()
    for covariance in (kernel(points, points), kernel.shared(points, points), kernel.own(points, points)):
        np.testing.assert_allclose(covariance, covariance.T, rtol=1e-12)
        assert torch.isfinite(torch.linalg.cholesky(covariance + 1e-9 * torch.eye(rows))).all()


@settings(deadline=None, max_examples=40)
@given(SIZES, SEEDS)
def test_the_variance_of_a_tweet_is_the_sum_of_what_its_company_and_account_share(
    points_of, kernel_of, exactly, sizes, seed
):
    rows, columns, text = sizes
    points, kernel = points_of(rows, seed=seed, columns=columns, text=text), kernel_of(columns, seed)
    np.testing.assert_allclose(kernel.own(points, points).diagonal(), kernel.own_variance.expand(rows), rtol=1e-4)
    points, kernel = exactly(points), kernel.double()
    np.testing.assert_allclose(kernel.own(points, points).diagonal(), kernel.own_variance.expand(rows), rtol=1e-12)


def test_tweets_of_another_company_share_only_what_all_share(points_of, kernel_of):
    points, others = points_of(8), points_of(5, seed=1)
    others = Points(others.shown, others.text, others.time, others.company + 100, others.account + 100)
    kernel = kernel_of()
    assert not kernel.own(points, others).any()
    assert (kernel(points, others) == kernel.shared(points, others)).all() and kernel.shared(points, others).all()


def test_a_column_without_relevance_changes_nothing(points_of, kernel_of):
    points, kernel = points_of(8), kernel_of()
    kernel.log_relevance[1] = -40.0
    other = points_of(8)
    other.shown[:, 1] += 5
    np.testing.assert_allclose(kernel(other, other), kernel(points, points), rtol=1e-5)
    other.shown[:, 0] += torch.arange(8)
    assert (kernel(other, other) - kernel(points, points)).abs().max() > 1e-3


def frame_of(dates, companies=("acme",), accounts=("ann",)):
    return pl.DataFrame(
        {
            "date": dates,
            "company": [companies[i % len(companies)] for i in range(len(dates))],
            "username": [accounts[i % len(accounts)] for i in range(len(dates))],
        },
        schema_overrides={"date": pl.Datetime("us", "UTC")},
    )


@pytest.mark.parametrize("year", [2007, 2016, 2030])
def test_times_tell_minutes_apart(year):
    dates = [datetime(year, 3, 1) + timedelta(minutes=minutes) for minutes in (0, 1, 61)]
    time = Points.of(frame_of(dates), np.zeros((3, 2)), 2).time.numpy()
    np.testing.assert_allclose(np.diff(time) * 365.25 * 24 * 60, [1, 60], atol=0.6)


@pytest.mark.parametrize(("shown", "text"), [(3, 2), (3, 0), (0, 4), (0, 0)])
def test_numbers_are_split_into_what_is_shown_and_said(shown, text):
    numbers = np.random.default_rng(0).standard_normal((4, shown + text))
    points = Points.of(frame_of([datetime(2020, 1, 1)] * 4), numbers, shown)
    assert points.shown.shape == (4, shown) and points.text.shape == (4, text) and len(points) == 4
    np.testing.assert_allclose(points.shown, numbers[:, :shown], rtol=1e-6)
    np.testing.assert_allclose(points.text, numbers[:, shown:] / max(1, text) ** 0.5, rtol=1e-6)


def test_who_posts_is_told_by_equal_names():
    frame = frame_of([datetime(2020, 1, 1)] * 6, ("acme", "Acme", ""), ("ann", "acme"))
    points = Points.of(frame, np.zeros((6, 1)), 1)
    for found, names in ((points.company, frame["company"]), (points.account, frame["username"])):
        assert ((found[:, None] == found).numpy() == np.equal.outer(names.to_numpy(), names.to_numpy())).all()


def test_rows_are_picked_from_every_part(points_of):
    points, rows = points_of(6), torch.tensor([4, 0, 4])
    picked = points[rows]
    assert len(picked) == 3 and (picked.shown == points.shown[rows]).all() and (picked.text == points.text[rows]).all()
    assert all((getattr(picked, n) == getattr(points, n)[rows]).all() for n in ("time", "company", "account"))


def test_numbers_of_names_are_the_same_on_every_machine():
    """A process that others of a run fitted is asked by these numbers."""
    assert codes(pl.Series(["acme", "ünï", None, "acme"])).tolist() == [
        -9105630573487512016,
        -7508194671148965544,
        -5426141060434712860,
        -9105630573487512016,
    ]

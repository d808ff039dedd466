"""Which posts of a large group a tweet looks at, and that it loses little by it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from behavesim.data.gp import conditioning
from behavesim.data.gp.conditioning import Asked, Known, conditioned, pieces, windows
from behavesim.data.gp.kernel import Kernel


@pytest.fixture(scope="session")
def crowd_of(points_of):
    """Posts and tweets of one company and a few accounts; the last of them has no post."""

    def crowd(posts, tweets, seed, instants=6):
        random = np.random.default_rng(seed)
        points = points_of(posts + tweets, seed=seed, companies=1, accounts=4)
        account = torch.from_numpy(np.r_[random.integers(0, 3, posts), random.integers(0, 4, tweets)])
        points = replace(points, account=account * 7 - 5)
        times = random.integers(0, instants, posts + tweets)
        first, last = torch.arange(posts), torch.arange(posts, posts + tweets)
        known = Known(points[first], torch.zeros(posts).double(), times[:posts], random.random(posts) < 0.5)
        return known, Asked(points[last], times[posts:])

    return crowd


CROWDS = st.tuples(st.integers(1, 30), st.integers(1, 12), st.integers(0, 10_000))


def window_of(found, tweet):
    return next(posts for posts, tweets in found if tweet in tweets)


def small(largest, look, *args):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conditioning, "LARGEST", largest)
        return look(*args)


MANY = settings(deadline=None, max_examples=100)
SIZES = st.integers(2, 12)


@MANY
@given(CROWDS, SIZES)
def test_every_tweet_looks_at_one_window_and_every_window_is_looked_at(crowd_of, crowd, largest):
    known, asked = crowd_of(*crowd)
    found = small(largest, windows, known, asked)
    assert sorted(np.concatenate([tweets for _, tweets in found])) == list(range(len(asked.times)))
    for posts, tweets in found:
        assert len(tweets) and 0 < len(np.unique(posts)) == len(posts) <= largest
        assert set(posts) <= set(range(len(known.times)))
    if len(known.times) <= largest:
        assert len(found) == 1 and len(found[0][0]) == len(known.times)


@MANY
@given(CROWDS, SIZES)
def test_a_tweet_of_a_known_account_looks_at_posts_of_it(crowd_of, crowd, largest):
    known, asked = crowd_of(*crowd)
    found = small(largest, windows, known, asked)
    accounts = known.points.account.numpy()
    for tweet, account in enumerate(asked.points.account.numpy()):
        assert account not in accounts or account in accounts[window_of(found, tweet)]


@MANY
@given(CROWDS, SIZES)
def test_half_a_window_of_posts_before_a_tweet_is_in_it(crowd_of, crowd, largest):
    """Of its account the latest ones, as far as there are so many."""
    known, asked = crowd_of(*crowd)
    found = small(largest, windows, known, asked)
    posts = list(zip(known.points.account.numpy(), known.times, strict=True))
    for tweet, place in enumerate(zip(asked.points.account.numpy(), asked.times, strict=True)):
        before = sorted((post, number) for number, post in enumerate(posts) if post < place)
        seen = set(window_of(found, tweet))
        assert sum(number in seen for _, number in before) >= min(len(before), largest // 2)
        latest = [moment for (account, moment), _ in before if account == place[0]][-(largest // 2) :]
        own = [posts[number][1] for number in seen if posts[number][0] == place[0] and posts[number] < place]
        assert sorted(own)[len(own) - len(latest) :] == latest


@MANY
@given(CROWDS, SIZES)
def test_pieces_hold_every_row_once_and_are_of_one_size(crowd_of, crowd, largest):
    known, _ = crowd_of(*crowd)
    found = small(largest, pieces, known.points)
    assert sorted(np.concatenate(found)) == list(range(len(known.times)))
    sizes = [len(piece) for piece in found]
    assert max(sizes) <= largest and max(sizes) - min(sizes) <= 1


def test_an_account_stands_with_the_company_of_most_of_its_posts(points_of):
    """So that neither a name spelled otherwise nor an account of two companies parts what belongs together."""
    points = points_of(12, companies=1, accounts=1)
    points = replace(
        points,
        company=torch.tensor([1, 1, 1, 1, 9, 9, 9, 9, 9, 1, 9, 9]),
        account=torch.tensor([5, 5, 6, 6, 2, 2, 2, 2, 2, 2, 8, 8]),
    )
    known = Known(points, torch.zeros(12).double(), np.arange(12), np.zeros(12, bool))
    asked = Asked(replace(points[torch.tensor([9, 2])], company=torch.tensor([1, 77])), np.array([20, 20]))
    assert [posts.tolist() for posts, _ in small(4, windows, known, asked)] == [[2, 3, 4, 5], [8, 9, 10, 11]]


@pytest.fixture(scope="module")
def alone(points_of):
    """200 posts of one account, of which nothing is known but the time, and a tweet behind each."""
    points = points_of(200, companies=1, accounts=1, columns=0, text=0)
    points = replace(points, time=torch.linspace(0, 2, 200))
    values = 2 + 0.26 * torch.from_numpy(np.random.default_rng(0).standard_normal(200))
    return Known(points, values, np.arange(200), np.zeros(200, bool)), Asked(points, np.arange(200) + 1)


def through(largest, kernel, known, asked):
    mean, variance = torch.zeros(2, len(asked.times), dtype=torch.float64)
    for posts, tweets in small(largest, windows, known, asked):
        at = torch.from_numpy(tweets)
        mean[at], variance[at] = conditioned(kernel, known[posts], asked[tweets])
    return mean.numpy(), variance.numpy()


def test_behind_a_border_hardly_less_is_known_than_before_it(alone):
    """At worst half of what was: with windows side by side it would be one post."""
    kernel = Kernel(0).requires_grad_(False)
    (mean, variance), (exact, _) = (through(largest, kernel, *alone) for largest in (32, 200))
    rise = variance[1:] / variance[:-1]
    assert rise.max() < 2 and (rise > 1.01).sum() >= 5  # there are borders
    assert (np.abs(mean - exact) < 2 * np.sqrt(variance)).all() and np.abs(mean - exact).max() < 0.15


def test_windows_come_near_the_exact_answer(points_of, exactly):
    """Of three windows; posts of other accounts, and old ones, are what is left out."""
    random = np.random.default_rng(0)
    points = exactly(points_of(256, companies=1, accounts=3))
    points = replace(points, time=torch.from_numpy(np.tile(np.arange(128) / 64, 2)))
    posts, tweets = points[torch.arange(128)], points[torch.arange(128, 256)]
    kernel = Kernel(3).double().requires_grad_(False)
    spread = torch.linalg.cholesky(kernel.own(posts, posts) + kernel.noise * torch.eye(128))
    values = spread @ torch.from_numpy(random.standard_normal(128))
    known, asked = Known(posts, values, np.arange(128), np.zeros(128, bool)), Asked(tweets, np.arange(128))
    (exact, least), (mean, variance) = (through(largest, kernel, known, asked) for largest in (128, 64))
    assert len(small(64, windows, known, asked)) == 3
    assert np.sqrt(np.mean((mean - exact) ** 2)) < 0.25 * np.sqrt(least.mean())
    assert (variance >= least - 1e-10).all() and np.median(variance / least) < 1.1


@pytest.mark.parametrize("accounts", [1, 2])
def test_every_row_of_a_large_company_teaches(points_of, process_of, monkeypatch, accounts):
    monkeypatch.setattr(conditioning, "LARGEST", 8)
    points = points_of(30, companies=1, accounts=accounts)
    values = np.random.default_rng(0).standard_normal(30)
    before = process_of(points, values).weights
    silent = [row for row in range(30) if (process_of(points, values + np.eye(30)[row]).weights == before).all()]
    assert not silent

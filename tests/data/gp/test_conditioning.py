"""What posts say of tweets, against a plain Gaussian conditional for each tweet on the posts that it may know."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from behavesim.data.gp.conditioning import Asked, Known, conditioned
from behavesim.data.gp.kernel import Points

# Few instants, so that most are shared.
POSTS = st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=14)
TWEETS = st.lists(st.tuples(st.integers(-1, 5), st.booleans()), min_size=1, max_size=8)
SEEDS = st.integers(0, 10_000)


def joined(*parts):
    names = ("shown", "text", "time", "company", "account")
    return Points(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})


@pytest.fixture(scope="session")
def case_of(points_of, exactly, kernel_of):
    """A kernel, posts and tweets of one company, some of the tweets among the posts."""

    def case(posts, tweets, seed):
        points = exactly(points_of(len(posts) + len(tweets), seed=seed, companies=1, accounts=3))
        times, standing = np.array([time for time, _ in posts]), np.array([stands for _, stands in posts])
        values = torch.from_numpy(np.random.default_rng(seed).standard_normal(len(posts)))
        known = Known(points[torch.arange(len(posts))], values, times, standing)
        among = np.array([place % len(posts) if own else -1 for place, (_, own) in enumerate(tweets)])
        places = np.where(among < 0, len(posts) + np.arange(len(tweets)), among)
        asked_times = np.where(among < 0, [time for time, _ in tweets], times[among])
        return kernel_of(seed=seed).double(), known, Asked(points[torch.from_numpy(places)], asked_times)

    return case


def may_know(known, asked):
    """Which posts each tweet may know: [N, P]."""
    earlier, other = known.times < asked.times[:, None], known.times != asked.times[:, None]
    return np.where(known.standing, other, earlier)


def dense(kernel, known, asked):
    """Mean and variance tweet by tweet."""
    covariance = kernel.own(known.points, known.points).numpy() + float(kernel.noise) * np.eye(len(known.times))
    links = kernel.own(asked.points, known.points).numpy()
    found = []
    for row, seen in zip(links, may_know(known, asked), strict=True):
        weights = np.linalg.solve(covariance[np.ix_(seen, seen)], row[seen])
        found.append((weights @ known.values.numpy()[seen], float(kernel.own_variance) - weights @ row[seen]))
    return tuple(np.array(found).T)


@settings(deadline=None, max_examples=100)
@given(POSTS, TWEETS, SEEDS)
def test_each_tweet_is_told_what_the_posts_that_it_may_know_say(case_of, posts, tweets, seed):
    kernel, known, asked = case_of(posts, tweets, seed)
    mean, variance = conditioned(kernel, known, asked)
    expected = dense(kernel, known, asked)
    np.testing.assert_allclose(mean, expected[0], rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(variance, expected[1], rtol=1e-8, atol=1e-9)
    assert (variance >= 0).all() and (variance <= float(kernel.own_variance) + 1e-12).all()


@settings(deadline=None, max_examples=30)
@given(POSTS, TWEETS, SEEDS)
def test_a_kernel_in_float32_says_the_same(case_of, kernel_of, posts, tweets, seed):
    kernel, known, asked = case_of(posts, tweets, seed)
    expected = dense(kernel, known, asked)
    shorter = [
        Points(part.shown.float(), part.text.float(), part.time.float(), part.company, part.account)
        for part in (known.points, asked.points)
    ]
    found = conditioned(kernel_of(seed=seed), replace(known, points=shorter[0]), replace(asked, points=shorter[1]))
    for part, of in zip(found, expected, strict=True):
        assert part.dtype == torch.float64
        np.testing.assert_allclose(part, of, rtol=1e-4, atol=1e-4)


@settings(deadline=None, max_examples=40)
@given(POSTS, TWEETS, SEEDS)
def test_values_that_may_not_be_known_change_nothing(case_of, posts, tweets, seed):
    kernel, known, asked = case_of(posts, tweets, seed)
    may = may_know(known, asked)
    clean = ~(known.standing & (known.times == asked.times[:, None])).any(axis=1)  # none is taken out again
    mean, variance = conditioned(kernel, known, asked)
    for row, seen in enumerate(may):
        values = torch.where(torch.from_numpy(seen), known.values, known.values * 100 - 7)
        found = conditioned(kernel, replace(known, values=values), asked)
        assert found[1].numpy().tobytes() == variance.numpy().tobytes()
        np.testing.assert_allclose(found[0][row], mean[row], rtol=1e-9, atol=1e-9)
        if clean[row]:
            assert found[0][row].numpy().tobytes() == mean[row].numpy().tobytes()


@settings(deadline=None, max_examples=40)
@given(POSTS, TWEETS, SEEDS, st.data())
def test_more_posts_never_raise_the_variance(case_of, posts, tweets, seed, data):
    kernel, known, asked = case_of(posts, tweets, seed)
    kept = data.draw(st.lists(st.sampled_from(range(len(posts))), unique=True))
    fewer = conditioned(kernel, known[np.array(sorted(kept), dtype=np.int64)], asked)[1]
    assert (conditioned(kernel, known, asked)[1] <= fewer + 1e-10).all()


@settings(deadline=None, max_examples=30)
@given(POSTS, TWEETS, SEEDS, st.randoms(use_true_random=False))
def test_the_order_of_posts_does_not_matter(case_of, posts, tweets, seed, random):
    kernel, known, asked = case_of(posts, tweets, seed)
    order = np.array(random.sample(range(len(posts)), len(posts)))
    for found, of in zip(conditioned(kernel, known[order], asked), conditioned(kernel, known, asked), strict=True):
        np.testing.assert_allclose(found, of, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(
    "posts", [[], [(2, True)] * 6, [(3, False), (2, False), (2, True)]], ids=["none", "of that instant", "later"]
)
def test_where_nothing_may_be_known_nothing_is_expected(case_of, posts):
    kernel, known, asked = case_of([*posts, (0, True)], [(2, False)], 0)
    mean, variance = conditioned(kernel, known[np.arange(len(posts))], asked)
    np.testing.assert_allclose(mean, 0, atol=1e-12)
    np.testing.assert_allclose(variance, kernel.own_variance[None], rtol=1e-9)

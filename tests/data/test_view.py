"""What is said of an account's past, against the definitions worked out by hand."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from behavesim.data.gp.kernel import Kernel, Points, codes
from behavesim.data.gp.process import GaussianProcess
from behavesim.data.history import MEDIA_KINDS, SCHEMA, History
from behavesim.data.view import STATISTICS, TOKEN_NAMES, TRAINING_VIEWS, View, latest_posts, training_views

NOON = datetime(2020, 6, 1, 12, tzinfo=UTC)
SHOWN, SAID = 2, 1
TEXT, NO_TEXT = slice(SHOWN, SHOWN + SAID), slice(SHOWN, SHOWN)
NOTHING = History.of([])
# Few instants, so that many posts share one.
posts = st.tuples(
    st.sampled_from([-400, -1, 0, 0.5, 1, 1000]),
    st.sampled_from(["ann", "bob", "any"]),
    st.sampled_from(["acme", "zeta"]),
    st.integers(0, 10**9),
    st.lists(st.floats(-3, 3, width=32), min_size=SHOWN + SAID, max_size=SHOWN + SAID),
    st.sampled_from(MEDIA_KINDS),
)
tables = st.lists(posts, max_size=12)
MANY = settings(deadline=None, max_examples=30)


def history_of(table, first=0):
    """Posts as (days before noon, account, company, likes, numbers, media), with identities from `first` on."""
    rows = [
        (first + place, account, company, NOON - timedelta(days=days), likes, kind, numbers, None)
        for place, (days, account, company, likes, numbers, kind) in enumerate(table)
    ]
    return History.of([pl.DataFrame(rows, schema=SCHEMA, orient="row", strict=False)])


def asked(*rows):
    """Posts as (days before noon, account, company) that show and say nothing much."""
    return history_of([(*row, 3, [0.1 * place, 0.2, 0.3], "none") for place, row in enumerate(rows)], first=9000)


@pytest.fixture(scope="module")
def process():
    """One that was taught nothing, with weights of its own; others where acme is left out."""
    some = asked((3, "old", "older"), (700, "older", "old"), (90, "old", "old"))
    inducing = Points.of(some.posts, some.numbers, SHOWN)
    weights = torch.tensor([0.3, -0.2, 0.5], dtype=torch.float64)
    without = {int(codes(pl.Series(["acme"]))[0]): -weights}
    return GaussianProcess(Kernel(SHOWN).requires_grad_(False), 4.0, 2.0, inducing, weights, without)


def told(view, rows):
    """Prior, and statistics by their names."""
    found = view.told(rows.posts, rows.numbers)
    return found.prior, dict(zip(STATISTICS, found.statistics.T, strict=True))


def posts_of(view):
    """Places in memory and in history of posts that count: newer likes take the place of the old ones."""
    remembered, newest = (
        dict(each.posts.select("identity", "likes").iter_rows()) for each in (view.memory, view.history)
    )
    old = [place for place, (one, likes) in enumerate(remembered.items()) if newest.get(one, likes) == likes]
    new = [place for place, (one, likes) in enumerate(newest.items()) if remembered.get(one) != likes]
    return old, new


def frame_of(view):
    """The posts that count."""
    old, new = posts_of(view)
    return pl.concat([view.memory.posts[old], view.history.posts[new]])


def linked_to(view, company, account):
    """Companies and accounts of posts that say something of a tweet, by whatever links."""
    posts = frame_of(view).select("company", "username").rows()
    found, before = {("company", company), ("account", account)}, None
    while before != len(found):
        before = len(found)
        for one, other in posts:
            link = {("company", one), ("account", other)}
            found |= link if link & found else set()
    return found


def known_to(view, rows, row):
    """Posts that a row may know: the definition, as places in memory and in history, one post after another."""
    at, found = view.history.time_of(rows.posts)[row], []
    linked = linked_to(view, rows.posts["company"][row], rows.posts["username"][row])
    for history, places, standing in zip((view.memory, view.history), posts_of(view), (True, False), strict=True):
        for place in places:
            time = history.times[place]
            there = time != at if standing else time < at
            if there and ("company", history.posts["company"][place]) in linked:
                found.append((history, place))
    return found


def by_hand(view, rows, row):
    """Mean of a row, and what is not known as a share of a stranger's: Rasmussen & Williams 2006, eq. 2.25 and 2.26."""
    process = view.process

    code = int(process.points(rows.posts[row : row + 1], rows.numbers[row : row + 1]).company[0])
    if rows.posts["company"][row] in frame_of(view)["company"]:
        names = [name for kind, name in linked_to(view, rows.posts["company"][row], None) if kind == "company"]
        code = min(codes(pl.Series(names)).tolist())

    def expected(points):
        weights = process.without.get(code, process.weights) if view.new else process.weights
        return process.kernel.shared(points, process.inducing).double().numpy() @ weights.numpy()

    one = process.points(rows.posts[row : row + 1], rows.numbers[row : row + 1])
    own, known = float(process.kernel.own_variance), known_to(view, rows, row)
    if not known:
        return expected(one)[0], expected(one)[0], 1
    frame = pl.concat([history.posts[place : place + 1] for history, place in known])
    points = process.points(frame, np.stack([history.numbers[place] for history, place in known]))
    left = (np.array([history.logs[place] for history, place in known]) - process.centre) / process.scale
    covariance = process.kernel.own(points, points).double().numpy() + float(process.kernel.noise) * np.eye(len(known))
    link = process.kernel.own(points, one).double().numpy()[:, 0]
    solved = np.linalg.solve(covariance, np.stack([left - expected(points), link], axis=1))
    return expected(one)[0], expected(one)[0] + link @ solved[:, 0], max(1 - link @ solved[:, 1] / own, 0) ** 0.5


def assert_is_by_hand(view, rows):
    prior, statistics = told(view, rows)
    for row in range(len(rows)):
        shared, mean, doubt = by_hand(view, rows, row)
        found = [float(values[row]) for values in (*statistics.values(), prior)]
        expected = [shared, mean - shared, doubt, mean * view.process.scale + view.process.centre]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("new", [False, True])
@MANY
@given(remembered=tables, newer=tables, rows=tables, both=st.integers(0, 3))
def test_a_view_tells_what_the_posts_say_that_a_tweet_may_know(process, new, remembered, newer, rows, both):
    """Some rows are posts of memory or history themselves, and some posts stand in both."""
    memory = history_of(remembered)
    history = memory.extended(history_of(newer, first=len(remembered) - min(both, len(remembered))))
    rows = history_of(rows, first=2000).extended(memory).extended(history)
    assert_is_by_hand(View(process, history, memory, new), rows)


@MANY
@given(tables)
def test_a_training_row_is_told_in_turn_all_others_earlier_ones_later_ones_and_nothing(process, table):
    rows = history_of(table)
    views = training_views(process, rows)
    mirror = rows.mirror()
    seen = [(rows, rows), (rows, NOTHING), (mirror, NOTHING), (NOTHING, NOTHING)]
    assert len(views) == TRAINING_VIEWS == len(seen)
    for view, (history, memory) in zip(views, seen, strict=True):
        assert view.history.mirrored == history.mirrored and view.history.posts.equals(history.posts)
        assert_is_by_hand(View(process, history, memory, new=True), rows)
        found, expected = told(view, rows), told(View(process, history, memory, new=True), rows)
        np.testing.assert_array_equal(found[0], expected[0])
        np.testing.assert_array_equal(list(found[1].values()), list(expected[1].values()))


@MANY
@given(tables.filter(len), st.data())
def test_a_training_view_answers_for_any_of_its_rows_in_any_order(process, table, data):
    rows = history_of(table)
    order = data.draw(st.lists(st.integers(0, len(table) - 1), max_size=8))
    for view in training_views(process, rows):
        whole = view.told(rows.posts, rows.numbers)
        some = view.told(rows.posts[order], rows.numbers[order])
        np.testing.assert_array_equal(some.prior, whole.prior[order])
        np.testing.assert_array_equal(some.statistics, whole.statistics[order])
        assert some.statistics.shape == (len(order), len(STATISTICS)) and some.prior.dtype == np.float32


PAST = (1, "ann", "acme", 10**6, [0.0, 0.0, 0.0], "photo")
LATER = (-1, *PAST[1:])
SAME = (0, *PAST[1:])
ROW = asked((0, "ann", "acme"))


@pytest.mark.parametrize(
    ("history", "memory", "known"),
    [
        ([PAST], [], True),
        ([SAME], [], False),
        ([LATER], [], False),
        ([], [PAST], True),
        ([], [SAME], False),
        ([], [LATER], True),
    ],
)
def test_what_is_remembered_is_known_at_other_times_and_all_else_only_later(process, history, memory, known):
    _, statistics = told(View(process, history_of(history), history_of(memory, first=100)), ROW)
    assert (statistics["own"][0] > 0.5) == known == (statistics["doubt"][0] < 0.9)
    if not known:  # what was taken out again leaves some rounding
        np.testing.assert_allclose([statistics["own"][0], statistics["doubt"][0]], [0, 1], atol=1e-6)


def test_a_post_that_is_remembered_counts_once(process):
    memory = history_of([PAST])
    once, both = (View(process, history, memory).told(ROW.posts, ROW.numbers) for history in (NOTHING, memory))
    assert once.statistics.tobytes() == both.statistics.tobytes() and once.prior.tobytes() == both.prior.tobytes()
    twice = View(process, history_of([PAST], first=100), memory).told(ROW.posts, ROW.numbers)
    assert twice.statistics[0, 2] < once.statistics[0, 2]


@pytest.mark.parametrize("days", [2, 1, 0])
def test_newer_likes_of_a_remembered_post_take_their_place_and_the_old_ones_are_forgotten(process, days):
    memory = history_of([PAST])
    newer = History.of([memory.posts.with_columns(likes=pl.lit(0.0))])
    rows = asked((days, "ann", "acme"))
    found = View(process, newer, memory).told(rows.posts, rows.numbers)
    expected = View(process, newer, NOTHING).told(rows.posts, rows.numbers)
    assert (
        found.statistics.tobytes() == expected.statistics.tobytes()
        and found.prior.tobytes() == expected.prior.tobytes()
    )
    assert (found.statistics[0, 1] != 0) == (days == 0)


def test_newer_likes_make_no_further_factorisation(process, monkeypatch):
    memory = history_of([(day, *PAST[1:]) for day in range(300)])
    newer = History.of([memory.posts.with_columns(likes=pl.lit(0.0))])
    rows, calls, cholesky = asked(*((day + 0.5, "ann", "acme") for day in range(300))), [], torch.linalg.cholesky
    monkeypatch.setattr(torch.linalg, "cholesky", lambda matrix: calls.append(len(matrix)) or cholesky(matrix))
    for history in (memory, newer):
        View(process, history, memory).told(rows.posts, rows.numbers)
    assert calls == [300, 300]


ANN_S = (1, "ann", "zeta", 10**6, [0.0, 0.0, 0.0], "photo")


@pytest.mark.parametrize(
    "more", [[], [(9, "ann", "acme", 10, [0.0, 0.0, 0.0], "none")], [(9, "bob", "acme", *PAST[3:])]]
)
def test_posts_of_the_same_account_under_another_company_are_told(process, more):
    """Where the tweet alone has a company, where the account has two, and where posts of both are apart."""
    with_them, without = (
        told(View(process, history_of(history, first=50), NOTHING), ROW)[1] for history in ([*more, ANN_S], more)
    )
    assert with_them["own"][0] > without["own"][0] and with_them["doubt"][0] < without["doubt"][0]
    assert_is_by_hand(View(process, history_of([*more, ANN_S]), NOTHING), ROW)


def test_posts_of_other_companies_and_accounts_tell_nothing(process):
    others = [(1, "bob", "zeta", *ANN_S[3:])]
    found, nothing = (
        View(process, history, NOTHING).told(ROW.posts, ROW.numbers) for history in (history_of(others), NOTHING)
    )
    assert (found.statistics == nothing.statistics).all() and (found.prior == nothing.prior).all()


def test_without_a_past_a_tweet_is_expected_like_anybody_s(process):
    rows = asked((0, "ann", "acme"), (5, "bob", "zeta"), (-9, "nobody", "no one"))
    for history in (NOTHING, NOTHING.mirror()):
        prior, statistics = told(View(process, history, NOTHING), rows)
        assert (statistics["own"] == 0).all()
        np.testing.assert_allclose(statistics["doubt"], 1, rtol=1e-6)
        np.testing.assert_allclose(prior, statistics["anybody"] * process.scale + process.centre, rtol=1e-6)


def test_of_a_new_company_the_weights_forget_what_it_taught_them(process):
    rows = asked((0, "ann", "acme"), (0, "ann", "zeta"))
    (_, new), (_, old) = (told(View(process, NOTHING, NOTHING, new), rows) for new in (True, False))
    assert new["anybody"][0] == -old["anybody"][0] != 0 and new["anybody"][1] == old["anybody"][1]


def test_posts_become_tokens_the_latest_first(process):
    past = [
        (1, "ann", "acme", 99, [0.0, 0.0, 7.0], "photo"),
        (10, "ann", "zeta", 9, [0.0, 0.0, 8.0], "none"),
        (100, "ann", "acme", 999, [0.0, 0.0, 9.0], "video"),
        (2, "bob", "acme", 0, [0.0, 0.0, 6.0], "gif"),
        (0, "ann", "acme", 10**9, [0.0, 0.0, 5.0], "gif"),  # of the same instant
        (-1, "bob", "acme", 10**9, [0.0, 0.0, 4.0], "gif"),  # later
    ]
    rows = asked((0, "ann", "acme"), (0, "bob", "acme"), (0, "new", "acme"))
    tokens, valid = latest_posts(history_of(past), rows.posts, 2, process, TEXT)
    assert tokens.shape == (3, 2, len(TOKEN_NAMES) + SAID) and tokens.dtype == np.float32
    assert valid.tolist() == [[True, True], [True, False], [False, False]] and (tokens[~valid] == 0).all()
    names = dict(zip([*TOKEN_NAMES, "text"], tokens[0, 1].tolist(), strict=True))
    assert names["likes"] == pytest.approx((np.log1p(9) - process.centre) / process.scale) and names["text"] == 8
    assert names["age"] == pytest.approx(np.log1p(10) / np.log1p(365))
    assert {kind: names[f"media_{kind}"] for kind in MEDIA_KINDS} == {kind: kind == "none" for kind in MEDIA_KINDS}
    plain, _ = latest_posts(history_of(past), rows.posts, 2, process, NO_TEXT)
    assert plain.tobytes() == np.ascontiguousarray(tokens[..., : len(TOKEN_NAMES)]).tobytes()


@MANY
@given(tables, tables, st.integers(0, 5), st.booleans())
def test_all_numbers_are_finite_and_of_the_right_shape(process, past, remembered, count, mirrored):
    history, memory, rows = history_of(past), history_of(remembered, first=100), asked((0, "ann", "acme"), (0, "", ""))
    history, memory = (history.mirror(), memory.mirror()) if mirrored else (history, memory)
    for frame, numbers in ((rows.posts, rows.numbers), (rows.posts.clear(), rows.numbers[:0])):
        found = View(process, history, memory).told(frame, numbers)
        tokens, valid = latest_posts(history, frame, count, process, TEXT)
        assert found.statistics.shape == (len(frame), len(STATISTICS)) and found.prior.shape == (len(frame),)
        assert tokens.shape == (len(frame), count, len(TOKEN_NAMES) + SAID) and valid.shape == (len(frame), count)
        for array in (found.statistics, found.prior, tokens):
            assert np.isfinite(array).all() and array.dtype == np.float32
        assert valid.dtype == bool and (found.statistics[:, 2] >= 0).all()

"""What stands strictly before a tweet, found by an index and by looking at every post."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from behavesim.data.history import MEDIA_KINDS, SCHEMA, Earlier, History

START = datetime(2020, 1, 1, tzinfo=UTC)
ACCOUNTS = ("ann", "bob", "cam", "Ann")
COMPANIES = ("acme", "ann", "zeta")
WIDTH = 3
# Few instants, so that many posts share one; some a microsecond apart.
INSTANTS = [START + timedelta(days=days, microseconds=micro) for days in (0, 1, 40) for micro in (0, 1)]
COLUMNS = ("username", "company", "date", "likes", "media_kind", "numbers")

posts = st.tuples(
    st.sampled_from(ACCOUNTS),
    st.sampled_from(COMPANIES),
    st.sampled_from(INSTANTS),
    st.integers(0, 10**6),
    st.sampled_from(MEDIA_KINDS),
    st.lists(st.floats(-5, 5, width=32), min_size=WIDTH, max_size=WIDTH),
)
tables = st.lists(posts, max_size=30)
ONE = ("ann", "acme", START, 3, "none", [0.5] * WIDTH)


def frame_of(table, first=0):
    """Posts with identities from `first` on."""
    columns = list(zip(*table, strict=True)) or [()] * len(COLUMNS)
    values = {name: list(column) for name, column in zip(COLUMNS, columns, strict=True)}
    values["content"] = [None] * len(table)
    frame = pl.DataFrame({"identity": list(range(first, first + len(table))), **values}, schema=SCHEMA, strict=False)
    return frame.select(*SCHEMA)


def looked_up(history_frame, row, mirrored):
    """Places of the posts before `row`, the latest first, as the definition says."""
    places = []
    for place, post in enumerate(history_frame.iter_rows(named=True)):
        before = post["date"] > row["date"] if mirrored else post["date"] < row["date"]
        if post["username"] == row["username"] and before:
            places.append((post["date"], place))
    # Of posts of one instant the last of the table stands first.
    order = sorted(places, key=lambda at: (-at[0].timestamp() if mirrored else at[0].timestamp(), at[1]), reverse=True)
    return [place for _, place in order]


@pytest.mark.parametrize("mirrored", [False, True])
@settings(deadline=None, max_examples=80)
@given(tables, tables, st.integers(0, 6))
def test_earlier_posts_are_those_that_a_loop_finds(mirrored, past, asked, count):
    history, frame = History.of([frame_of(past)]), frame_of(asked)
    history = history.mirror() if mirrored else history
    found = history.earlier(frame, count)
    assert found.recent.shape == (len(asked), count)
    ages, latest = history.age(frame, found.recent), history.latest(frame, count)
    for number, row in enumerate(frame.iter_rows(named=True)):
        places = looked_up(history.posts, row, mirrored)
        assert found.count[number] == len(places)
        shown = places[:count]
        assert found.recent[number].tolist() == shown + [-1] * (count - len(shown))
        assert latest[number].tolist() == [np.log1p(float(past[place][3])) for place in shown]
        apart = [abs((row["date"] - history.posts["date"][place]).total_seconds()) / 86_400 for place in shown]
        assert ages[number] == pytest.approx(apart + [0] * (count - len(shown)))
        assert all(age > 0 for age in ages[number, : len(shown)])


@settings(deadline=None, max_examples=40)
@given(tables, st.data())
def test_what_is_found_does_not_depend_on_posts_of_others_or_not_before(past, data):
    frame = frame_of(past)
    row = frame_of([data.draw(posts)])
    before = (pl.col("date") < row["date"][0]) & (pl.col("username") == row["username"][0])
    changed = frame.with_columns(likes=pl.when(before).then("likes").otherwise(pl.col("likes") * 7.3 + 1))
    whole, other, alone = (History.of([found]) for found in (frame, changed, frame.filter(before)))
    assert (whole.earlier(row, 4).recent == other.earlier(row, 4).recent).all()
    assert whole.earlier(row, 4).count == alone.earlier(row, 4).count == len(alone)
    told = [history.latest(row, 4)[0].tobytes() for history in (whole, other, alone)]
    assert told[0] == told[1] == told[2]


@settings(deadline=None, max_examples=60)
@given(tables, st.data())
def test_of_posts_with_one_identity_the_newest_counts(past, data):
    frame = frame_of(past)
    again = frame.filter(pl.Series([data.draw(st.booleans()) for _ in past], dtype=pl.Boolean))
    again = again.with_columns(likes=pl.col("likes") + 1)
    strangers = frame_of(data.draw(tables), first=1000)
    together = History.of([frame]).extended(History.of([again, strangers]))
    expected = {row["identity"]: row for part in (frame, again, strangers) for row in part.iter_rows(named=True)}
    assert len(together) == len(expected) == together.posts["identity"].n_unique()
    assert {row["identity"]: row for row in together.posts.iter_rows(named=True)} == expected
    assert History.of([frame, again, strangers]).posts.sort("identity").equals(together.posts.sort("identity"))


@pytest.mark.parametrize("mirrored", [False, True])
@settings(deadline=None, max_examples=30)
@given(tables, st.data())
def test_posts_that_another_history_has_are_left_out_unless_their_likes_are_others(mirrored, past, data):
    frame = frame_of(past)
    taken, newer = ([data.draw(st.booleans()) for _ in past] for _ in range(2))
    likes = pl.col("likes") + pl.Series(newer, dtype=pl.Boolean).cast(pl.Int64)
    other = frame.with_columns(likes=likes).filter(pl.Series(taken, dtype=pl.Boolean))
    taken = np.array(taken, dtype=bool) & ~np.array(newer, dtype=bool)
    history = History(frame, mirrored)
    found = history.without(History.of([other, frame_of([ONE], first=1000)]))
    assert found.posts["identity"].to_list() == [number for number, out in enumerate(taken) if not out]
    assert found.mirrored == mirrored and len(history.without(history)) == 0
    assert history.without(History.of([])).posts.equals(frame)


@settings(deadline=None, max_examples=20)
@given(tables.filter(len))
def test_columns_become_arrays(past):
    history = History.of([frame_of(past)])
    np.testing.assert_array_equal(history.logs, np.log1p([float(post[3]) for post in past]))
    assert [MEDIA_KINDS[kind] for kind in history.media] == [post[4] for post in past]
    np.testing.assert_array_equal(history.numbers, np.array([post[5] for post in past], dtype=np.float32))
    assert history.numbers.dtype == np.float32 and history.numbers.shape == (len(past), WIDTH)
    moments = [(post[2] - START) // timedelta(microseconds=1) for post in past]
    assert (history.times - moments == history.times[0] - moments[0]).all()


@pytest.mark.parametrize("history", [History.of([]), History.of([frame_of([])]), History.of([]).mirror()])
def test_no_history_finds_nothing(history):
    frame = frame_of([ONE] * 2)
    assert len(history) == 0 and history.posts.schema == pl.Schema(SCHEMA) and len(history.numbers) == 0
    for asked in (frame, frame.clear()):
        found = history.earlier(asked, 4)
        nothing = Earlier(np.zeros(asked.height), np.full((asked.height, 4), -1))
        for name in ("count", "recent"):
            np.testing.assert_array_equal(getattr(found, name), getattr(nothing, name))
        assert (history.age(asked, found.recent) == 0).all()
    assert len(history.extended(History.of([frame_of([ONE])]))) == 1


def test_mirroring_turns_time_around_and_twice_is_nothing():
    history = History.of([frame_of([ONE])])
    assert history.mirror().mirrored and not history.mirror().mirror().mirrored
    assert (history.mirror().times == -history.times).all() and history.mirror().posts is history.posts
    assert (history.mirror().time_of(history.posts) == history.mirror().times).all()

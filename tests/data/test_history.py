"""What stands strictly before a tweet, found by an index and by looking at every post."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from behavesim.data.history import LEVELS, MEDIA_KINDS, SCHEMA, Earlier, History

START = datetime(2020, 1, 1, tzinfo=UTC)
ACCOUNTS = ("ann", "bob", "cam", "Ann")
COMPANIES = ("acme", "ann", "zeta")
# Few instants, so that many posts share one; some a microsecond apart.
INSTANTS = [START + timedelta(days=days, microseconds=micro) for days in (0, 1, 40) for micro in (0, 1)]

posts = st.tuples(
    st.sampled_from(ACCOUNTS),
    st.sampled_from(COMPANIES),
    st.sampled_from(INSTANTS),
    st.integers(0, 10**6),
    st.floats(-5, 5),
    st.sampled_from(MEDIA_KINDS),
)
tables = st.lists(posts, max_size=30)


def frame_of(table, first=0):
    """Posts with identities from `first` on."""
    columns = list(zip(*table, strict=True)) or [()] * 6
    names = ("username", "company", "date", "likes", "effect", "media_kind")
    values = {name: list(column) for name, column in zip(names, columns, strict=True)}
    frame = pl.DataFrame({"identity": list(range(first, first + len(table))), **values}, schema=SCHEMA, strict=False)
    return frame.select(*SCHEMA)


def looked_up(history_frame, row, level, mirrored):
    """Places of the posts before `row`, the latest first, as the definition says."""
    places = []
    for place, post in enumerate(history_frame.iter_rows(named=True)):
        before = post["date"] > row["date"] if mirrored else post["date"] < row["date"]
        if post[level] == row[level] and before:
            places.append((post["date"], place))
    # Of posts of one instant the last of the table stands first.
    order = sorted(places, key=lambda at: (-at[0].timestamp() if mirrored else at[0].timestamp(), at[1]), reverse=True)
    return [place for _, place in order]


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("level", LEVELS)
@settings(deadline=None, max_examples=60)
@given(tables, tables, st.integers(1, 6))
def test_earlier_posts_are_those_that_a_loop_finds(level, mirrored, past, asked, window):
    history, frame = History.of([frame_of(past)]), frame_of(asked)
    history = history.mirror() if mirrored else history
    found = history.earlier(frame, level, window)
    assert found.recent.shape == (len(asked), window)
    ages = history.age(frame, found.recent)
    for number, row in enumerate(frame.iter_rows(named=True)):
        places = looked_up(history.posts, row, level, mirrored)
        assert found.count[number] == len(places)
        assert found.total[number] == pytest.approx(history.deviations[places].sum(), abs=1e-6)
        shown = places[:window]
        assert found.recent[number].tolist() == shown + [-1] * (window - len(shown))
        apart = [abs((row["date"] - history.posts["date"][place]).total_seconds()) / 86_400 for place in shown]
        assert ages[number] == pytest.approx(apart + [0] * (window - len(shown)))
        assert all(age > 0 for age in ages[number, : len(shown)])


@settings(deadline=None, max_examples=40)
@given(tables, st.data())
def test_what_is_found_does_not_depend_on_posts_of_others_or_not_before(past, data):
    """To the last bit: a sum of floats that runs over all posts would differ there."""
    frame = frame_of(past)
    row = frame_of([data.draw(posts)])
    for level in LEVELS:
        before = (pl.col("date") < row["date"][0]) & (pl.col(level) == row[level][0])
        changed = frame.with_columns(likes=pl.when(before).then("likes").otherwise(pl.col("likes") * 7.3 + 1))
        one, other = (History.of([posts_]).earlier(row, level) for posts_ in (frame, changed))
        assert one.total.tobytes() == other.total.tobytes() and (one.recent == other.recent).all()
        alone = History.of([frame.filter(before)]).earlier(row, level)
        assert alone.total.tobytes() == one.total.tobytes() and alone.count == one.count


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


@settings(deadline=None, max_examples=20)
@given(tables)
def test_likes_become_logs_and_deviations(past):
    history = History.of([frame_of(past)])
    np.testing.assert_array_equal(history.logs, np.log1p([float(post[3]) for post in past]))
    np.testing.assert_allclose(history.deviations, history.logs - np.array([post[4] for post in past]))
    assert [MEDIA_KINDS[kind] for kind in history.media] == [post[5] for post in past]


@pytest.mark.parametrize("history", [History.of([]), History.of([frame_of([])]), History.of([]).mirror()])
def test_no_history_finds_nothing(history):
    frame = frame_of([("ann", "acme", START, 3, 0.0, "none")] * 2)
    assert len(history) == 0 and history.posts.schema == pl.Schema(SCHEMA)
    for asked in (frame, frame.clear()):
        for level in LEVELS:
            found = history.earlier(asked, level, 4)
            nothing = Earlier(np.zeros(asked.height), np.zeros(asked.height), np.full((asked.height, 4), -1))
            for name in ("count", "total", "recent"):
                np.testing.assert_array_equal(getattr(found, name), getattr(nothing, name))
            assert (history.age(asked, found.recent) == 0).all()
    assert len(history.extended(History.of([frame_of([("ann", "acme", START, 3, 0.0, "none")])]))) == 1


def test_mirroring_twice_is_nothing():
    history = History.of([frame_of([("ann", "acme", START, 3, 0.0, "none")])])
    assert history.mirror().mirrored and not history.mirror().mirror().mirrored

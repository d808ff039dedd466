"""The proof that no row is told a label that it may not know: its own, one of the same instant, a later one.

The fitted encoder is a function of training rows and is kept, with the training posts that it remembers. What is proven
is what a row looks back on: all that is told of it stays the same to the last bit, whatever the labels become that it
may not see. Only of a training row that looks at all others its own label is taken out of a number that held it, and
there bits are rounded. What an encoder remembers is changed in `test_no_remembered_label_leaks.py`. Where the history
has other likes than those remembered, these are forgotten: so labels that changed are compared with others that did.
"""

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

MODES = ("none", "train", "rolling")
KINDS = ("random", "unseen_time")
HELD_OUT = ("validation", "test")
VIEWS = {"train": 4, "validation": 1, "test": 1}
MANY = settings(deadline=None, max_examples=10, suppress_health_check=list(HealthCheck))


def known_to(world, mode, part, view):
    """Tweets that rows of a part may look back on: [N] bool."""
    parts = {name: np.isin(np.arange(len(world.likes)), rows.positions) for name, rows in world.data.parts.items()}
    if mode == "none" or view == 3:
        return parts["train"] & False
    if part == "train" or mode == "train":
        return parts["train"]
    return parts["train"] | parts["validation"] if part == "validation" else parts["train"] | True


def near(world):
    """Which tweets are of one company or of one account: [N, N] bool."""
    accounts, companies = (world.frame[name].to_numpy() for name in ("username", "company"))
    return (accounts == accounts[:, None]) | (companies == companies[:, None])


def linked(world):
    """Which are so through others: labels reach no further, [N, N] bool."""
    found = near(world)
    for _ in range(7):  # by up to 128 tweets, more than there are
        found = found @ found
    return found


def changed_otherwise(world, changed):
    """Likes that differ from those of the table where `changed`: [N]."""
    return np.where(changed, world.likes + 1, world.likes)


def visible(world, mode, part, changed, view=0, related=linked):
    """Of each row of a part whether one of the `changed` tweets may reach it: [N] bool."""
    accounts = world.frame["username"].to_numpy()
    own = world.data.parts[part].positions[:, None]
    history = known_to(world, mode, part, view)
    times = -world.times if view == 2 else world.times
    tokens = history & (accounts == accounts[own]) & (times < times[own])
    # Of equal times the last one in the table is the latest.
    rank = times * len(times) + np.arange(len(times))
    latest = np.sort(np.where(tokens, rank, -(2**62)), axis=1)[:, -world.data.encoding.history, None]
    others = times != times[own] if part == "train" and view == 0 else times < times[own]
    reached = tokens & (rank >= latest) | history & others & related(world)[own[:, 0]]
    return (reached & changed).any(axis=1)


def held(world, changed):
    """Of each training row whether one of the `changed` tweets is in the number out of which its own is taken."""
    train = world.data.parts["train"].positions
    return linked(world)[np.ix_(train, train[changed[train]])].any(axis=1)


def assert_kept(world, mode, changed, found):
    """Whether only rows that may see one of the `changed` tweets are told anything else."""
    otherwise = world.told(changed_otherwise(world, changed))
    for part, rows in found.items():
        for view in range(VIEWS[part]):
            reached = visible(world, mode, part, changed, view)
            rounded = part == "train" and view == 0 and mode != "none"
            close = held(world, changed) if rounded else np.zeros(len(rows), bool)
            for row, (now, was) in enumerate(zip(rows, otherwise[part], strict=True)):
                assert reached[row] or now[view].same(was[view], close=close[row]), (part, view, row)


MODE = pytest.mark.parametrize("mode", MODES)


@MODE
@pytest.mark.parametrize("kind", KINDS)
@MANY
@given(seed=st.integers(0, 3), data=st.data())
def test_labels_reach_only_rows_that_may_know_them(label_world, mode, kind, seed, data):
    made = label_world(seed, mode, kind)
    rows = len(made.likes)
    places = data.draw(st.sets(st.integers(0, rows - 1), min_size=1, max_size=rows))
    likes = made.likes.copy()
    likes[list(places)] = data.draw(st.lists(st.integers(0, 10**9), min_size=len(places), max_size=len(places)))
    assert_kept(made, mode, likes != made.likes, made.told(likes))


@MODE
@pytest.mark.parametrize("seed", [0, 1])
def test_own_labels_and_those_of_the_same_instant_and_later_change_nothing(label_world, mode, seed):
    """Said plainly, once for every instant: all labels from then on are others, rows up to then stay as they are."""
    made = label_world(seed, mode)
    for instant in np.unique(made.times):
        found = made.told(np.where(made.times >= instant, 10**8 - made.likes, made.likes))
        others = made.told(changed_otherwise(made, made.times >= instant))
        for part, view in (("train", 1), *((part, 0) for part in HELD_OUT)):
            positions = made.data.parts[part].positions
            for at, now, was in zip(made.times[positions], found[part], others[part], strict=True):
                assert at > instant or now[view] == was[view]


@MODE
def test_no_training_row_is_told_its_own_label_in_any_view(label_world, mode):
    made = label_world(0, mode)
    for number, place in enumerate(made.data.parts["train"].positions):
        likes = made.likes.copy()
        likes[place] += 10**6
        now, was = made.told(likes)["train"][number], made.was["train"][number]
        assert len(now) == 4 and now[1:] == was[1:] and now[0].same(was[0], close=mode != "none")


def test_posts_of_the_same_instant_look_back_on_neither_each_other_nor_forward(label_world):
    """Ties are in these tables: within accounts, and between accounts of one company."""
    for seed in range(4):
        frame = label_world(seed, "rolling").frame
        for level, other in (("username", "company"), ("company", "username")):
            ties = frame.group_by("date", level).agg(pl.len(), pl.col(other).n_unique().alias("others"))
            assert ties.filter((pl.col("len") > 1) & ((pl.col("others") > 1) | (level == "username"))).height


def test_with_no_history_no_label_changes_anything(label_world):
    made = label_world(0, "none")
    assert made.told(10**7 - made.likes) == made.was
    assert len(made.data.history) == len(made.data.encoder.memory) == 0


@pytest.mark.parametrize("seed", range(3))
def test_with_training_rows_no_held_out_label_changes_anything_and_training_labels_do(label_world, seed):
    made = label_world(seed, "train")
    training = np.isin(np.arange(len(made.likes)), made.data.parts["train"].positions)
    assert made.told(np.where(training, made.likes, 10**7)) == made.was
    changed, was = (made.told(np.where(training, made.likes + more, made.likes)) for more in (10**7, 1))
    for part, views in VIEWS.items():
        for view in range(views):
            reached = visible(made, "train", part, training, view)
            assert reached.any() == (view < 3)
            pairs = zip(changed[part], was[part], strict=True)
            differs = [not now[view].same(was[view], close=part == "train" and view == 0) for now, was in pairs]
            surely = visible(made, "train", part, training, view, near)
            assert np.all(surely <= differs) and np.all(differs <= reached), (part, view)


@pytest.mark.parametrize("seed", range(3))
def test_rolling_an_earlier_held_out_label_of_the_company_counts(label_world, seed):
    made = label_world(seed, "rolling")
    companies, tried = made.frame["company"].to_numpy(), 0
    for place in np.concatenate([made.data.parts[part].positions for part in HELD_OUT]):
        likes = made.likes.copy()
        likes[place] += 10**6
        found = made.told(likes)
        assert found["train"] == made.was["train"]
        for part in HELD_OUT:
            positions = made.data.parts[part].positions
            if part == "validation" and place in made.data.parts["test"].positions:
                assert found[part] == made.was[part]  # validation rows set the model
                continue
            later = (made.times[positions] > made.times[place]) & (companies[positions] == companies[place])
            for row in np.flatnonzero(later):
                assert found[part][row][0].process != made.was[part][row][0].process
            tried += later.sum()
    assert tried > 10


@MODE
def test_a_written_answer_is_all_that_a_row_holds_of_its_label(label_world, mode):
    made = label_world(0, mode, answer_tokens=12)
    assert (made.data.encoded["test"].answer_length > 0).all()
    likes = made.likes + np.arange(len(made.likes)) % 5
    assert_kept(made, mode, likes != made.likes, made.told(likes))

"""The proof that no row is told a label that it may not know: its own, one of the same instant, a later one.

The fitted encoder is a function of training rows and is kept. What is proven is what a row looks back on: all that is
told of it stays the same to the last bit, whatever the labels become that it may not see.
"""

from datetime import datetime, timedelta
from functools import cache
from types import SimpleNamespace

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from behavesim.data.batch import NUMBERS
from behavesim.data.datamodule import EncoderSettings, TweetDataModule
from behavesim.data.loader import LoaderSettings
from behavesim.data.output import write_table
from behavesim.data.pictures.readers import Blind
from behavesim.data.prepare import prepare
from behavesim.data.prepared import PreparedTable
from behavesim.data.split import SplitSettings

ROWS = 60
MODES = ("none", "train", "rolling")
KINDS = ("random", "unseen_time")
HELD_OUT = ("validation", "test")
LOADING = LoaderSettings(tokens_per_batch=600, num_workers=0, frames=0)
ENCODING = EncoderSettings("ours", 64, 0, None, 400, names=True, history=3, text_summary=4)
MANY = settings(deadline=None, max_examples=25, suppress_health_check=list(HealthCheck))


def table_of(seed):
    """Tweets of a few accounts at few instants, so that ties are within accounts, companies and beyond them."""
    random = np.random.default_rng(seed)
    companies = [f"company {number}" for number in random.integers(0, 3, ROWS)]
    instants = [datetime(2020, 1, 1) + timedelta(days=int(day)) for day in np.sort(random.integers(0, 400, 15))]
    words = [f"w{chr(97 + number)}{'xyz'[number % 3]}" for number in range(26)]
    return pl.DataFrame(
        {
            "id": range(ROWS),
            "date": [str(instants[at]) for at in random.integers(0, len(instants), ROWS)],
            "likes": np.floor(np.exp(random.normal(4, 2, ROWS))).astype(np.int64),
            "content": [" ".join(random.choice(words, random.integers(4, 12))) for _ in range(ROWS)],
            # One account in ten tweets for another company too.
            "username": [f"{'any' if random.random() < 0.1 else name} {random.integers(2)}" for name in companies],
            "media": random.choice(["[]", "[Photo(previewUrl='a', fullUrl='b')]"], ROWS),
            "inferred company": companies,
        }
    )


@pytest.fixture(scope="module")
def world(job_of, tmp_path_factory):
    """By seed, mode and kind of split: a module, and `told` for other likes under the encoder of that module."""

    @cache
    def table(seed):
        folder = tmp_path_factory.mktemp("leaks")
        write_table(table_of(seed), folder / "t.csv")
        return prepare(job_of(folder / "t.csv", folder / "made"))

    @cache
    def make(seed, mode, kind="random", answer_tokens=0):
        def module(rows, likes):
            changed = PreparedTable(rows.folder)
            place = rows._rows.column_names.index("likes")
            column = pa.chunked_array([pa.array(likes, pa.int64())])
            vars(changed)["_rows"] = rows._rows.set_column(place, "likes", column)
            encoding = EncoderSettings(**(vars(ENCODING) | {"answer_tokens": answer_tokens}))
            split = SplitSettings(kind, 0.25, 0.25, seed)
            folder = tmp_path_factory.mktemp("encoded")
            options = {"split": split, "seed": 0, "folder": folder, "history": mode}
            return TweetDataModule(changed.labelled(), Blind(), LOADING, encoding, **options)

        prepared = table(seed)
        likes = prepared.column("likes")
        data = module(prepared, likes)

        def told(likes):
            other = module(prepared, likes)
            vars(other)["encoder"] = data.encoder
            return {part: numbers_of(other.encoded[part]) for part in other.parts}

        return SimpleNamespace(data=data, frame=prepared.all().frame(), likes=likes, told=told, was=told(likes))

    return make


def numbers_of(encoded):
    """Of each row and view all that a model is told, as bytes, the answer left out."""
    rows = []
    for row in range(len(encoded)):
        text = encoded.text(row)
        own = [text[: len(text) - encoded.answer_length[row]], encoded.features[row], encoded.names[row]]
        seen = [getattr(encoded, name)[row] for name in NUMBERS[2:]]
        views = encoded.prior.shape[1]
        rows.append(
            [b"|".join(part.tobytes() for part in [*own, *(each[view] for each in seen)]) for view in range(views)]
        )
    return rows


def visible(world, mode, part, changed, view=0):
    """Of each row of a part whether one of the `changed` tweets may reach it: [N] bool."""
    dates, data = world.frame["date"].to_numpy(), world.data
    accounts, companies = (world.frame[name].to_numpy() for name in ("username", "company"))
    training = np.isin(np.arange(ROWS), data.parts["train"].positions)
    known = {"none": np.zeros(ROWS, bool), "train": training, "rolling": np.ones(ROWS, bool)}[mode]
    if part == "train":
        known = training & (mode != "none") & (view < 2)
    own = data.parts[part].positions[:, None]
    before = dates > dates[own] if view == 1 else dates < dates[own]
    related = (accounts == accounts[own]) | (companies == companies[own])
    return (before & related & known & changed).any(axis=1)


def assert_kept(world, mode, changed, found):
    """Whether only rows that may see one of the `changed` tweets are told anything else."""
    for part, rows in found.items():
        for view in range(3 if part == "train" else 1):
            reached = visible(world, mode, part, changed, view)
            for row, now, was in zip(range(len(rows)), rows, world.was[part], strict=True):
                assert reached[row] or now[view] == was[view], (part, view, row)


MODE = pytest.mark.parametrize("mode", MODES)


@MODE
@pytest.mark.parametrize("kind", KINDS)
@MANY
@given(seed=st.integers(0, 3), data=st.data())
def test_labels_reach_only_rows_that_may_know_them(world, mode, kind, seed, data):
    made = world(seed, mode, kind)
    places = data.draw(st.sets(st.integers(0, ROWS - 1), min_size=1, max_size=ROWS))
    likes = made.likes.copy()
    likes[list(places)] = data.draw(st.lists(st.integers(0, 10**9), min_size=len(places), max_size=len(places)))
    assert_kept(made, mode, likes != made.likes, made.told(likes))


@MODE
@pytest.mark.parametrize("seed", [0, 1])
def test_own_labels_and_those_of_the_same_instant_and_later_change_nothing(world, mode, seed):
    """Said plainly, once for every instant: all labels from then on are others, rows up to then stay as they are."""
    made = world(seed, mode)
    dates = made.frame["date"].to_numpy()
    for instant in np.unique(dates):
        found = made.told(np.where(dates >= instant, 10**8 - made.likes, made.likes))
        for part in ("train", *HELD_OUT):
            for at, now, was in zip(dates[made.data.parts[part].positions], found[part], made.was[part], strict=True):
                assert at > instant or now[0] == was[0]


@pytest.mark.parametrize("mode", MODES)
def test_no_training_row_is_told_its_own_label_in_any_view(world, mode):
    made = world(0, mode)
    for number, place in enumerate(made.data.parts["train"].positions):
        likes = made.likes.copy()
        likes[place] += 10**6
        found = made.told(likes)["train"]
        assert len(found[number]) == 3 and found[number] == made.was["train"][number]


def test_posts_of_the_same_instant_look_back_on_neither_each_other_nor_forward(world):
    """Ties are in these tables: within accounts, and between accounts of one company."""
    for seed in range(4):
        frame = world(seed, "rolling").frame
        for level, other in (("username", "company"), ("company", "username")):
            ties = frame.group_by("date", level).agg(pl.len(), pl.col(other).n_unique().alias("others"))
            assert ties.filter((pl.col("len") > 1) & ((pl.col("others") > 1) | (level == "username"))).height


def test_with_no_history_no_label_changes_anything(world):
    made = world(0, "none")
    assert made.told(10**7 - made.likes) == made.was
    assert made.data.encoder.history == 0 and len(made.data.history) == 0
    assert all((encoded.names == 0).all() for encoded in made.data.encoded.values())


@pytest.mark.parametrize("seed", range(3))
def test_with_training_rows_no_held_out_label_changes_anything_and_training_labels_do(world, seed):
    made = world(seed, "train")
    training = np.isin(np.arange(ROWS), made.data.parts["train"].positions)
    assert made.told(np.where(training, made.likes, 10**7)) == made.was
    changed = made.told(np.where(training, made.likes + 10**7, made.likes))
    for part in HELD_OUT:
        reached = visible(made, "train", part, training)
        assert reached.any()
        differs = [now != was for now, was in zip(changed[part], made.was[part], strict=True)]
        assert differs == reached.tolist()


@pytest.mark.parametrize("seed", range(3))
def test_rolling_an_earlier_held_out_label_of_the_account_counts(world, seed):
    made = world(seed, "rolling")
    dates, accounts = made.frame["date"].to_numpy(), made.frame["username"].to_numpy()
    tried = 0
    for place in np.concatenate([made.data.parts[part].positions for part in HELD_OUT]):
        likes = made.likes.copy()
        likes[place] += 10**6
        found = made.told(likes)
        assert found["train"] == made.was["train"]
        for part in HELD_OUT:
            positions = made.data.parts[part].positions
            later = (dates[positions] > dates[place]) & (accounts[positions] == accounts[place])
            for row in np.flatnonzero(later):
                assert found[part][row] != made.was[part][row]
            tried += later.sum()
    assert tried > 10


@MODE
def test_a_written_answer_is_all_that_a_row_holds_of_its_label(world, mode):
    made = world(0, mode, answer_tokens=12)
    assert (made.data.encoded["test"].answer_length > 0).all()
    likes = made.likes + np.arange(ROWS) % 5
    assert_kept(made, mode, likes != made.likes, made.told(likes))

"""Splits: who trains, who is held out, and what may never be on both sides."""

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from behavesim.data.split import identity_hash, near_identical_key, split_rows
from behavesim.data.table import read_table
from behavesim.errors import UserError

KINDS = ("random", "unseen_time", "unseen_company")
PARTS = ("train", "validation", "test")
START = datetime(2019, 1, 1)
SHARES = {"validation": 0.2, "test": 0.2}
# Few texts, so that copies are common; the first four are nearly identical.
TEXTS = st.sampled_from(["Big sale!", "big  SALE 2", "<mention> big sale", "ｂｉｇ sale", "news", "!!", "12", ""])
ROW = st.tuples(TEXTS | st.text(max_size=4), st.integers(0, 9), st.integers(0, 30))
ROWS = st.lists(ROW, min_size=8, max_size=60)
SEEDS = st.integers(0, 5)


def frame_of(rows):
    return pl.DataFrame(
        {
            "content": [text for text, _, _ in rows],
            "username": [f"user {company}" for _, company, _ in rows],
            "company": [f"company {company}" for _, company, _ in rows],
            "date": [START + timedelta(days=day) for _, _, day in rows],
        },
        schema_overrides={"date": pl.Datetime("us")},
    )


def parts_of(rows, kind, seed=0, **shares):
    """The split, or nothing for a table that is too small for it."""
    try:
        return split_rows(frame_of(rows), kind, seed=seed, **(SHARES | shares))
    except UserError:
        assume(False)


def keys_of(rows, positions):
    return set(near_identical_key(frame_of(rows)).gather(positions))


def many(count=300):
    return [(f"text {chr(97 + i % 26)}{chr(97 + i // 26)}", i % 40, i // 3) for i in range(count)]


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None)
@given(ROWS, SEEDS)
def test_parts_are_disjoint_ascending_and_lose_only_copies(kind, rows, seed):
    parts = parts_of(rows, kind, seed)
    found = np.concatenate([parts[name] for name in PARTS])
    assert len(set(found)) == len(found) and all((np.diff(parts[name]) > 0).all() for name in PARTS)
    lost = set(range(len(rows))) - set(found)
    held_out = keys_of(rows, np.concatenate([parts["validation"], parts["test"]]))
    assert keys_of(rows, sorted(lost)) <= held_out
    assert not keys_of(rows, parts["train"]) & held_out
    assert kind != "random" or not lost


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None)
@given(ROWS, SEEDS, st.randoms(use_true_random=False))
def test_a_row_s_part_depends_on_no_order(kind, rows, seed, random):
    parts = parts_of(rows, kind, seed)
    order = list(range(len(rows)))
    random.shuffle(order)
    shuffled = parts_of([rows[i] for i in order], kind, seed)
    for name in PARTS:
        assert sorted(order[i] for i in shuffled[name]) == parts[name].tolist()


@settings(deadline=None)
@given(ROWS, ROWS, SEEDS)
def test_appended_rows_move_no_row_of_random(rows, more, seed):
    before, after = parts_of(rows, "random", seed), parts_of(rows + more, "random", seed)
    for name in PARTS:
        assert [i for i in after[name] if i < len(rows)] == before[name].tolist()


@settings(deadline=None)
@given(ROWS, ROWS, SEEDS)
def test_appended_rows_move_no_row_of_unseen_company(rows, more, seed):
    before, after = (parts_of(table, "unseen_company", seed) for table in (rows, rows + more))
    for name in ("validation", "test"):
        assert [i for i in after[name] if i < len(rows)] == before[name].tolist()
    # A training row can only be dropped: when a copy of it is appended to a held-out part.
    assert {i for i in after["train"] if i < len(rows)} <= set(before["train"])


@settings(deadline=None)
@given(ROWS, SEEDS)
def test_near_identical_texts_share_a_part(rows, seed):
    parts = parts_of(rows, "random", seed)
    found = [keys_of(rows, parts[name]) for name in PARTS]
    assert sum(len(keys) for keys in found) == len(set.union(*found))


@settings(deadline=None)
@given(ROWS, SEEDS)
def test_unseen_time_tests_on_later_instants_alone(rows, seed):
    parts = parts_of(rows, "unseen_time", seed)
    days = np.array([day for _, _, day in rows])
    assert days[parts["train"]].max() < days[parts["validation"]].min()
    assert days[parts["validation"]].max() < days[parts["test"]].min()


@settings(deadline=None)
@given(ROWS, SEEDS)
def test_unseen_company_has_no_company_twice(rows, seed):
    parts = parts_of(rows, "unseen_company", seed)
    found = [{rows[i][1] for i in parts[name]} for name in PARTS]
    assert sum(map(len, found)) == len(set.union(*found))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Big SALE!", "big sale", True),
        ("Big sale 20%", "Big sale 30%", True),
        ("<mention> big sale <hyperlink>", "big sale", True),
        ("ｂｉｇ ﬁne", "big fine", True),
        ("big sale", "big tale", False),
        ("日本", "日本語", False),
        ("\U0001f525", "\U0001f4a7", False),
        ("नमस्ते", "नमसत", False),
    ],
)
def test_what_is_nearly_identical(one, other, same):
    keys = near_identical_key(frame_of([(one, 0, 0), (other, 1, 1)]))
    assert (keys[0] == keys[1]) == same


def test_empty_texts_are_told_apart_by_account_and_date():
    keys = near_identical_key(frame_of([("", 0, 0), ("12!", 0, 0), ("", 0, 1), ("", 1, 0)]))
    assert keys[0] == keys[1] and keys.n_unique() == 3


def test_the_identity_is_account_date_and_text():
    frame = frame_of([("a", 0, 0), ("a", 0, 0), ("b", 0, 0), ("a", 1, 0), ("a", 0, 1)])
    found = identity_hash(frame.with_columns(company=pl.lit("any"), id=pl.Series(range(5))))
    assert found[0] == found[1] and len(set(found.tolist())) == 4 and (found >= 0).all()


def test_the_identity_is_the_same_on_every_machine():
    assert identity_hash(frame_of([("a", 0, 0)])).tolist() == [6406571250755893395]


@pytest.mark.parametrize("kind", KINDS)
def test_shares_are_about_what_was_asked(kind):
    parts = split_rows(frame_of(many(900)), kind, validation=0.1, test=0.2, seed=1)
    assert len(parts["test"]) == pytest.approx(180, abs=60 if kind != "unseen_time" else 3)
    assert len(parts["validation"]) == pytest.approx(90, abs=70 if kind != "unseen_time" else 3)


@pytest.mark.parametrize("kind", ["random", "unseen_company"])
def test_the_seed_chooses_the_split(kind):
    one, again, other = (split_rows(frame_of(many()), kind, seed=seed, **SHARES) for seed in (1, 1, 2))
    assert all((one[name] == again[name]).all() for name in PARTS)
    assert one["test"].tolist() != other["test"].tolist()


@pytest.mark.parametrize(
    ("kind", "rows", "empty"),
    [
        ("random", [("same", i, i) for i in range(20)], "and"),
        ("unseen_company", [(f"text {chr(97 + i)}", 0, i) for i in range(20)], "and"),
        ("unseen_time", [(f"text {chr(97 + i)}", i, 5) for i in range(20)], "train and validation"),
        ("unseen_time", [("same", i, i) for i in range(20)], "train"),
    ],
)
def test_a_part_without_rows_is_an_error(kind, rows, empty):
    with pytest.raises(UserError, match=rf"data\.split: {kind} leaves .*{empty}.* without rows \(20 rows in all\)"):
        split_rows(frame_of(rows), kind, seed=0, **SHARES)


def test_no_copy_crosses_a_split_of_real_tweets(shared):
    table = read_table(shared / "data" / "behaviour_simulation_train.xlsx", labelled=True, on_bad_row="skip").frame
    keys = near_identical_key(table)
    for kind in KINDS:
        parts = split_rows(table, kind, validation=0.1, test=0.1, seed=0)
        held_out = set(keys.gather(np.concatenate([parts["validation"], parts["test"]])))
        assert not held_out & set(keys.gather(parts["train"]))
        assert sum(map(len, parts.values())) > 0.97 * table.height

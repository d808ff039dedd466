"""Splits: who trains, who is held out, and what may never be on both sides."""

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from behavesim.data.leaks import check_leaks
from behavesim.data.split import PARTS, SplitSettings, identity_hash, split_rows, text_keys
from behavesim.data.table import read_table
from behavesim.errors import UserError

KINDS = ("random", "unseen_time", "unseen_company")
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


def stored(frame):
    """The columns of a prepared table that a split reads."""
    keys = {"text_key": text_keys(frame), "identity": identity_hash(frame)}
    return frame.select("date", "company").with_columns(pl.Series(name, values) for name, values in keys.items())


def split_of(rows, kind, seed=0, **settings):
    return split_rows(stored(frame_of(rows)), SplitSettings(kind, seed=seed, **(SHARES | settings)))


def parts_of(rows, kind, seed=0, **settings):
    """The split's rows, or nothing for a table that is too small for it."""
    try:
        return split_of(rows, kind, seed, **settings).rows
    except UserError:
        assume(False)


def keys_of(rows, positions):
    return set(text_keys(frame_of(rows))[positions].tolist())


def many(count=300):
    return [(f"text {chr(97 + i % 26)}{chr(97 + i // 26)}", i % 40, i // 3) for i in range(count)]


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None)
@given(ROWS, SEEDS)
def test_no_split_leaks(kind, rows, seed):
    columns = stored(frame_of(rows))
    try:
        split = split_rows(columns, SplitSettings(kind, seed=seed, **SHARES))
    except UserError:
        assume(False)
    check_leaks(columns, split, kind)
    assert split.dropped == len(rows) - sum(map(len, split.rows.values()))
    assert all(part.dtype == np.int64 for part in split.rows.values())


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
@given(ROWS, ROWS)
def test_appended_rows_move_no_row_of_unseen_time_with_cuts(rows, more):
    cuts = {"validation_from": START + timedelta(days=18), "test_from": START + timedelta(days=24)}
    before, after = (parts_of(table, "unseen_time", **cuts) for table in (rows, rows + more))
    for name in ("validation", "test"):
        assert [i for i in after[name] if i < len(rows)] == before[name].tolist()
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


def test_text_keys_and_splits_are_the_same_on_every_machine():
    assert text_keys(frame_of([("Big sale!", 0, 0), ("", 0, 0)])).tolist() == [5618886173153076355, 1449595187198047540]
    assert split_of(many(40), "random").rows["test"].tolist() == [3, 21, 24, 27, 28, 31, 34, 36]
    assert split_of(many(40), "unseen_company").rows["test"].tolist() == [2, 5, 9, 14, 21, 29]


@pytest.mark.parametrize("kind", ["random", "unseen_company"])
@settings(deadline=None)
@given(ROWS, SEEDS, st.sampled_from([2, 3, 4, 5, 7]))
def test_folds_share_no_test_row_and_cover_all(kind, rows, seed, folds):
    # So many other texts and companies that hardly any part of a fold is empty.
    rows = rows + [(f"other {chr(97 + i % 26)}{chr(97 + i // 26)}", 10 + i, 0) for i in range(100)]
    shares = {"test": 1 / folds, "validation": 0.5 / folds}
    tests = [parts_of(rows, kind, seed, fold=fold, **shares)["test"] for fold in range(folds)]
    assert sorted(np.concatenate(tests)) == list(range(len(rows)))
    first = parts_of(rows, kind, seed, **shares)
    assert (first["test"] == tests[0]).all()


def test_validation_of_a_fold_stands_behind_its_test():
    first, second = (split_of(many(), "random", fold=fold, validation=0.2, test=0.2).rows for fold in (0, 1))
    assert second["validation"].tolist() == first["test"].tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_shares_are_about_what_was_asked(kind):
    parts = split_of(many(900), kind, seed=1, validation=0.1, test=0.2).rows
    assert len(parts["test"]) == pytest.approx(180, abs=60 if kind != "unseen_time" else 3)
    assert len(parts["validation"]) == pytest.approx(90, abs=70 if kind != "unseen_time" else 3)


@pytest.mark.parametrize("kind", ["random", "unseen_company"])
def test_the_seed_chooses_the_split(kind):
    one, again, other = (split_of(many(), kind, seed).rows for seed in (1, 1, 2))
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
        split_of(rows, kind)


@pytest.mark.parametrize("kind", KINDS)
def test_no_rows_are_an_error(kind):
    with pytest.raises(UserError, match=r"leaves train and validation and test without rows \(0 rows in all\)"):
        split_of([], kind)


def test_one_day_of_each_cut():
    split = split_of(many(90), "unseen_time", validation_from=START + timedelta(20), test_from=START + timedelta(25))
    assert [rows.tolist() for rows in split.rows.values()] == [[*range(60)], [*range(60, 75)], [*range(75, 90)]]
    assert (split.validation_from, split.test_from) == (START + timedelta(20), START + timedelta(25))


def test_a_cut_that_is_not_given_is_left_to_the_shares():
    by_shares = split_of(many(300), "unseen_time")
    assert (by_shares.validation_from, by_shares.test_from) == (START + timedelta(60), START + timedelta(80))
    # Validation takes its share of all rows, before the test rows that the cut chose.
    assert split_of(many(300), "unseen_time", test_from=START + timedelta(50)).validation_from == START + timedelta(30)
    assert split_of(many(300), "unseen_time", validation_from=START + timedelta(70)).test_from == by_shares.test_from
    assert split_of(many(300), "random").test_from is None


@pytest.mark.parametrize("cuts", [{"validation_from": 81}, {"validation_from": 50, "test_from": 50}])
def test_validation_comes_before_test(cuts):
    with pytest.raises(UserError, match=r"data\.validation_from: found 2019-.*; accepted: a date before "):
        split_of(many(300), "unseen_time", **{name: START + timedelta(days) for name, days in cuts.items()})


@pytest.mark.parametrize(("cut", "empty"), [({"test_from": -1}, "train and validation"), ({"test_from": 999}, "test")])
def test_a_cut_beyond_the_rows_is_an_error(cut, empty):
    with pytest.raises(UserError, match=rf"unseen_time leaves {empty} without rows .*data\.test_from dates"):
        split_of(many(300), "unseen_time", **{name: START + timedelta(days) for name, days in cut.items()})


def test_no_copy_crosses_a_split_of_real_tweets(shared):
    chunks = read_table(shared / "data" / "behaviour_simulation_train.xlsx", labelled=True)
    table = pl.concat([chunk.frame for chunk in chunks])
    columns = stored(table)
    for kind in KINDS:
        split = split_rows(columns, SplitSettings(kind, validation=0.1, test=0.1, seed=0))
        check_leaks(columns, split, kind)
        assert sum(map(len, split.rows.values())) == table.height - split.dropped > 0.97 * table.height

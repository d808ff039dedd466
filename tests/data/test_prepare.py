"""Preparing a table: every row ends in one place, and rows depend on nothing that they should not."""

import json
import shutil
from dataclasses import replace

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from behavesim.data.manifest import Manifest
from behavesim.data.output import write_table
from behavesim.data.pictures.origins import ColumnPictures
from behavesim.data.prepare import prepare
from behavesim.data.prepared import split_of
from behavesim.data.split import SplitSettings
from behavesim.data.table import BLANK
from behavesim.errors import UserError

# --- where rows go

cells = st.sampled_from([None, "12", "-4", "x", "", "2018-07-17", " ann "])
ROWS = st.lists(st.none() | st.tuples(cells, cells, cells), min_size=1, max_size=9)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rows=ROWS, size=st.integers(1, 10), ending=st.sampled_from([".csv", ".parquet"]))
def test_each_row_is_in_exactly_one_place(tmp_path_factory, job_of, rows, size, ending):
    folder = tmp_path_factory.mktemp("rows")
    columns = ("id", "date", "likes", "content", "username", "media", "company")
    lines = [
        (None,) * 7 if row is None else (str(i), *row[:2], "text", row[2], "[]", "c") for i, row in enumerate(rows)
    ]
    write_table(pl.DataFrame(lines, schema=dict.fromkeys(columns, pl.String), orient="row"), folder / f"t{ending}")
    table = prepare(job_of(folder / f"t{ending}", folder / "made", rows=size))
    rejected, kept = table.rejected(), table.all().frame()
    assert sorted([*kept["row"], *rejected["row"]]) == list(range(2, len(rows) + 2))
    assert kept["row"].is_sorted() and rejected["row"].is_sorted()
    blank = [place for place, row in enumerate(rows, 2) if row is None]
    assert rejected.filter(reason=BLANK)["row"].to_list() == blank
    assert len(list((table.folder / "rows").iterdir())) == -(-len(rows) // size)
    counts = table.manifest.counts
    assert counts["source_rows"] == len(rows) == counts["rows"] + counts["rejected"]
    assert (counts["rows"], counts["rejected"]) == (len(table), rejected.height)
    assert counts["labelled"] == len(table.labelled()) == kept["likes"].is_not_null().sum()
    whole = prepare(job_of(folder / f"t{ending}", folder / "whole"))
    assert_frame_equal(whole.all().frame(), kept)
    assert_frame_equal(whole.rejected(), rejected)
    assert whole.manifest.counts == counts and whole.manifest.id_type == table.manifest.id_type


def test_all_that_is_wrong_with_a_row_is_one_line(tmp_path, tweet_table, job_of):
    write_table(tweet_table(likes=[1, -1], date=["2018-07-17", "?"], username=["a", ""]), tmp_path / "t.csv")
    rejected = prepare(job_of(tmp_path / "t.csv", tmp_path / "made")).rejected()
    assert rejected.select("row", "id", "column", "found").rows() == [
        (3, "1", "likes | date | username", "-1 | ? | nothing")
    ]
    assert rejected["reason"][0].count(" | ") == 2


def test_ids_are_text_where_one_part_holds_text(tmp_path, tweet_table, job_of):
    for ids, name in ((["1", "2", None], "Int64"), (["1", "2", "x"], "String"), ([None, None, "3"], "Int64")):
        write_table(tweet_table(id=ids), tmp_path / "t.csv")
        table = prepare(job_of(tmp_path / "t.csv", tmp_path / "made", rows=1))
        assert table.manifest.id_type == name and table.all().frame()["id"].to_list() == ids


def test_the_manifest_tells_what_was_prepared(source, job_of):
    job = job_of(source, source.parent / "made", validation=0.25, split_seed=3)
    table = prepare(job)
    values = json.loads((table.folder / "manifest.json").read_text())
    assert Manifest.read(table.folder) == table.manifest
    assert values["source"] == "tweets.csv" and values["options"]["validation"] == 0.25
    assert values["options"]["pictures"] == "NoPictures" and values["options"]["part_rows"] > 0
    assert values["counts"] == {
        "source_rows": 30,
        "rows": 30,
        "labelled": 30,
        "pictures": 0,
        "rejected": 0,
        "missing_pictures": 0,
    }
    assert {record.kind for record in table.manifest.splits} <= {"random", "unseen_time", "unseen_company"}
    for record in table.manifest.splits:
        split = split_of(table.labelled(), SplitSettings(record.kind, 0.25, 0.2, 3))
        assert record.rows == {part: len(rows) for part, rows in split.rows.items()} and record.seed == 3


def test_a_table_without_likes_is_prepared_unless_they_are_needed(tmp_path, tweet_table, job_of):
    write_table(tweet_table(rows=3).drop("likes"), tmp_path / "t.csv")
    table = prepare(job_of(tmp_path / "t.csv", tmp_path / "made"))
    assert len(table) == 3 and len(table.labelled()) == 0 and table.manifest.splits == []
    with pytest.raises(UserError, match="no column likes"):
        prepare(job_of(tmp_path / "t.csv", tmp_path / "other", labelled=True))
    assert not (tmp_path / "other").exists()


# --- what rows and pictures depend on


def test_views_reach_no_file(pictured, job_of, files_of, change):
    folder, origin = pictured.parent, ColumnPictures("pictures", pictured.parent)
    one = files_of(prepare(job_of(pictured, folder / "made", origin)).folder)
    change(pictured, media=pl.col("media").str.replace("views=7", "views=123456"))
    assert "views=123456" in pictured.read_text()
    other = files_of(prepare(job_of(pictured, folder / "made", origin)).folder)
    assert {path for path in one if one[path] != other[path]} == {"manifest.json"}
    assert not any(b"views" in content for path, content in other.items() if path.startswith("rows"))


def test_near_identical_texts_have_one_key_and_their_own_identities(tmp_path, tweet_table, job_of):
    write_table(tweet_table(content=["Big sale!", "big  SALE 2", "news"]), tmp_path / "t.csv")
    frame = prepare(job_of(tmp_path / "t.csv", tmp_path / "made", rows=2)).all().frame()
    keys, identities = frame["text_key"].to_list(), frame["identity"].to_list()
    assert keys[0] == keys[1] != keys[2] and len(set(identities)) == 3


def test_copies_stay_together_and_out_of_training(source, job_of):
    table = prepare(job_of(source, source.parent / "made", rows=4))
    frame = table.labelled().frame()
    for record in table.manifest.splits:
        split = split_of(table.labelled(), SplitSettings(record.kind, 0.1, 0.2, 0))
        train = set(frame["text_key"].gather(split.rows["train"]))
        held_out = {key for part in ("validation", "test") for key in frame["text_key"].gather(split.rows[part])}
        assert not train & held_out
        assert sum(map(len, split.rows.values())) + split.dropped == 30
    assert "random" in {record.kind for record in table.manifest.splits}


def of_time(table):
    return next(record for record in table.manifest.splits if record.kind == "unseen_time")


def test_cuts_stay_where_rows_are_appended(tmp_path, tweet_table, job_of, change, days):
    def write(height):
        texts = [f"text {chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(height)]
        write_table(tweet_table(date=days(height), content=texts), tmp_path / "t.csv")

    write(40)
    job = job_of(tmp_path / "t.csv", tmp_path / "made")
    first = of_time(prepare(job))
    write(60)
    grown = prepare(job)
    assert (of_time(grown).validation_from, of_time(grown).test_from) == (first.validation_from, first.test_from)
    assert of_time(grown).rows == {"train": 28, "validation": 4, "test": 28}
    fresh = prepare(replace(job, folder=tmp_path / "fresh"))
    assert of_time(fresh).test_from != first.test_from
    # The file may have another name, as exports of later months do; of other tweets the dates would mean nothing.
    shutil.copyfile(tmp_path / "t.csv", tmp_path / "u.csv")
    change(tmp_path / "u.csv", likes=pl.lit(4))
    assert of_time(prepare(replace(job, source=tmp_path / "u.csv"))).test_from == first.test_from
    change(tmp_path / "u.csv", username=pl.lit("another"))
    assert of_time(prepare(replace(job, source=tmp_path / "u.csv"))).test_from == of_time(fresh).test_from
    # Other shares are another split.
    assert of_time(prepare(replace(job, test=0.3))).test_from == days(60)[42].replace(" ", "T")


def test_a_split_that_the_rows_do_not_allow_is_left_out(tmp_path, tweet_table, job_of, days):
    write_table(tweet_table(rows=20, date=days(20)), tmp_path / "t.csv")  # one text, one company
    assert prepare(job_of(tmp_path / "t.csv", tmp_path / "made")).manifest.splits == []

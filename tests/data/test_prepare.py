"""Preparing a table: every row ends in one place, an interruption costs nothing, and a folder appears whole."""

import json
import multiprocessing
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from behavesim.data.manifest import Manifest
from behavesim.data.output import write_table
from behavesim.data.pictures.origins import ColumnPictures
from behavesim.data.prepare import prepare
from behavesim.data.prepared import PreparedTable, split_of
from behavesim.data.split import SplitSettings
from behavesim.data.table import BLANK
from behavesim.errors import UserError

START = datetime(2018, 1, 1)


def days(count, start=0):
    return [str(START + timedelta(days=start + i)) for i in range(count)]


def stamps_of(folder):
    """What tells a file that was written again from one that was left."""
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def source(tmp_path, tweet_table):
    """A table of 30 rows with copies of texts."""
    frame = tweet_table(
        date=days(30),
        likes=list(range(30)),
        content=[f"text {'abcdefghijkl'[i % 12] * 3}" for i in range(30)],
        username=[f"user {i % 7}" for i in range(30)],
        media=["[Video(thumbnailUrl='https://t/v.jpg', duration=3.5, views=7)]", "[]", "?"] * 10,
        **{"inferred company": [f"company {i % 6}" for i in range(30)]},
    )
    write_table(frame, tmp_path / "tweets.csv")
    return tmp_path / "tweets.csv"


def change(source, **columns):
    write_table(pl.read_csv(source).with_columns(**columns), source)


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
    assert values["options"]["pictures"] == "NoPictures" and values["options"]["size"] == 16
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


# --- again


def test_preparing_again_does_nothing(source, job_of):
    job = job_of(source, source.parent / "made")
    stamps = stamps_of(prepare(job).folder)
    source.touch()
    assert prepare(job).manifest.counts["rows"] == 30
    assert stamps_of(job.folder) == stamps


@pytest.mark.parametrize("name", ["source", "size", "test", "rows"])
def test_another_source_or_other_options_are_prepared_anew(source, job_of, name):
    job = job_of(source, source.parent / "made")
    first = stamps_of(prepare(job).folder)
    if name == "source":
        change(source, likes=pl.col("likes") + 1)
    elif name == "size":
        job = replace(job, pictures=replace(job.pictures, size=17))
    else:
        job = replace(job, **{"test": {"test": 0.3}, "rows": {"rows": 7}}[name])
    table = prepare(job)
    assert stamps_of(job.folder).keys() >= {job.folder / "manifest.json"} and stamps_of(job.folder) != first
    assert table.all().frame("likes")["likes"].to_list() == [i + (name == "source") for i in range(30)]
    assert not [path for path in source.parent.iterdir() if path.is_dir() and path != job.folder]


@dataclass(frozen=True)
class Interrupted(ColumnPictures):
    """Gives up after some parts."""

    parts: int = 0

    def find(self, rows):
        if int(rows["row"][0]) >= 2 + 7 * self.parts:
            raise KeyboardInterrupt
        return super().find(rows)


@pytest.fixture
def pictured(source, sample_source):
    """The table with pictures of the sample, some shared and one that is none."""
    names = sorted(path.name for path in (sample_source.parent / "images").iterdir())[:8]
    (source.parent / "images").mkdir()
    for name in names:
        shutil.copyfile(sample_source.parent / "images" / name, source.parent / "images" / name)
    (source.parent / "images" / "bad.png").write_text("no picture")
    cycle = [*(f"images/{name}" for name in names), f"images/{names[0]};images/{names[1]}", "images/bad.png", None]
    change(source, pictures=pl.Series([cycle[i % len(cycle)] for i in range(30)]))
    return source


@pytest.mark.parametrize("parts", [0, 1, 3])
def test_an_interrupted_preparation_goes_on(pictured, job_of, files_of, parts, caplog):
    folder = pictured.parent
    origin = ColumnPictures("pictures", folder)
    made = job_of(pictured, folder / "made", origin, rows=7)
    # The manifest names the origin's class, so the double takes the same name.
    double = type("ColumnPictures", (Interrupted,), {})("pictures", folder, parts=parts)
    with pytest.raises(KeyboardInterrupt):
        prepare(replace(made, origin=double))
    assert not made.folder.exists()
    partial = folder / ".made.partial"
    before = {path.relative_to(partial): stamp for path, stamp in stamps_of(partial).items()}
    rows = {path: stamp for path, stamp in before.items() if path.suffix == ".arrow"}
    assert len(rows) == 2 * parts
    caplog.set_level("INFO")
    table = prepare(made)
    assert "goes on" in caplog.text and not partial.exists()
    after = {path.relative_to(made.folder): stamp for path, stamp in stamps_of(made.folder).items()}
    assert rows.items() <= after.items()
    whole = prepare(job_of(pictured, folder / "whole", origin, rows=7))
    assert files_of(table.folder) == files_of(whole.folder)
    assert table.pictures > 8 and table.rejected().height > 1


@pytest.mark.parametrize("left", [0, 1, 4])
def test_an_interruption_while_reports_are_joined_loses_none(source, job_of, files_of, monkeypatch, left):
    change(source, likes=pl.lit(-1))
    job = job_of(source, source.parent / "made", rows=7)

    def remove(folder, **options):
        if folder.name != "rejected":
            return plain(folder, **options)
        for path in sorted(folder.iterdir())[left:]:
            path.unlink()
        raise KeyboardInterrupt

    plain = shutil.rmtree
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", remove)
        with pytest.raises(KeyboardInterrupt):
            prepare(job)
    assert prepare(job).rejected()["row"].to_list() == list(range(2, 32))
    assert files_of(job.folder) == files_of(prepare(job_of(source, source.parent / "whole", rows=7)).folder)


def test_a_beginning_of_another_source_is_thrown_away(pictured, job_of, files_of):
    folder, origin = pictured.parent, ColumnPictures("pictures", pictured.parent)
    made = job_of(pictured, folder / "made", origin, rows=7)
    with pytest.raises(KeyboardInterrupt):
        prepare(replace(made, origin=type("ColumnPictures", (Interrupted,), {})("pictures", folder, parts=2)))
    change(pictured, content=pl.lit("other"))
    whole = prepare(job_of(pictured, folder / "whole", origin, rows=7))
    assert files_of(prepare(made).folder) == files_of(whole.folder)


def test_a_picture_that_changed_is_prepared_anew(pictured, job_of):
    job = job_of(pictured, pictured.parent / "made", ColumnPictures("pictures", pictured.parent))
    count = prepare(job).manifest.counts["rejected"]
    first = min((pictured.parent / "images").iterdir())
    first.write_text("no longer a picture")
    assert prepare(job).manifest.counts["rejected"] > count


# --- what rows and pictures depend on


def test_views_reach_no_file(pictured, job_of, files_of):
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


def test_cuts_stay_where_rows_are_appended(tmp_path, tweet_table, job_of):
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
    # Of another file the dates would mean nothing.
    shutil.copyfile(tmp_path / "t.csv", tmp_path / "u.csv")
    change(tmp_path / "u.csv", likes=pl.lit(4))
    assert of_time(prepare(replace(job, source=tmp_path / "u.csv"))).test_from == of_time(fresh).test_from
    # Other shares are another split.
    assert of_time(prepare(replace(job, test=0.3))).test_from == days(60)[42].replace(" ", "T")


def test_a_split_that_the_rows_do_not_allow_is_left_out(tmp_path, tweet_table, job_of):
    write_table(tweet_table(rows=20, date=days(20)), tmp_path / "t.csv")  # one text, one company
    assert prepare(job_of(tmp_path / "t.csv", tmp_path / "made")).manifest.splits == []


# --- the place


@pytest.mark.parametrize("names", [["notes.txt"], ["manifest.json"], ["manifest.json", "rows/x"], None])
def test_a_folder_of_someone_else_is_not_replaced(source, job_of, files_of, names):
    folder = source.parent / "made"
    if names is None:
        folder.write_text("a file")
    for name in names or ():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text('{"name": "an app"}')
    before = files_of(source.parent)
    with pytest.raises(UserError, match=r"made: found other things than a prepared table; accepted: another name"):
        prepare(job_of(source, folder))
    assert files_of(source.parent).items() >= before.items()


def test_an_empty_folder_is_filled(source, job_of):
    (source.parent / "made").mkdir()
    assert len(prepare(job_of(source, source.parent / "made"))) == 30


@pytest.mark.parametrize("damage", ["", "{", '{"schema": 0}'])
def test_a_folder_of_another_version_is_replaced(source, job_of, damage):
    job = job_of(source, source.parent / "made")
    prepare(job)
    (job.folder / "manifest.json").write_text(damage)
    assert len(prepare(job)) == 30 == PreparedTable(job.folder).manifest.counts["rows"]


def test_a_source_that_fails_leaves_the_earlier_folder(source, job_of, files_of):
    job = job_of(source, source.parent / "made")
    before = files_of(prepare(job).folder)
    source.write_text("id\n1,2\n")
    with pytest.raises(UserError, match="cannot be read"):
        prepare(job)
    source.unlink()
    with pytest.raises(UserError, match=r"tweets\.csv: cannot be read: No such file"):
        prepare(job)
    assert files_of(job.folder) == before


def test_threads_prepare_one_folder_once(source, job_of, files_of):
    job = job_of(source, source.parent / "made", rows=3)
    with ThreadPoolExecutor(4) as threads:
        tables = list(threads.map(prepare, [job] * 4))
    assert [len(table.all().frame()) for table in tables] == [30] * 4
    assert files_of(job.folder) == files_of(prepare(replace(job, folder=source.parent / "whole")).folder)


def _rows_of(job):
    return len(prepare(job).all().frame())


def test_processes_prepare_one_folder_once(source, job_of):
    job = job_of(source, source.parent / "made", rows=3)
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.map(_rows_of, [job] * 2, chunksize=1) == [30, 30]
    assert not (source.parent / ".made.partial").exists()

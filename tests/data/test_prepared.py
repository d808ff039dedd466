"""Reading a prepared table: the same rows however they are asked for."""

import multiprocessing
import pickle
import shutil

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from behavesim.data import prepared
from behavesim.data.output import write_table
from behavesim.data.pictures.origins import ColumnPictures
from behavesim.data.prepare import prepare
from behavesim.data.prepared import PreparedTable
from behavesim.data.split import identity_hash, text_keys
from behavesim.data.table import read_table
from behavesim.data.tweets import with_media
from behavesim.errors import UserError

SCHEMA = {
    "row": pl.Int64,
    "id": pl.String,
    "date": pl.Datetime("us"),
    "likes": pl.Int64,
    "content": pl.String,
    "username": pl.String,
    "company": pl.String,
    "media": pl.List(pl.Struct({"kind": pl.String, "urls": pl.List(pl.String), "duration": pl.Float64})),
    "media_kind": pl.String,
    "media_count": pl.Int64,
    "duration": pl.Float64,
    "images": pl.List(pl.Int64),
    "identity": pl.Int64,
    "text_key": pl.Int64,
}


@pytest.fixture(scope="module")
def parted(sample_source, tmp_path_factory, job_of):
    """The sample in many parts, every fifth row without likes."""
    folder = tmp_path_factory.mktemp("parted")
    likes = pl.when(pl.int_range(pl.len()) % 5 > 0).then("likes")
    write_table(pl.read_csv(sample_source).with_columns(likes), folder / "t.csv")
    origin = ColumnPictures("local_path", sample_source.parent)
    return prepare(job_of(folder / "t.csv", folder / "made", origin, rows=7))


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(prepared, "CHUNK", 6)


def test_columns_have_their_names_and_types(sample_frame, parted):
    assert dict(sample_frame.schema) == SCHEMA == dict(parted.all().frame().schema)
    assert dict(parted.all()[:0].frame().schema) == SCHEMA


def test_rows_are_those_of_the_source(sample_source, sample_table, sample_frame):
    raw = with_media(pl.concat([chunk.frame for chunk in read_table(sample_source)]))
    same = [name for name in SCHEMA if name in raw.columns and name != "media"]
    assert_frame_equal(sample_frame.select(same), raw.select(same))
    assert_frame_equal(sample_frame.select("media"), raw.select(media="media_items"))
    assert (sample_frame["identity"].to_numpy() == identity_hash(raw)).all()
    assert (sample_frame["text_key"].to_numpy() == text_keys(raw)).all()
    assert len(sample_table) == 200 == sample_table.manifest.counts["rows"]


def test_parts_do_not_show(sample_frame, parted):
    frame = parted.all().frame()
    assert len(list((parted.folder / "rows").iterdir())) == 29
    assert_frame_equal(frame.drop("likes"), sample_frame.drop("likes"))
    assert frame["images"].explode().drop_nulls().to_list() == list(range(parted.pictures))


def test_labelled_rows_are_those_with_likes(parted):
    rows = parted.labelled()
    assert len(rows) == 160 == parted.manifest.counts["labelled"]
    assert_frame_equal(rows.frame(), parted.all().frame().drop_nulls("likes"))
    assert (rows.positions % 5 > 0).all()


def test_a_column_is_an_array(parted):
    frame = parted.all().frame()
    assert (parted.column("identity") == frame["identity"].to_numpy()).all()
    assert parted.column("identity").dtype == np.int64
    likes = parted.column("likes")
    assert np.array_equal(likes, frame["likes"].cast(pl.Float64).to_numpy(), equal_nan=True) and np.isnan(likes[0])


@pytest.mark.parametrize("columns", [(), ("likes",), ("text_key", "row"), ("images", "media")])
def test_chunks_are_the_frame(parted, small_chunks, columns):
    rows = parted.labelled()
    chunks = list(rows.chunks(*columns))
    assert [chunk.height for chunk in chunks] == [6] * 26 + [4]
    assert_frame_equal(pl.concat(chunks), rows.frame(*columns))
    expected = parted.all().frame()[rows.positions]
    assert_frame_equal(rows.frame(*columns), expected.select(columns or expected.columns))


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_any_choice_of_rows_gives_those_rows(parted, data):
    whole, size = parted.all().frame("row"), data.draw(st.integers(1, 50))
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=200, max_size=200)))
    bounds = data.draw(st.slices(200).filter(lambda part: part.step is None or part.step > 0))
    indices = np.flatnonzero(mask)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepared, "CHUNK", size)
        for chosen in (mask, bounds, indices):
            assert_frame_equal(parted.all()[chosen].frame("row"), whole[np.arange(200)[chosen]])
        twice = parted.all()[mask][bounds]
        assert twice.frame("row")["row"].to_list() == (np.arange(2, 202)[mask][bounds]).tolist()
    assert len(twice) == len(twice.positions)


def test_identities_follow_the_rows(parted):
    frame = parted.all().frame()
    assert (parted.all()[3::7].identities() == frame["identity"].to_numpy()[3::7]).all()


def test_pictures_are_bytes_that_are_not_copied(sample_table, sample_source, job_of):
    from behavesim.data.pictures.jpeg import to_jpeg

    files = sorted((sample_source.parent / "images").iterdir())
    assert len(files) == sample_table.pictures
    for index in (0, 100, 221):
        view = sample_table.jpeg(index)
        assert isinstance(view, memoryview) and view.readonly
        assert bytes(view) == to_jpeg(files[index].read_bytes(), size=64, quality=90, max_pixels=1_000_000)
    with pytest.raises(IndexError):
        sample_table.jpeg(222)


def _total(table):
    return len(table), int(table.column("likes").sum()), len(table.jpeg(5))


def test_a_copy_for_another_process_is_small_and_the_same(sample_table):
    found = _total(sample_table)  # maps everything
    sent = pickle.dumps(sample_table)
    assert len(sent) < 5000 and len(pickle.dumps(sample_table.all())) < 5000 + 8 * 200
    assert _total(pickle.loads(sent)) == found
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_total, (sample_table,)) == found


def test_a_table_of_rejected_rows_alone(tmp_path, tweet_table, job_of):
    write_table(tweet_table(likes=[-1, -2]), tmp_path / "t.csv")
    table = prepare(job_of(tmp_path / "t.csv", tmp_path / "made"))
    assert len(table) == len(table.all()) == len(table.labelled()) == table.pictures == 0
    assert dict(table.all().frame().schema) == SCHEMA and list(table.all().chunks()) == []
    assert table.all().frame("likes").columns == ["likes"]


def test_a_folder_that_is_absent_or_another_is_named(tmp_path):
    with pytest.raises(UserError, match=r"made: found no manifest.json; accepted: a folder that prepare wrote"):
        PreparedTable(tmp_path / "made")
    (tmp_path / "manifest.json").write_text('{"schema": 99}')
    with pytest.raises(UserError, match=r"manifest.json: found schema 99; accepted: 1, prepare the table again"):
        PreparedTable(tmp_path)
    for text in ("", "[]", "{}", '{"schema": 1}', "\x00", '{"schema": 1, "splits": [{}]}'):
        (tmp_path / "manifest.json").write_text(text)
        with pytest.raises(UserError, match=r"manifest.json: damaged \(.*\); accepted: one that prepare wrote"):
            PreparedTable(tmp_path)


@pytest.mark.parametrize("damage", ["cut", "empty", "no part", "one part less", "no folder"])
@pytest.mark.parametrize("part", ["rows", "images"])
def test_a_damaged_folder_is_named(parted, tmp_path, part, damage):
    folder = tmp_path / "copy"
    shutil.copytree(parted.folder, folder)
    file = folder / part / "00003.arrow"
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-100])
    elif damage == "empty":
        file.write_bytes(b"")
    elif damage == "one part less":
        file.unlink()
    else:
        shutil.rmtree(folder / part)
        if damage == "no part":
            (folder / part).mkdir()
    table = PreparedTable(folder)
    with pytest.raises(UserError, match=rf"copy/{part}: damaged \(.*\); accepted: what prepare wrote") as error:
        len(table) if part == "rows" else table.pictures
    assert "\n" not in str(error.value)

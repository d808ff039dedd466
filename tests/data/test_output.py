"""Tables are written whole or not at all, and text stays text."""

from datetime import datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from behavesim.data import output
from behavesim.data.output import check_output, write_table
from behavesim.errors import UserError

READERS = {".csv": pl.read_csv, ".xlsx": pl.read_excel, ".parquet": pl.read_parquet}
ENDINGS = pytest.mark.parametrize("ending", READERS)
FRAME = pl.DataFrame({"id": [1, 2], "content": ['a, "b"\nc', "é"], "likes": [0.5, 1e7]})


@ENDINGS
def test_round_trip_makes_the_folder_and_leaves_nothing_else(tmp_path, ending):
    path = tmp_path / "new" / "folder" / f"likes{ending}"
    write_table(FRAME, path)
    assert_frame_equal(READERS[ending](path), FRAME)
    assert list(path.parent.iterdir()) == [path]


@ENDINGS
def test_an_older_file_is_replaced_and_stays_readable_for_others(tmp_path, ending):
    path = tmp_path / f"likes{ending.upper()}"
    path.write_text("old")
    write_table(FRAME, path)
    assert_frame_equal(READERS[ending](path), FRAME)
    plain = tmp_path / "plain"
    plain.touch()
    assert path.stat().st_mode == plain.stat().st_mode


@ENDINGS
def test_an_empty_table_keeps_its_header(tmp_path, ending):
    write_table(FRAME.clear(), tmp_path / f"t{ending}")
    assert READERS[ending](tmp_path / f"t{ending}", **({"raise_if_empty": False} if ending == ".xlsx" else {})).columns


@ENDINGS
def test_a_failure_leaves_the_older_file_and_no_other(tmp_path, ending, monkeypatch):
    def fail(_frame, path):
        path.write_text("half")
        raise OSError(28, "No space left on device")

    path = tmp_path / f"likes{ending}"
    path.write_text("old")
    monkeypatch.setitem(output._WRITERS, ending, fail)
    with pytest.raises(UserError, match=rf"likes\{ending}: cannot be written: No space left"):
        write_table(FRAME, path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_excel_keeps_text_as_text(tmp_path):
    words = ["=1+1", "{=A1}", "http://a.b/" + "x" * 3000, "mailto:a@b.c", "12", "007", "+1", "-", "@x", "_x0041_"]
    write_table(pl.DataFrame({"content": words}), tmp_path / "t.xlsx")
    assert pl.read_excel(tmp_path / "t.xlsx", infer_schema_length=None)["content"].to_list() == words


plain_text = st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(plain_text.filter(lambda word: "\uffff" not in word and "\ufffe" not in word), min_size=1))
def test_excel_keeps_any_text(tmp_path_factory, words):
    path = tmp_path_factory.mktemp("text") / "t.xlsx"
    write_table(pl.DataFrame({"content": ["x", *words]}), path)
    assert pl.read_excel(path, infer_schema_length=None)["content"].to_list() == ["x", *words]


def test_excel_keeps_long_ids_dates_and_lists(tmp_path):
    when = datetime(2018, 7, 17, 22, 4, 26)
    frame = pl.DataFrame({"id": [1019341984543268866, 2], "date": [when, when], "images": [["a", "b"], []]})
    write_table(frame, tmp_path / "t.xlsx")
    back = pl.read_excel(tmp_path / "t.xlsx")
    assert back["id"].to_list() == ["1019341984543268866", "2"]
    assert back["date"].to_list() == [when, when]
    assert back["images"].to_list() == ["a;b", None]


@pytest.mark.parametrize(
    ("frame", "found"),
    [
        (pl.DataFrame({"content": ["x" * 32_768]}), "column content: found a text of 32768"),
        (pl.DataFrame({"likes": pl.zeros(1_048_576, eager=True)}), "found 1048576 rows"),
        (pl.DataFrame({"Likes": [1], "likes": [2]}), "found columns that differ in case only"),
    ],
)
def test_what_excel_cannot_hold_is_refused(tmp_path, frame, found):
    with pytest.raises(UserError, match=rf"t\.xlsx: {found}.*accepted: \.csv or \.parquet"):
        write_table(frame, tmp_path / "t.xlsx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("dtype", [pl.Int8, pl.UInt32, pl.UInt64, pl.Int128, pl.Float32])
def test_excel_takes_numbers_of_any_width(tmp_path, dtype):
    frame = pl.DataFrame({"likes": pl.Series([1, None, 100], dtype=dtype)})
    write_table(frame, tmp_path / "t.xlsx")
    assert pl.read_excel(tmp_path / "t.xlsx", drop_empty_rows=False)["likes"].to_list() == [1, None, 100]


@pytest.mark.parametrize("name", ["likes.txt", "likes", ".csv", "likes.xls"])
def test_unknown_extensions_are_refused(tmp_path, name):
    for act in (check_output, lambda path: write_table(FRAME, path)):
        with pytest.raises(UserError, match=r"accepted: \.xlsx, \.csv, \.parquet"):
            act(tmp_path / name)


def test_places_that_cannot_hold_a_file_are_refused_before_any_work(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(UserError, match="found a folder"):
        check_output(tmp_path / "folder.csv")
    with pytest.raises(UserError, match="is no folder that can be written to"):
        check_output(tmp_path / "file" / "likes.csv")
    check_output(tmp_path / "new" / "likes.csv")
    assert not (tmp_path / "new").exists()
    monkeypatch.setattr("os.access", lambda *_: False)  # a test run by root may write anywhere
    with pytest.raises(UserError, match="is no folder that can be written to"):
        check_output(tmp_path / "new" / "likes.csv")


def test_relative_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_table(FRAME, Path("likes.csv"))
    assert_frame_equal(pl.read_csv("likes.csv"), FRAME)

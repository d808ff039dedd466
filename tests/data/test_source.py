"""Raw rows of a file: the same in chunks of any size, numbered as a spreadsheet shows them."""

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from behavesim.data.output import write_table
from behavesim.data.source import CHUNK, blank_rows, read_source
from behavesim.errors import UserError

ENDINGS = pytest.mark.parametrize("ending", [".csv", ".xlsx", ".parquet"])
# No empty text: a csv file and a spreadsheet cannot tell it from a missing cell.
TEXT = st.text(alphabet='a1é"\n, ;-', min_size=1, max_size=8).filter(str.strip)
ROWS = st.lists(st.tuples(st.integers(-5, 10**6), st.none() | TEXT, st.none() | TEXT), min_size=1, max_size=12)


def numbered(frame):
    return frame.insert_column(0, pl.int_range(2, frame.height + 2, dtype=pl.Int64, eager=True).alias("row"))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ROWS, st.integers(1, 13))
def test_chunks_of_any_size_are_the_rows_of_the_file(tmp_path_factory, rows, size):
    folder = tmp_path_factory.mktemp("source")
    frame = pl.DataFrame(rows, schema={"id": pl.Int64, "content": pl.String, "media": pl.String}, orient="row")
    for ending in (".csv", ".xlsx", ".parquet"):
        write_table(frame, folder / f"t{ending}")
        chunks = list(read_source(folder / f"t{ending}", size))
        assert [chunk.height for chunk in chunks[:-1]] == [size] * (len(chunks) - 1)
        assert 1 <= chunks[-1].height <= size
        expected = frame if ending != ".csv" else frame.with_columns(pl.col("id").cast(pl.String))
        # A column without values has no type of its own in a spreadsheet.
        found = pl.concat(chunks).with_columns(pl.col("content", "media").cast(pl.String))
        assert_frame_equal(found, numbered(expected.clone()))


@ENDINGS
def test_a_file_of_more_than_one_chunk(tmp_path, ending):
    # Line ends inside quotes, wherever the file is cut for reading.
    height = 2 * CHUNK + 5
    frame = pl.DataFrame({"id": range(height), "content": ['a\n"b",\r\n\n' * (i % 9) + "z" for i in range(height)]})
    write_table(frame, tmp_path / f"t{ending}")
    chunks = list(read_source(tmp_path / f"t{ending}"))
    assert [chunk.height for chunk in chunks] == [CHUNK, CHUNK, 5]
    expected = frame if ending != ".csv" else frame.with_columns(pl.col("id").cast(pl.String))
    assert_frame_equal(pl.concat(chunks), numbered(expected))


def test_whole_numbers_of_a_spreadsheet_are_judged_by_the_whole_column(tmp_path):
    write_table(pl.DataFrame({"likes": [1.0, 2.0, 2.5]}), tmp_path / "t.xlsx")
    assert [chunk["likes"].dtype for chunk in read_source(tmp_path / "t.xlsx", 1)] == [pl.Float64] * 3
    write_table(pl.DataFrame({"likes": [1.0, 2.0, None]}), tmp_path / "t.xlsx")
    assert {chunk["likes"].dtype for chunk in read_source(tmp_path / "t.xlsx", 1)} == {pl.Int64}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.txt", b"", r"found \.txt; accepted: \.xlsx, \.csv, \.parquet"),
        ("t", b"", r"found no extension; accepted: \.xlsx, \.csv, \.parquet"),
        ("t.csv", None, "no such file"),
        ("t.csv", b"", "the file is empty"),
        ("t.csv", b"id\n", "holds no rows"),
        ("t.csv", b"id\n1,2\n", "cannot be read as .csv: row 2: found 2 cells; accepted: 1"),
        ("t.csv", b"id,a\n1,\xff\n", "cannot be read as .csv: invalid utf-8"),
        ("t.csv", b'id,a\n1,"x\n', "cannot be read as .csv: "),
        ("t.xlsx", b"PK\x03\x04 no", "cannot be read as .xlsx: "),
        ("t.parquet", b"PAR1 no PAR1", "cannot be read as .parquet: "),
        ("t.parquet", b"", "cannot be read as .parquet: |the file is empty"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        list(read_source(tmp_path / name))
    assert str(error.value).startswith(str(tmp_path / name)) and "\n" not in str(error.value)


def test_damage_behind_the_first_chunk_is_named_when_it_is_reached(tmp_path):
    (tmp_path / "t.csv").write_text("id,likes\n" + "1,2\n" * 50_000 + "1,2,3\n")
    chunks = read_source(tmp_path / "t.csv", 100)
    assert next(chunks).height == 100
    with pytest.raises(
        UserError, match=r"t\.csv: cannot be read as \.csv: row 50002: found 3 cells; accepted: 2, as in the header"
    ):
        list(chunks)


@pytest.mark.parametrize("name", ["t", "t.csv"])
def test_a_folder_is_refused(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(UserError, match="found a folder"):
        next(read_source(tmp_path / name))


@ENDINGS
def test_a_table_without_rows_is_refused(tmp_path, ending):
    write_table(pl.DataFrame(schema={"id": pl.Int64, "content": pl.String}), tmp_path / f"t{ending}")
    with pytest.raises(UserError, match="holds no rows"):
        list(read_source(tmp_path / f"t{ending}"))


@ENDINGS
def test_a_name_with_signs_of_patterns_is_a_name(tmp_path, ending):
    write_table(pl.DataFrame({"id": [1]}), tmp_path / f"a[1]*?{ending}")
    assert next(read_source(tmp_path / f"a[1]*?{ending}")).height == 1


def test_blank_rows_hold_nothing_but_their_number(tmp_path):
    (tmp_path / "t.csv").write_text("id,content\n\n7,x\n,\n \t,\n,0\n")
    chunks = list(read_source(tmp_path / "t.csv", 2))
    assert pl.concat(chunks)["row"].to_list() == [2, 3, 4, 5, 6]
    assert [value for chunk in chunks for value in blank_rows(chunk)] == [True, False, True, True, False]
    lists = pl.DataFrame({"row": [2, 3, 4], "likes": [None, 1, None], "images": [None, None, ["a"]]})
    assert blank_rows(lists).to_list() == [True, False, False]


def test_a_column_of_the_name_of_our_own_gives_way(tmp_path):
    write_table(pl.DataFrame({"row": [70], "id": [1]}), tmp_path / "t.csv")
    assert next(read_source(tmp_path / "t.csv")).rows() == [(2, "1")]

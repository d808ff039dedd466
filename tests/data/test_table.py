"""A table of tweets: what is read, what is refused, and what the message says."""

from datetime import datetime

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from behavesim.data.output import write_table
from behavesim.data.table import PUBLISHED_COLUMNS, BadRows, read_table
from behavesim.errors import UserError

ENDINGS = pytest.mark.parametrize("ending", [".csv", ".xlsx", ".parquet"])
WHEN = datetime(2018, 7, 17, 22, 4, 26)


def tweets(rows=1, **columns):
    """A valid table of `rows` tweets in which `columns` replace what they name."""
    height = max([rows, *(len(values) for values in columns.values())])
    valid = {
        "id": list(range(height)),
        "date": ["2018-07-17 22:04:26"] * height,
        "likes": [3] * height,
        "content": ["hello"] * height,
        "username": ["ann"] * height,
        "media": ["[]"] * height,
        "inferred company": ["acme"] * height,
    }
    return pl.DataFrame({**valid, **columns}, strict=False)


def read(folder, frame, name="tweets.csv", **options):
    write_table(frame, folder / name)
    return read_table(folder / name, **{"labelled": True, **options})


@ENDINGS
def test_a_table_is_read_under_fixed_names_and_types(tmp_path, ending):
    frame = tweets(
        content=['a "b",\nc\r\n', None],
        media=["[]", None],
        username=["ann", "12"],
        date=["2018-07-17 22:04:26"] * 2,
        **{"inferred company": ["acme", None], "extra": [1, 2]},
    )
    table = read(tmp_path, frame, f"tweets{ending.upper()}")
    expected = {
        "row": [2, 3],
        "id": [0, 1],
        "date": [WHEN] * 2,
        "likes": [3, 3],
        "content": ['a "b",\nc\r\n', ""],
        "username": ["ann", "12"],
        "company": ["acme", ""],
        "media": ["[]", ""],
        "images": [[], []],
    }
    schema = {"date": pl.Datetime("us"), "images": pl.List(pl.String)}
    assert_frame_equal(table.frame, pl.DataFrame(expected, schema_overrides=schema))
    assert (table.rows, table.rejected.height, table.source) == (2, 0, tmp_path / f"tweets{ending.upper()}")
    assert table.rejected.columns == ["row", "id", "column", "found", "reason"]


@ENDINGS
def test_short_name_of_company_and_optional_likes(tmp_path, ending):
    frame = tweets().rename({"inferred company": "company"}).drop("likes")
    table = read(tmp_path, frame, f"t{ending}", labelled=False)
    assert table.frame["company"].to_list() == ["acme"]
    assert table.frame["likes"].dtype == pl.Int64 and table.frame["likes"].to_list() == [None]


def test_all_missing_columns_are_named_with_close_matches(tmp_path):
    frame = tweets().rename({"likes": "Likes", "username": "user_name"}).drop("inferred company", "media")
    with pytest.raises(UserError) as error:
        read(tmp_path, frame)
    text = str(error.value)
    assert (
        "tweets.csv: no column likes (close: 'Likes'), username (close: 'user_name'), media, inferred company" in text
    )
    assert "found: 'id', 'date', 'Likes', 'content', 'user_name'; accepted: " + ", ".join(PUBLISHED_COLUMNS) in text
    assert "\n" not in text


def test_likes_are_required_only_of_a_labelled_table(tmp_path):
    with pytest.raises(UserError, match="no column likes"):
        read(tmp_path, tweets().drop("likes"))
    assert read(tmp_path, tweets(likes=[None]), labelled=False).frame["likes"].to_list() == [None]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.txt", b"", r"found \.txt; accepted: \.xlsx, \.csv, \.parquet"),
        ("t", b"", r"found no extension; accepted: \.xlsx, \.csv, \.parquet"),
        ("t.csv", None, "no such file"),
        ("t.csv", b"", "the file is empty"),
        ("t.csv", b"id\n1,2\n", "cannot be read as .csv: found more fields"),
        ("t.csv", b"id,a\n1,\xff\n", "cannot be read as .csv: invalid utf-8"),
        ("t.csv", b'id,a\n1,"x\n', "cannot be read as .csv: invalid csv file"),
        ("t.xlsx", b"PK\x03\x04 no", "cannot be read as .xlsx: "),
        ("t.parquet", b"PAR1 no PAR1", "cannot be read as .parquet: "),
        ("t.parquet", b"", "cannot be read as .parquet: |the file is empty"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        read_table(tmp_path / name, labelled=True)
    assert str(error.value).startswith(str(tmp_path / name)) and "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["t", "t.csv"])
def test_a_folder_is_refused(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(UserError, match="found a folder"):
        read_table(tmp_path / name, labelled=True)


@ENDINGS
def test_a_table_without_rows_is_refused(tmp_path, ending):
    with pytest.raises(UserError, match="holds no rows"):
        read(tmp_path, tweets().clear(), f"t{ending}")


def test_a_column_of_lists_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"column content: found List\(String\); accepted: text"):
        read(tmp_path, tweets(content=[["a"]]), "t.parquet")


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
def test_csv_with_and_without_mark_and_with_blank_lines(tmp_path, start):
    text = (
        "id,date,likes,content,username,media,company\n\n7,2018-07-17,3,é,ann,[],acme\n,,,,,,\n007,2018-07-17,4,,b,,\n"
    )
    (tmp_path / "t.csv").write_bytes(start + text.encode())
    table = read_table(tmp_path / "t.csv", labelled=True)
    assert table.frame["row"].to_list() == [3, 5] and table.rows == 2
    assert table.frame["id"].to_list() == ["7", "007"]
    assert table.frame["content"].to_list() == ["é", ""]


def test_a_name_with_signs_of_patterns_is_a_name(tmp_path):
    for name in ("a[1]*?.csv", "a[1]*?.xlsx", "a[1]*?.parquet"):
        assert read(tmp_path, tweets(), name).rows == 1


@pytest.mark.parametrize(
    ("likes", "found"),
    [("many", "many"), (-4, "-4"), (2.5, "2.5"), (float("inf"), "inf"), (-0.5, "-0.5"), (1e30, "1e+30")],
)
def test_bad_likes_are_an_error_that_names_row_and_cell(tmp_path, likes, found):
    frame = pl.concat([tweets(rows=15).cast({"likes": pl.String})] + [tweets(likes=[str(likes)])] * 3)
    if not isinstance(likes, str):
        frame = frame.cast({"likes": pl.Float64})
    for name in ("tweets.csv", "tweets.xlsx")[: 1 if found == "inf" else 2]:  # Excel knows no infinity
        with pytest.raises(BadRows) as error:
            read(tmp_path, frame, name)
        text = str(error.value)
        assert f"{name}, row 17, column likes: found {found}" in text and "\n" not in text
        accepted = "accepted: a whole number, 0 or more (3 such rows in all; data.on_bad_row=skip leaves them out)"
        assert text.endswith(accepted)
        assert error.value.rejected["row"].to_list() == [17, 18, 19]
    table = read(tmp_path, frame, on_bad_row="skip")
    assert (table.frame.height, table.rows, table.rejected["row"].to_list()) == (15, 18, [17, 18, 19])


def test_rows_without_likes_are_left_out_and_never_an_error(tmp_path):
    table = read(tmp_path, tweets(likes=[1, None, None], date=["2018-07-17", "2018-07-17", "?"]))
    assert table.frame["row"].to_list() == [2]
    assert table.rejected.filter(reason="no likes")["row"].to_list() == [3, 4]
    assert table.rejected.filter(column="date")["row"].to_list() == [4]


def test_an_excel_column_may_mix_dates_and_text(tmp_path):
    import xlsxwriter

    with xlsxwriter.Workbook(tmp_path / "t.xlsx", {"default_date_format": "yyyy-mm-dd hh:mm:ss"}) as workbook:
        sheet = workbook.add_worksheet()
        sheet.write_row(0, 0, PUBLISHED_COLUMNS)
        for row, (when, likes) in enumerate([(WHEN, "x"), ("2018-07-17T22:04:26Z", 12), (43000.5, 5)], start=1):
            sheet.write_row(row, 0, [row, when, likes, "hello", "ann", "[]", "acme"])
    table = read_table(tmp_path / "t.xlsx", labelled=True, on_bad_row="skip")
    assert table.frame.select("row", "date", "likes").rows() == [(3, WHEN, 12)]
    assert table.rejected.select("row", "column", "found").rows() == [(2, "likes", "x"), (4, "date", "43000.5")]


@pytest.mark.parametrize("name", [None, "", "  "])
def test_a_blank_username_is_a_problem(tmp_path, name):
    with pytest.raises(BadRows, match="row 3, column username: found nothing; accepted: an account name"):
        read(tmp_path, tweets(username=["ann", name]), "t.parquet")


def test_a_row_with_several_problems_has_a_line_for_each(tmp_path):
    table = read(tmp_path, tweets(likes=[1, -1], date=["2018-07-17", "?"], username=["a", ""]), on_bad_row="skip")
    assert table.rejected.select("row", "id", "column", "found").rows() == [
        (3, "1", "likes", "-1"),
        (3, "1", "date", "?"),
        (3, "1", "username", "nothing"),
    ]
    assert table.rows == 2 and table.frame.height == 1


cells = st.one_of(st.none(), st.sampled_from(["12", "-4", "2.5", "inf", "x", "", "2018-07-17", "2018-02-30", " ann "]))
some_tweets = st.lists(st.tuples(st.integers(1, 9), cells, cells, cells, cells), min_size=1, max_size=6).map(
    lambda rows: pl.DataFrame(
        rows,
        schema={**dict.fromkeys(("id", "date", "likes", "content", "username"), pl.String)},
        orient="row",
        strict=False,
    ).with_columns(pl.col("id").cast(pl.Int64), media=pl.lit("[]"), company=pl.lit("acme"))
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(some_tweets, st.booleans())
def test_the_format_changes_nothing_and_no_row_is_lost(tmp_path_factory, frame, labelled):
    folder = tmp_path_factory.mktemp("formats")
    tables = [
        read(folder, frame, name, labelled=labelled, on_bad_row="skip") for name in ("t.csv", "t.xlsx", "t.parquet")
    ]
    for table in tables:
        assert table.rows == frame.height == table.frame.height + table.rejected["row"].n_unique()
        assert_frame_equal(table.frame, tables[0].frame)
        assert_frame_equal(table.rejected, tables[0].rejected)
        assert table.frame["row"].is_sorted()
        assert not labelled or table.frame["likes"].null_count() == 0

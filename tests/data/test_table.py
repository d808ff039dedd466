"""A table of tweets: what is read, what is refused, and what the message says."""

from datetime import datetime

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from behavesim.data.output import write_table
from behavesim.data.table import BLANK, NO_IDS, PUBLISHED_COLUMNS, TableChunk, read_table
from behavesim.errors import UserError

ENDINGS = pytest.mark.parametrize("ending", [".csv", ".xlsx", ".parquet"])
WHEN = datetime(2018, 7, 17, 22, 4, 26)


def read_file(path, **options):
    """All chunks of a file as one."""
    chunks = list(read_table(path, **{"labelled": True, **options}))
    frame, problems = (pl.concat([getattr(chunk, name) for chunk in chunks]) for name in ("frame", "problems"))
    types = {chunk.id_type for chunk in chunks}
    return TableChunk(frame, problems, types.pop() if len(types) == 1 else types)


def read(folder, frame, name="tweets.csv", **options):
    write_table(frame, folder / name)
    return read_file(folder / name, **options)


@ENDINGS
def test_a_table_is_read_under_fixed_names_and_types(tmp_path, tweet_table, ending):
    frame = tweet_table(
        content=['a "b",\nc\r\n', None],
        media=["[]", None],
        username=["ann", "12"],
        date=["2018-07-17 22:04:26"] * 2,
        **{"inferred company": ["acme", None], "extra": [1, 2]},
    )
    table = read(tmp_path, frame, f"tweets{ending.upper()}")
    expected = {
        "row": [2, 3],
        "id": ["0", "1"],
        "date": [WHEN] * 2,
        "likes": [3, 3],
        "content": ['a "b",\nc\r\n', ""],
        "username": ["ann", "12"],
        "company": ["acme", ""],
        "media": ["[]", ""],
        "paths": [[], []],
    }
    schema = {"date": pl.Datetime("us"), "paths": pl.List(pl.String)}
    assert_frame_equal(table.frame, pl.DataFrame(expected, schema_overrides=schema))
    assert table.problems.is_empty() and table.problems.columns == ["row", "id", "column", "found", "reason"]
    assert table.id_type == "Int64"


@ENDINGS
def test_short_name_of_company_and_optional_likes(tmp_path, tweet_table, ending):
    frame = tweet_table().rename({"inferred company": "company"}).drop("likes")
    table = read(tmp_path, frame, f"t{ending}", labelled=False)
    assert table.frame["company"].to_list() == ["acme"]
    assert table.frame["likes"].dtype == pl.Int64 and table.frame["likes"].to_list() == [None]


def test_all_missing_columns_are_named_with_close_matches(tmp_path, tweet_table):
    frame = tweet_table().rename({"likes": "Likes", "username": "user_name"}).drop("inferred company", "media")
    with pytest.raises(UserError) as error:
        read(tmp_path, frame)
    text = str(error.value)
    assert (
        "tweets.csv: no column likes (close: 'Likes'), username (close: 'user_name'), media, inferred company" in text
    )
    assert "found: 'id', 'date', 'Likes', 'content', 'user_name'; accepted: " + ", ".join(PUBLISHED_COLUMNS) in text
    assert "\n" not in text


def test_likes_are_required_only_of_a_labelled_table(tmp_path, tweet_table):
    with pytest.raises(UserError, match="no column likes"):
        read(tmp_path, tweet_table().drop("likes"))
    assert read(tmp_path, tweet_table(likes=[None]), labelled=False).frame["likes"].to_list() == [None]


def test_a_column_of_lists_is_refused(tmp_path, tweet_table):
    with pytest.raises(UserError, match=r"column content: found List\(String\); accepted: text"):
        read(tmp_path, tweet_table(content=[["a"]]), "t.parquet")


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("rows", [1, 2, 9])
def test_csv_with_and_without_mark_and_with_blank_lines(tmp_path, start, rows):
    text = (
        "id,date,likes,content,username,media,company\n\n7,2018-07-17,3,é,ann,[],acme\n,,,,,,\n007,2018-07-17,4,,b,,\n"
    )
    (tmp_path / "t.csv").write_bytes(start + text.encode())
    table = read_file(tmp_path / "t.csv", rows=rows)
    assert table.frame["row"].to_list() == [3, 5]
    assert table.frame["id"].to_list() == ["7", "007"]
    assert table.frame["content"].to_list() == ["é", ""]
    assert table.problems.rows() == [(row, None, "row", "nothing", BLANK) for row in (2, 4)]


@pytest.mark.parametrize(
    ("ids", "name"),
    [(["1", None], "Int64"), (["1", "x"], "String"), (["007", "1"], "String"), ([None, None], NO_IDS)],
)
def test_the_type_of_ids_is_told(tmp_path, tweet_table, ids, name):
    assert read(tmp_path, tweet_table(id=ids)).id_type == name
    assert read(tmp_path, tweet_table(id=[1.5, None]), "t.parquet").id_type == "Float64"


def test_a_blank_row_has_no_say_in_the_type_of_ids(tmp_path, tweet_table):
    blank = dict.fromkeys(tweet_table().columns, "  ")
    rows = pl.concat([tweet_table().cast(pl.String), pl.DataFrame(blank)])
    assert read(tmp_path, rows).id_type == "Int64"


@pytest.mark.parametrize(
    ("likes", "found"),
    [("many", "many"), (-4, "-4"), (2.5, "2.5"), (float("inf"), "inf"), (-0.5, "-0.5"), (1e30, "1e+30")],
)
def test_bad_likes_are_a_problem_that_names_row_and_cell(tmp_path, tweet_table, likes, found):
    frame = pl.concat([tweet_table(rows=15).cast({"likes": pl.String})] + [tweet_table(likes=[str(likes)])] * 3)
    if not isinstance(likes, str):
        frame = frame.cast({"likes": pl.Float64})
    for name in ("tweets.csv", "tweets.xlsx")[: 1 if found == "inf" else 2]:  # Excel knows no infinity
        table = read(tmp_path, frame, name)
        assert table.frame["row"].to_list() == list(range(2, 17))
        assert table.problems.select("row", "column").rows() == [(row, "likes") for row in (17, 18, 19)]
        assert all(cell.removesuffix(".0") == found for cell in table.problems["found"])
        assert set(table.problems["reason"]) == {"accepted: a whole number, 0 or more"}


def test_rows_without_likes_are_usable(tmp_path, tweet_table):
    table = read(tmp_path, tweet_table(likes=[1, None, None], date=["2018-07-17", "2018-07-17", "?"]))
    assert table.frame.select("row", "likes").rows() == [(2, 1), (3, None)]
    assert table.problems.select("row", "column").rows() == [(4, "date")]


def test_an_excel_column_may_mix_dates_and_text(tmp_path):
    import xlsxwriter

    with xlsxwriter.Workbook(tmp_path / "t.xlsx", {"default_date_format": "yyyy-mm-dd hh:mm:ss"}) as workbook:
        sheet = workbook.add_worksheet()
        sheet.write_row(0, 0, PUBLISHED_COLUMNS)
        for row, (when, likes) in enumerate([(WHEN, "x"), ("2018-07-17T22:04:26Z", 12), (43000.5, 5)], start=1):
            sheet.write_row(row, 0, [row, when, likes, "hello", "ann", "[]", "acme"])
    table = read_file(tmp_path / "t.xlsx")
    assert table.frame.select("row", "date", "likes").rows() == [(3, WHEN, 12)]
    assert table.problems.select("row", "column", "found").rows() == [(2, "likes", "x"), (4, "date", "43000.5")]


@pytest.mark.parametrize("name", [None, "", "  "])
def test_a_blank_username_is_a_problem(tmp_path, tweet_table, name):
    table = read(tmp_path, tweet_table(username=["ann", name]), "t.parquet")
    assert table.problems.rows() == [(3, "1", "username", "nothing", "accepted: an account name")]


def test_a_row_with_several_problems_has_a_line_for_each(tmp_path, tweet_table):
    frame = tweet_table(likes=[1, -1], date=["2018-07-17", "?"], username=["a", ""])
    table = read(tmp_path, frame)
    assert table.problems.select("row", "id", "column", "found").rows() == [
        (3, "1", "likes", "-1"),
        (3, "1", "date", "?"),
        (3, "1", "username", "nothing"),
    ]
    assert table.frame.height == 1


def test_what_was_found_is_short_and_on_one_line(tmp_path, tweet_table):
    table = read(tmp_path, tweet_table(likes=[" many\n likes\t" + "x" * 200]), "t.parquet")
    assert table.problems["found"].to_list() == [("many likes " + "x" * 200)[:80]]


def test_an_unknown_image_column_is_an_error(tmp_path, tweet_table):
    message = r"no column picture \(close: 'pictures'\) \(image_column\); found: 'id'"
    with pytest.raises(UserError, match=message):
        read(tmp_path, tweet_table(pictures=["a.png"]), image_column="picture")


@ENDINGS
def test_paths_of_pictures_are_as_given(tmp_path, tweet_table, ending):
    cells = ["pics/a.png", " pics/a.png ; b c.png;", "", None, "/x/a.png"]
    table = read(tmp_path, tweet_table(pictures=cells), f"t{ending}", image_column="pictures")
    assert table.frame["paths"].to_list() == [["pics/a.png"], ["pics/a.png", "b c.png"], [], [], ["/x/a.png"]]


def test_paths_in_lists_keep_their_order_and_repeats(tmp_path, tweet_table):
    cells = [["b.png", "a.png", None, "b.png"], None, []]
    table = read(tmp_path, tweet_table(pictures=cells), "t.parquet", image_column="pictures")
    assert table.frame["paths"].to_list() == [["b.png", "a.png", "b.png"], [], []]


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
@given(some_tweets, st.booleans(), st.integers(1, 7))
def test_neither_format_nor_chunks_change_anything_and_no_row_is_lost(tmp_path_factory, frame, labelled, rows):
    folder = tmp_path_factory.mktemp("formats")
    names = ("t.csv", "t.xlsx", "t.parquet")
    tables = [read(folder, frame, name, labelled=labelled, rows=rows) for name in names]
    tables.append(read_file(folder / "t.csv", labelled=labelled))
    for table in tables:
        found = sorted([*table.frame["row"], *table.problems["row"].unique()])
        assert found == list(range(2, frame.height + 2))
        assert_frame_equal(table.frame, tables[0].frame)
        assert_frame_equal(table.problems, tables[0].problems)
        assert table.frame["row"].is_sorted() and table.problems["row"].is_sorted()

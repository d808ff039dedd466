"""What a command takes of a table: usable rows, and a word on the others."""

import polars as pl
import pytest
from omegaconf import OmegaConf

from behavesim import tables
from behavesim.data.output import write_table
from behavesim.errors import UserError

GOOD = {"date": "2018-07-17", "content": "hello", "username": "ann", "media": "[]", "company": "acme"}


@pytest.fixture
def given(tmp_path):
    """Prepares a table of these likes and pictures, and asks for its usable rows."""

    def ask(likes, *, on_bad_row="error", labelled=True, pictures=None, dates=None):
        cfg = OmegaConf.create(
            {
                "paths": {"data": str(tmp_path / "data"), "output": str(tmp_path / "out")},
                "data": {"on_bad_row": on_bad_row},
            }
        )
        columns = {"likes": likes, "pictures": pictures or [None] * len(likes)}
        frame = pl.DataFrame(columns, strict=False).with_columns(
            *(pl.lit(value).alias(name) for name, value in GOOD.items()), id=pl.int_range(pl.len())
        )
        if dates is not None:
            frame = frame.with_columns(date=pl.Series(dates))
        path = tmp_path / "tweets.csv"
        write_table(frame, path)
        column = "pictures" if pictures else None
        table = tables.prepared(cfg, path, image_column=column, image_size=16, labelled=labelled)
        return tables.usable(cfg, table, path, labelled=labelled)

    return ask


def listed(folder):
    return pl.read_csv(folder / "out" / "rejected_rows.csv", infer_schema=False)


@pytest.mark.parametrize(
    ("likes", "found"), [("many", "many"), ("-4", "-4"), ("2.5", "2.5"), ("inf", "inf"), ("1e30", "1e30")]
)
def test_bad_rows_are_an_error_that_names_the_first_of_them(given, tmp_path, likes, found):
    with pytest.raises(UserError) as error:
        given([*["3"] * 15, likes, likes, likes])
    text = str(error.value)
    assert f"tweets.csv, row 17, column likes: found {found}; accepted: a whole number, 0 or more" in text
    assert text.endswith("(3 such rows in all; data.on_bad_row=skip leaves them out)") and "\n" not in text
    assert listed(tmp_path)["row"].to_list() == ["17", "18", "19"]


def test_one_bad_row_is_one(given):
    with pytest.raises(UserError, match=r"\(1 such row in all; data.on_bad_row=skip leaves it out\)$"):
        given(["3", "x"])


def test_of_a_row_that_is_bad_twice_the_first_fault_is_named(given):
    with pytest.raises(UserError, match=r"row 3, column likes: found x; accepted: a whole number, 0 or more \(1 such"):
        given(["3", "x"], dates=["2018-07-17", "?"])


def test_bad_rows_are_left_out_where_that_is_wanted(given, tmp_path, caplog):
    caplog.set_level("INFO")
    rows = given(["3", "x", "4"], on_bad_row="skip")
    assert rows.frame("row")["row"].to_list() == [2, 4]
    assert listed(tmp_path).select("row", "column", "found").rows() == [("3", "likes", "x")]
    assert "tweets.csv: 1 of 3 rows cannot be used, see " in caplog.text


def test_rows_without_likes_are_left_out_and_never_an_error(given, tmp_path):
    assert given(["3", None, None]).frame("row")["row"].to_list() == [2]
    assert listed(tmp_path).rows() == [
        (row, id_, "likes", "nothing", "no likes") for row, id_ in (("3", "1"), ("4", "2"))
    ]
    assert len(given(["3", None, None], labelled=False)) == 3


def test_blank_rows_are_no_rows(given, tmp_path, monkeypatch):
    plain = tables.prepared

    def with_blank_rows(cfg, path, **options):
        path.write_text(path.read_text() + ",,,,,,,\n")
        return plain(cfg, path, **options)

    monkeypatch.setattr(tables, "prepared", with_blank_rows)
    assert len(given(["3", "4"])) == 2
    assert not (tmp_path / "out").exists()


def test_a_bad_picture_is_a_bad_row(given):
    with pytest.raises(UserError, match=r"row 3, column pictures: found a.png; no such file; accepted: a picture that"):
        given(["3", "4"], pictures=[None, "a.png"])


def test_a_table_without_one_usable_row_is_refused(given):
    with pytest.raises(UserError, match=r"tweets.csv: found 2 rows, none that can be used; accepted: at least one"):
        given([None, None])


def test_a_table_is_prepared_once_for_each_content(given, tmp_path):
    for likes in (["3"], ["3"], ["4"]):
        given(likes)
    assert len([path for path in (tmp_path / "data" / "cache").iterdir() if path.is_dir()]) == 2


def test_a_prepared_folder_is_taken_as_it_is(given, tmp_path):
    table = given(["3", "x", None], on_bad_row="skip").table
    cfg = OmegaConf.create({"paths": {"output": str(tmp_path / "other")}, "data": {"on_bad_row": "error"}})
    found = tables.prepared(cfg, table.folder, image_column=None, image_size=None, labelled=True)
    assert found.folder == table.folder
    assert tables.usable(cfg, found, table.folder, labelled=True).frame("row")["row"].to_list() == [2]
    with pytest.raises(UserError, match=r"data.image_column: found a with the prepared table .*; accepted: null"):
        tables.prepared(cfg, table.folder, image_column="a", image_size=None, labelled=True)
    with pytest.raises(UserError, match=r"data.image_size: found 8 with the prepared table .*; accepted: null"):
        tables.prepared(cfg, table.folder, image_column=None, image_size=8, labelled=True)

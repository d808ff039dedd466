"""The pictures that a table of tweets names: found beside it, opened once, or refused."""

from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from behavesim.data.output import write_table
from behavesim.data.table import BadRows, read_table
from behavesim.errors import UserError

VALID = {"date": "2018-07-17", "likes": 3, "content": "hello", "username": "ann", "media": "[]", "company": "acme"}


def tweets(pictures):
    return pl.DataFrame({"pictures": pictures}, strict=False).select(
        pl.int_range(pl.len()).alias("id"),
        *(pl.lit(value).alias(name) for name, value in VALID.items()),
        "pictures",
    )


def read(folder, frame, name="tweets.csv", image_column="pictures", **options):
    write_table(frame, folder / name)
    return read_table(folder / name, labelled=True, image_column=image_column, **options)


@pytest.fixture
def pictures(tmp_path):
    (tmp_path / "pics").mkdir()
    for name in ("a.png", "b c.png"):
        Image.new("RGB", (2, 2)).save(tmp_path / "pics" / name)
    (tmp_path / "pics" / "text.png").write_text("no picture")
    whole = (tmp_path / "pics" / "a.png").read_bytes()
    (tmp_path / "pics" / "cut.png").write_bytes(whole[: len(whole) // 2])
    return tmp_path


@pytest.mark.parametrize("ending", [".csv", ".xlsx", ".parquet"])
def test_pictures_are_resolved_against_the_folder_of_the_table(pictures, ending):
    absolute = str(pictures / "pics" / "a.png")
    cells = ["pics/a.png", " pics/a.png ; pics/b c.png;", "", None, absolute]
    table = read(pictures, tweets(cells), f"t{ending}")
    both = [absolute, str(pictures / "pics" / "b c.png")]
    assert table.frame["images"].to_list() == [both[:1], both, [], [], both[:1]]


def test_paths_are_absolute_for_a_relative_table(pictures, monkeypatch):
    monkeypatch.chdir(pictures)
    write_table(tweets(["pics/a.png"]), pictures / "t.csv")
    table = read_table(Path("t.csv"), labelled=True, image_column="pictures")
    assert table.frame["images"].to_list() == [[str(pictures / "pics" / "a.png")]]


def test_pictures_in_lists_keep_their_order_and_repeats(pictures):
    cells = [["pics/b c.png", "pics/a.png", None, "pics/b c.png"], None, []]
    table = read(pictures, tweets(cells), "t.parquet")
    names = ["b c.png", "a.png", "b c.png"]
    assert table.frame["images"].to_list() == [[str(pictures / "pics" / name) for name in names], [], []]


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("no.png", "no such file"),
        ("pics/text.png", "does not open"),
        ("pics/cut.png", "does not open"),
        ("pics", "open"),
    ],
)
def test_bad_pictures(pictures, cell, reason):
    frame = tweets(["pics/a.png", f"pics/a.png;{cell}", f"{cell};nul\0.png"])
    with pytest.raises(BadRows, match=rf"row 3, column pictures: found {cell}; .*{reason}.*\(2 such rows in all"):
        read(pictures, frame, "t.parquet")
    table = read(pictures, frame, "t.parquet", on_bad_row="skip")
    assert table.frame["row"].to_list() == [2]
    assert table.rejected["row"].to_list() == [3, 4, 4]


def test_each_picture_is_opened_once(pictures, monkeypatch):
    opened, plain_open = [], Image.open
    monkeypatch.setattr(Image, "open", lambda path: (opened.append(path), plain_open(path))[1])
    read(pictures, tweets(["pics/a.png", "pics/a.png;./pics/a.png"] * 5))
    assert len(opened) == 1


def test_an_unknown_image_column_is_an_error(tmp_path):
    with pytest.raises(UserError, match=r"no column picture \(close: 'pictures'\) \(data.image_column\); found: 'id'"):
        read(tmp_path, tweets(["a.png"]), image_column="picture")

"""Pictures that a table names in a column: found beside it, stored small, or the reason why their row is not used."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from behavesim.data.output import write_table
from behavesim.data.pictures.jpeg import to_jpeg
from behavesim.data.pictures.origins import ColumnPictures
from behavesim.data.prepare import prepare

ENDINGS = pytest.mark.parametrize("ending", [".csv", ".xlsx", ".parquet"])


@pytest.fixture
def pictures(tmp_path):
    """A folder with good and bad pictures."""
    (tmp_path / "pics").mkdir()
    for place, name in enumerate(("a.png", "b c.png", "large.png")):
        pixels = np.random.default_rng(place).integers(0, 256, (40, 60, 3), np.uint8)
        Image.fromarray(pixels).resize((200, 200) if place == 2 else (60, 40)).save(tmp_path / "pics" / name)
    (tmp_path / "pics" / "text.png").write_text("no picture")
    whole = (tmp_path / "pics" / "a.png").read_bytes()
    (tmp_path / "pics" / "cut.png").write_bytes(whole[: len(whole) // 2])
    return tmp_path


@pytest.fixture
def prepared(pictures, tweet_table, job_of):
    """Prepares a table whose column `pictures` holds the given cells."""

    def build(cells, name="t.csv", **options):
        write_table(tweet_table(pictures=cells), pictures / name)
        return prepare(job_of(pictures / name, pictures / "made", ColumnPictures("pictures", pictures), **options))

    return build


def jpeg_of(path):
    return to_jpeg(path.read_bytes(), size=16, quality=90, max_pixels=10_000)


@ENDINGS
def test_pictures_are_resolved_against_the_folder_of_the_table(pictures, prepared, ending):
    absolute = str(pictures / "pics" / "a.png")
    table = prepared(["pics/a.png", " pics/a.png ; pics/b c.png;", "", None, absolute], f"t{ending}")
    assert table.all().frame("images")["images"].to_list() == [[0], [0, 1], [], [], [0]]
    assert [bytes(table.jpeg(i)) for i in range(2)] == [
        jpeg_of(pictures / "pics" / name) for name in ("a.png", "b c.png")
    ]
    assert table.pictures == table.manifest.counts["pictures"] == 2
    assert table.manifest.counts["rejected"] == table.manifest.counts["missing_pictures"] == 0


def test_a_relative_table_is_prepared_alike(pictures, prepared, job_of, monkeypatch):
    whole = prepared(["pics/a.png"])
    monkeypatch.chdir(pictures)
    origin = ColumnPictures("pictures", Path("t.csv").absolute().parent)
    table = prepare(job_of(Path("t.csv"), Path("other"), origin))
    assert bytes(table.jpeg(0)) == bytes(whole.jpeg(0))


def test_pictures_in_lists_keep_their_order_and_repeats(prepared):
    table = prepared([["pics/b c.png", "pics/a.png", None, "pics/b c.png"], None, []], "t.parquet")
    assert table.all().frame("images")["images"].to_list() == [[0, 1, 0], [], []]


def test_places_count_on_from_part_to_part(pictures, prepared):
    table = prepared(["pics/a.png", "pics/b c.png", None, "pics/a.png;pics/b c.png", "pics/b c.png"], rows=2)
    lists = table.all().frame("images")["images"].to_list()
    assert lists == [[0], [1], [], [2, 3], [4]] and table.pictures == 5
    shown = [[bytes(table.jpeg(i)) for i in row] for row in lists]
    one, other = (jpeg_of(pictures / "pics" / name) for name in ("a.png", "b c.png"))
    assert shown == [[one], [other], [], [one, other], [other]]


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("no.png", "no such file"),
        ("pics/text.png", r"no picture \(found text\)"),
        ("pics/cut.png", "cut off after"),
        ("pics/large.png", "200 x 200 is over 0.01 megapixels"),
        ("pics", "cannot be read: Is a directory"),
        ("x" * 300, "cannot be read: File name too long"),
    ],
)
def test_a_bad_picture_rejects_its_row_and_says_why(prepared, cell, reason):
    table = prepared(["pics/a.png", f"pics/a.png;{cell}", f"{cell};nul\0.png", cell], "t.parquet", rows=3)
    assert table.all().frame("row")["row"].to_list() == [2]
    rejected = table.rejected()
    assert rejected["row"].to_list() == [3, 4, 5] and rejected["id"].to_list() == ["1", "2", "3"]
    assert rejected["column"].to_list() == ["pictures", "pictures | pictures", "pictures"]
    assert rejected["found"].to_list() == [cell, f"{cell} | nul\0.png", cell]
    accepted = "; accepted: a picture that exists and opens"
    for row in (0, 2):
        assert rejected["reason"].str.contains(f"^{reason}.*{accepted}$")[row]
    assert rejected["reason"].str.contains(rf"\| cannot be read: embedded null byte{accepted}$")[1]
    assert table.manifest.counts == {
        "source_rows": 4,
        "rows": 1,
        "labelled": 1,
        "pictures": 1,
        "rejected": 3,
        "missing_pictures": 0,
    }


def test_a_row_that_is_bad_twice_is_one_line(pictures, tweet_table, job_of):
    frame = tweet_table(likes=[-1, 2], pictures=["no.png", "no.png"])
    write_table(frame, pictures / "t.csv")
    origin = ColumnPictures("pictures", pictures)
    rejected = prepare(job_of(pictures / "t.csv", pictures / "made", origin)).rejected()
    # The pictures of a row that is not used are not looked for.
    assert rejected.select("row", "column").rows() == [(2, "likes"), (3, "pictures")]


def test_each_file_is_opened_once(pictures, prepared, monkeypatch):
    opened, plain = [], Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: (opened.append(path), plain(path))[1])
    table = prepared(["pics/a.png", "pics/a.png;./pics/a.png"] * 5)
    assert opened == [pictures / "pics" / "a.png"] and table.pictures == 1


def test_every_picture_is_a_small_jpeg(sample_table, sample_frame):
    shapes = set()
    for index in range(sample_table.pictures):
        with Image.open(BytesIO(sample_table.jpeg(index))) as picture:
            assert picture.format == "JPEG" and picture.mode == "RGB"
            shapes.add(min(picture.size))
    assert max(shapes) <= 64
    assert sorted(sample_frame["images"].explode().drop_nulls()) == list(range(sample_table.pictures))

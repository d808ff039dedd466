"""Where pictures of tweets are found, and how the places are told apart."""

import os

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from behavesim.data.output import write_table
from behavesim.data.pictures.origins import ColumnPictures, FolderPictures, NoPictures, PictureFile, link_stem
from behavesim.data.prepare import prepare
from behavesim.errors import UserError

LINK = "https://t/media/{}?format=jpg&name={}"


def photos(*names):
    items = [f"Photo(previewUrl='{LINK.format(n, 'small')}', fullUrl='{LINK.format(n, 'large')}')" for n in names]
    return f"[{', '.join(items)}]"


def names_of(found):
    return [[file.path and file.path.name for file in row] for row in found]


def test_nothing_is_found_nowhere(tmp_path, tweet_table, rows_of):
    rows = rows_of(tweet_table(media=[photos("a"), "[]"]), tmp_path / "t.csv")
    assert NoPictures().find(rows) == [[], []] and NoPictures().digest(tmp_path) == ""
    assert not NoPictures().strict and not NoPictures().retry


# --- a column of paths


def test_paths_of_a_column_stand_beside_the_table_unless_they_are_absolute(tmp_path, tweet_table, rows_of):
    frame = tweet_table(pictures=["a.png; sub/b.png", None, "/x/c.png"])
    origin = ColumnPictures("pictures", tmp_path)
    found = origin.find(rows_of(frame, tmp_path / "t.csv", "pictures"))
    assert [[(file.origin, str(file.path)) for file in row] for row in found] == [
        [("a.png", f"{tmp_path}/a.png"), ("sub/b.png", f"{tmp_path}/sub/b.png")],
        [],
        [("/x/c.png", "/x/c.png")],
    ]
    assert origin.strict and not origin.retry


def test_the_digest_of_a_column_follows_its_files(tmp_path, tweet_table):
    for name in ("a.png", "other.png"):
        (tmp_path / name).write_text("one")
    write_table(tweet_table(pictures=["a.png;b.png", "a.png", "nul\0.png", "y" * 400]), tmp_path / "t.parquet")
    origin, seen = ColumnPictures("pictures", tmp_path), []

    def changed():
        seen.append(origin.digest(tmp_path / "t.parquet"))
        assert origin.digest(tmp_path / "t.parquet") == seen[-1]
        return seen.count(seen[-1]) == 1

    assert changed()
    (tmp_path / "other.png").write_text("another")
    assert not changed()
    (tmp_path / "a.png").write_text("longer")
    assert changed()
    os.utime(tmp_path / "a.png", (1, 1))
    assert changed()
    (tmp_path / "b.png").write_text("there now")
    assert changed()


# --- a folder


def test_files_of_a_folder_belong_to_ids_or_links(tmp_path, tweet_table, picture_folder, rows_of):
    media = [photos("EabcDef"), "[]", photos("Second", "EabcDef"), photos("gone", "Second"), "[]"]
    found = FolderPictures(picture_folder).find(rows_of(tweet_table(media=media), tmp_path / "t.csv"))
    assert names_of(found) == [
        ["0.png"],  # the id comes first
        ["1_1.png", "1_2.png", "1_10.png"],
        ["Second.png", "EabcDef.png"],
        [None, "Second.png"],
        [],
    ]
    lost = found[3][0]
    assert lost.origin == LINK.format("gone", "large")
    assert lost.reason == f"no file of its id or link in {picture_folder}"


def test_an_item_without_a_link_is_a_loss_too(tmp_path, tweet_table, picture_folder, rows_of):
    found = FolderPictures(picture_folder).find(rows_of(tweet_table(id=[50], media=["[Photo()]"]), tmp_path / "t.csv"))
    assert found == [[PictureFile("", None, f"no file of its id or link in {picture_folder}")]]


def test_a_later_link_of_an_item_is_as_good(tmp_path, tweet_table, picture_folder, rows_of):
    media = "[Photo(previewUrl='https://t/EabcDef.jpg', fullUrl='https://t/large/gone.jpg')]"
    found = FolderPictures(picture_folder).find(rows_of(tweet_table(id=[50], media=[media]), tmp_path / "t.csv"))
    assert names_of(found) == [["EabcDef.png"]]


def test_a_picture_comes_before_other_files_of_its_name(tmp_path, tweet_table, picture_folder, rows_of):
    for name in ("0.mp4", "0.txt", "0"):
        (picture_folder / name).write_text("no picture")
    found = FolderPictures(picture_folder).find(rows_of(tweet_table(), tmp_path / "t.csv"))
    assert names_of(found) == [["0.png"]]


def test_missing_pictures_are_listed_and_their_rows_stay(tmp_path, tweet_table, picture_folder, job_of):
    (picture_folder / "3.png").write_text("no picture")
    media = [photos("EabcDef"), "[]", photos("gone", "Second"), "[]", photos("EabcDef")]
    write_table(tweet_table(media=media), tmp_path / "t.csv")
    table = prepare(job_of(tmp_path / "t.csv", tmp_path / "made", FolderPictures(picture_folder), rows=2))
    assert table.manifest.counts["rows"] == 5 and table.manifest.counts["missing_pictures"] == 2
    missing = pl.read_parquet(table.folder / "missing_pictures.parquet")
    assert missing.rows() == [
        (4, 1, LINK.format("gone", "large"), f"no file of its id or link in {picture_folder}"),
        (5, 1, str(picture_folder / "3.png"), "no picture (found text)"),
    ]
    images = table.all().frame("images")["images"]
    assert images.list.len().to_list() == [1, 3, 1, 0, 1]
    assert images.explode().drop_nulls().to_list() == list(range(6))


def test_the_digest_of_a_folder_follows_its_files(tmp_path, picture_folder):
    digest = FolderPictures(picture_folder).digest(tmp_path)
    assert FolderPictures(picture_folder).digest(tmp_path) == digest
    (picture_folder / "more" / "1_1.png").write_text("longer now")
    changed = FolderPictures(picture_folder).digest(tmp_path)
    (picture_folder / "more" / "new.png").write_text("")
    assert len({digest, changed, FolderPictures(picture_folder).digest(tmp_path)}) == 3


@pytest.mark.parametrize("name", ["gone", "file"])
def test_what_is_no_folder_is_named(tmp_path, name):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=rf"images_dir: found .*{name}, which is no folder"):
        FolderPictures(tmp_path / name)


@pytest.mark.parametrize(
    ("url", "stem"),
    [
        ("https://pbs.example/media/EabcDef?format=jpg&name=large", "EabcDef"),
        ("https://pbs.example/media/EabcDef.jpg", "EabcDef"),
        ("https://pbs.example/media/EabcDef.jpg:large", "EabcDef"),
        ("a.b.png", "a.b"),
        ("http://[x", ""),
        ("", ""),
    ],
)
def test_the_name_that_a_link_gives(url, stem):
    assert link_stem(url) == stem


@given(st.text())
def test_any_text_gives_a_name_or_none(text):
    assert "/" not in link_stem(text)

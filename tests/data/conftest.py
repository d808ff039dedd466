"""Small tables of tweets, and their preparation."""

import shutil
from datetime import datetime, timedelta

import polars as pl
import pytest
from PIL import Image

from behavesim.data.output import write_table
from behavesim.data.parts import PictureSettings
from behavesim.data.pictures.origins import NoPictures
from behavesim.data.prepare import Job
from behavesim.data.table import read_table
from behavesim.data.tokenizer import train_tokenizer
from behavesim.data.tweets import with_media

VALID = {
    "date": "2018-07-17 22:04:26",
    "likes": 3,
    "content": "hello",
    "username": "ann",
    "media": "[]",
    "inferred company": "acme",
}
PICTURES = PictureSettings(size=16, quality=90, max_pixels=10_000)


def table_of(rows=1, **columns):
    """A valid table of `rows` tweets in which `columns` replace what they name."""
    height = max([rows, *(len(values) for values in columns.values())])
    valid = {"id": list(range(height)), **{name: [value] * height for name, value in VALID.items()}}
    return pl.DataFrame({**valid, **columns}, strict=False)


def tweets_job(source, folder, origin=None, **options):
    """One preparation, without pictures unless `origin` gives some."""
    return Job(source, folder, origin or NoPictures(), PICTURES, **options)


@pytest.fixture(scope="session")
def tweet_table():
    """See `table_of`."""
    return table_of


@pytest.fixture(scope="session")
def job_of():
    """See `tweets_job`."""
    return tweets_job


@pytest.fixture(scope="session")
def files_of():
    """Bytes of every file below a folder, by its path there."""

    def read(folder):
        found = sorted(path for path in folder.rglob("*") if path.is_file())
        return {str(path.relative_to(folder)): path.read_bytes() for path in found}

    return read


def dates(count, start=0):
    """One date a day."""
    return [str(datetime(2018, 1, 1) + timedelta(days=start + i)) for i in range(count)]


@pytest.fixture(scope="session")
def days():
    """See `dates`."""
    return dates


def rewrite(path, **columns):
    """Writes a file's table again with `columns` in place of what they name."""
    write_table(pl.read_csv(path).with_columns(**columns), path)


@pytest.fixture(scope="session")
def change():
    """See `rewrite`."""
    return rewrite


@pytest.fixture
def source(tmp_path):
    """A table of 30 rows with copies of texts."""
    frame = table_of(
        date=dates(30),
        likes=list(range(30)),
        content=[f"text {'abcdefghijkl'[i % 12] * 3}" for i in range(30)],
        username=[f"user {i % 7}" for i in range(30)],
        media=["[Video(thumbnailUrl='https://t/v.jpg', duration=3.5, views=7)]", "[]", "?"] * 10,
        **{"inferred company": [f"company {i % 6}" for i in range(30)]},
    )
    write_table(frame, tmp_path / "tweets.csv")
    return tmp_path / "tweets.csv"


@pytest.fixture
def pictured(source, sample_source):
    """The table with pictures of the sample, some shared and one that is none."""
    names = sorted(path.name for path in (sample_source.parent / "images").iterdir())[:8]
    (source.parent / "images").mkdir()
    for name in names:
        shutil.copyfile(sample_source.parent / "images" / name, source.parent / "images" / name)
    (source.parent / "images" / "bad.png").write_text("no picture")
    cycle = [*(f"images/{name}" for name in names), f"images/{names[0]};images/{names[1]}", "images/bad.png", None]
    rewrite(source, pictures=pl.Series([cycle[i % len(cycle)] for i in range(30)]))
    return source


@pytest.fixture
def picture_folder(tmp_path):
    """Holds files of ids and of links, some in a folder of their own."""
    (tmp_path / "pictures" / "more").mkdir(parents=True)
    for place, name in enumerate(
        ("0.png", "1_2.png", "1_10.png", "more/1_1.png", "EabcDef.png", "more/Second.png", "7.png", "4_x.png")
    ):
        Image.new("RGB", (20, 20), (10 * place, 0, 0)).save(tmp_path / "pictures" / name)
    return tmp_path / "pictures"


@pytest.fixture(scope="session")
def rows_of():
    """What an origin's `find` is given: a table, written to a file and read from it."""

    def rows(frame, path, column=None):
        write_table(frame, path)
        return with_media(next(read_table(path, image_column=column)).frame)

    return rows


@pytest.fixture(scope="module")
def frame(sample_frame):
    """Rows of the sample, prepared."""
    return sample_frame


@pytest.fixture(scope="session")
def vocabulary():
    """Tokens of `tokenizer` at most."""
    return 400


@pytest.fixture(scope="module")
def tokenizer(frame, vocabulary):
    """Learned from the texts of `frame`."""
    return train_tokenizer(frame["content"], vocabulary)

"""Small tables of tweets, and their preparation."""

import polars as pl
import pytest

from behavesim.data.parts import PictureSettings
from behavesim.data.pictures.origins import NoPictures
from behavesim.data.prepare import Job

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

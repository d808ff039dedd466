"""Small tables of tweets, and their preparation."""

import shutil
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from types import SimpleNamespace

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from PIL import Image

from behavesim.data.batch import VIEWED
from behavesim.data.datamodule import TweetDataModule
from behavesim.data.encoder_fit import EncoderSettings
from behavesim.data.gp.kernel import Points
from behavesim.data.gp.process import GaussianProcess
from behavesim.data.loader import LoaderSettings
from behavesim.data.output import write_table
from behavesim.data.parts import PictureSettings
from behavesim.data.pictures.origins import NoPictures
from behavesim.data.pictures.readers import Blind
from behavesim.data.prepare import Job, prepare
from behavesim.data.prepared import PreparedTable
from behavesim.data.split import SplitSettings
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


@pytest.fixture(scope="session")
def taught():
    """Gives an encoder a process of the rows of a frame, which it then remembers."""

    def teach(encoder, frame):
        posts = encoder.posts([frame])
        points = Points.of(posts.posts, posts.numbers, encoder.features.count)
        return replace(encoder, process=GaussianProcess.fit(points, posts.logs), memory=posts)

    return teach


def tied_tweets(seed, rows=60):
    """Tweets of a few accounts at few instants, so that ties are within accounts, companies and beyond them."""
    random = np.random.default_rng(seed)
    companies = [f"company {number}" for number in random.integers(0, 3, rows)]
    instants = [datetime(2020, 1, 1) + timedelta(days=int(day)) for day in np.sort(random.integers(0, 400, 15))]
    words = [f"w{chr(97 + number)}{'xyz'[number % 3]}" for number in range(26)]
    return table_of(
        date=[str(instants[at]) for at in random.integers(0, len(instants), rows)],
        likes=np.floor(np.exp(random.normal(4, 2, rows))).astype(np.int64),
        content=[" ".join(random.choice(words, random.integers(4, 12))) for _ in range(rows)],
        # One account in ten tweets for another company too.
        username=[f"{'any' if random.random() < 0.1 else name} {random.integers(2)}" for name in companies],
        media=random.choice(["[]", "[Photo(previewUrl='a', fullUrl='b')]"], rows),
        **{"inferred company": companies},
    )


@dataclass(frozen=True)
class Seen:
    """What a model is told of a row in one view, as bytes, the answer left out."""

    itself: bytes
    posts: bytes
    process: bytes

    def same(self, other, *, close):
        """Whether the other is equal, in what the process says but for rounding where that is allowed."""
        near = close and np.allclose(*(np.frombuffer(seen.process, np.float32) for seen in (self, other)), 0, 1e-5)
        return self == (replace(other, process=self.process) if near else other)


def seen_in(encoded):
    """A `Seen` of each row and view."""

    def of(row, view):
        prompt = encoded.text(row)[: encoded.lengths[row] - encoded.answer_length[row]]
        told = {name: getattr(encoded, name)[row, view].tobytes() for name in VIEWED}
        posts, process = told["history"] + told["history_valid"], told["prior"] + told["statistics"]
        return Seen(prompt.tobytes() + encoded.features[row].tobytes(), posts, process)

    return [[of(row, view) for view in range(encoded.prior.shape[1])] for row in range(len(encoded))]


@pytest.fixture(scope="session")
def label_world(tmp_path_factory):
    """By seed, mode and kind of split: a module, and `told` for other likes under the encoder of that module."""

    @cache
    def make(seed, mode, kind="random", answer_tokens=0):
        folder = tmp_path_factory.mktemp("leaks")
        write_table(tied_tweets(seed), folder / "t.csv")
        table = prepare(tweets_job(folder / "t.csv", folder / "made"))
        frame, likes = table.all().frame(), table.column("likes")
        split, loading = SplitSettings(kind, 0.25, 0.25, seed), LoaderSettings(600, num_workers=0, frames=0)
        encoding = EncoderSettings("ours", 64, answer_tokens, None, 400, True, 3, history_text=True, text_summary=4)

        def module(likes):
            changed, place = PreparedTable(table.folder), table._rows.column_names.index("likes")
            vars(changed)["_rows"] = table._rows.set_column(place, "likes", pa.chunked_array([pa.array(likes)]))
            options = {"split": split, "seed": 0, "folder": tmp_path_factory.mktemp("encoded"), "history": mode}
            return TweetDataModule(changed.labelled(), Blind(), loading, encoding, **options)

        def told(likes):
            other = module(likes)
            vars(other)["encoder"] = data.encoder
            return {part: seen_in(other.encoded[part]) for part in other.parts}

        data, times = module(likes), frame["date"].dt.epoch("us").to_numpy()
        facts = {"data": data, "frame": frame, "times": times, "likes": likes, "was": told(likes)}
        return SimpleNamespace(**facts, told=told, seen=seen_in)

    return make

"""The built-in synthetic data set: tweets of invented accounts, whose likes follow a process that is known exactly.

Because the process is known, so is the error that no model can beat (`noise_floor`), and how much of the variance the
account, the time, the wording and the picture hold.
"""

import json
import logging
import math
import shutil
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from filelock import FileLock

from behavesim.data.sample_pictures import PALETTES, SUBJECTS, draw_picture
from behavesim.data.sample_text import CUES, MAX_CUES, TOPICS, write_media, write_text
from behavesim.errors import UserError

log = logging.getLogger(__name__)

SAMPLE_VERSION = 1
NOISE_SIGMA = 0.5  # of log(1 + likes), before rounding

START, DAYS = datetime(2018, 1, 1), 3 * 365 + 1  # three years, one of them a leap year; the first day is a Monday
BASE = math.log(60.0)
COMPANY_SD, ACCOUNT_SD = 0.6, 1.1
TREND, HOUR_AMPLITUDE, BEST_HOUR = 0.5, 0.25, 19.0
WEEKDAY = np.array([-0.15, -0.05, 0.0, 0.05, 0.1, 0.15, -0.1])  # Monday first
MEDIA = {"none": -0.3, "photo": 0.0, "photos": 0.1, "video": 0.3, "gif": 0.15}
MEDIA_SHARE = (0.12, 0.55, 0.13, 0.14, 0.06)
MISSING_PICTURE = 0.05  # of the tweets with media
PALETTE_EFFECT = {"warm": 0.53, "cold": -0.53}
SUBJECT_EFFECT = {"face": 0.28, "sun": 0.08, "chart": -0.08, "text": -0.28}

SUFFIXES = ("", "_studio", "_daily", "_support")  # accounts of a company: the first four have all, the others three
README = f"""# Synthetic tweets

Everything here is invented by a program: no company, account, text or picture is real.

log(1 + likes) is the sum of log 60, a level of the company and one of the account (most of the variance), a slow rise
of {TREND} over the three years, the hour (best about {BEST_HOUR:.0f}:00), the weekday, the kind of media, cue words
({", ".join(repr(cue.sign) for cue in CUES)}),
what the first picture shows (a warm or a cold palette; one of {", ".join(SUBJECTS)}),
and normal noise of standard deviation {NOISE_SIGMA}. Likes are rounded, and never below 0. Pictures are drawn
independently of all else; without a picture file there is no picture effect. Views of a video follow from its likes:
they are an outcome, not an input.

`oracle.parquet` holds each part of that sum, and the mean and standard deviation of log(1 + likes) given all but the
noise. It is for checking models, never for training them.
"""


def _levels(rng: np.random.Generator, count: int, spread: float) -> np.ndarray:
    """Return [count] levels of mean 0 and exactly this spread, so that every seed has the same variance shares."""
    drawn = rng.standard_normal(count)
    return (drawn - drawn.mean()) / drawn.std() * spread


def _accounts(rng: np.random.Generator) -> pl.DataFrame:
    """Return one row per account, 40 in all: its names and the levels of its company and of itself."""
    levels = _levels(rng, len(TOPICS), COMPANY_SD)
    rows = [
        (name, name + suffix, float(level))
        for place, (name, level) in enumerate(zip(TOPICS, levels, strict=True))
        for suffix in (SUFFIXES if place < 4 else SUFFIXES[:3])
    ]
    frame = pl.DataFrame(rows, schema=["inferred company", "username", "company"], orient="row")
    # Centred within the company, so that the two levels do not overlap by chance.
    frame = frame.with_columns(account=rng.standard_normal(frame.height))
    frame = frame.with_columns(pl.col("account") - pl.col("account").mean().over("company"))
    return frame.with_columns(pl.col("account") * (ACCOUNT_SD / pl.col("account").std(ddof=0)))


def _draw_posts(rng: np.random.Generator, rows: int) -> pl.DataFrame:
    """Draw everything that a tweet's likes depend on, but the noise; `cues` is [rows, cues] of bool."""
    accounts = _accounts(rng)
    weights = rng.dirichlet(np.full(accounts.height, 8.0))
    kinds = rng.choice(list(MEDIA), rows, p=MEDIA_SHARE)
    items = np.select([kinds == "none", kinds == "photos"], [0, rng.integers(2, 5, rows)], 1)
    scores = rng.random((rows, len(CUES))) / [cue.share for cue in CUES]
    cues = (scores < 1.0) & (scores.argsort(1).argsort(1) < MAX_CUES)
    return accounts[rng.choice(accounts.height, rows, p=weights)].with_columns(
        id=pl.int_range(1, rows + 1),
        # No second twice: (username, date, content) is then unique whatever the texts are.
        second=pl.Series(rng.choice(DAYS * 86400, rows, replace=False)),
        kind=pl.Series(kinds),
        items=pl.Series(items),
        pictures=pl.Series(np.where(rng.random(rows) < MISSING_PICTURE, 0, items)),
        palette=pl.Series(rng.choice(list(PALETTES), rows)),
        subject=pl.Series(rng.choice(list(SUBJECTS), rows)),
        cues=pl.Series(cues),
    )


def _components(posts: pl.DataFrame) -> pl.DataFrame:
    """Return the parts that add up to mu, one column each, [rows, parts]."""
    day = posts["second"].to_numpy() / 86400.0
    shown = pl.col("palette").replace_strict(PALETTE_EFFECT) + pl.col("subject").replace_strict(SUBJECT_EFFECT)
    return posts.select(
        pl.lit(BASE).alias("base"),
        "company",
        "account",
        trend=pl.Series(TREND * (day / DAYS - 0.5)),
        hour=pl.Series(HOUR_AMPLITUDE * np.cos(2 * np.pi * (day % 1.0 - BEST_HOUR / 24))),
        weekday=pl.Series(WEEKDAY[day.astype(int) % 7]),
        media=pl.col("kind").replace_strict(MEDIA),
        wording=pl.Series(posts["cues"].to_numpy() @ np.array([cue.effect for cue in CUES])),
        picture=pl.when(pl.col("pictures") > 0).then(shown).otherwise(0.0),
    )


def _likes(mu: np.ndarray, noise: np.ndarray | float) -> np.ndarray:
    return np.maximum(0.0, np.round(np.exp(mu + NOISE_SIGMA * noise) - 1.0))


def _moments(mu: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of log1p(likes) given mu, [rows] each.

    A fine even grid over the noise: rounding makes steps that a Gauss-Hermite rule with few nodes would miss.
    """
    grid = np.linspace(-6.0, 6.0, 1201)
    weights = np.exp(-0.5 * grid**2)
    mean, square = np.zeros_like(mu), np.zeros_like(mu)
    for noise, weight in zip(grid, weights / weights.sum(), strict=True):
        value = np.log1p(_likes(mu, noise))
        mean += weight * value
        square += weight * value**2
    return mean, np.sqrt(np.maximum(square - mean**2, 0.0))


def _table(rng: np.random.Generator, posts: pl.DataFrame, likes: np.ndarray) -> pl.DataFrame:
    """Return the published columns and `local_path`, null for a tweet without pictures."""
    records = list(posts.iter_rows(named=True))
    paths = [[f"images/{post['id']:05d}_{k}.png" for k in range(post["pictures"])] for post in records]
    media = [write_media(rng, post["kind"], post["items"], like) for post, like in zip(records, likes, strict=True)]
    sources = posts.select("inferred company", "username", "kind", "cues")
    return posts.select(
        "id",
        date=pl.Series([str(START + timedelta(seconds=post["second"])) for post in records]),
        likes=pl.Series(likes.astype(np.int64)),
        content=pl.Series([write_text(rng, *row) for row in sources.iter_rows()]),
        username="username",
        media=pl.Series(media),
        **{"inferred company": "inferred company"},
        local_path=pl.Series([";".join(names) or None for names in paths], dtype=pl.String),
    )


def _write_pictures(rng: np.random.Generator, folder: Path, posts: pl.DataFrame, paths: pl.Series) -> None:
    """Draw every picture of every tweet; further pictures of a tweet show the same subject in the same palette."""
    (folder / "images").mkdir(exist_ok=True)
    for subject, palette, names in zip(posts["subject"], posts["palette"], paths, strict=True):
        for name in names.split(";") if names else ():
            draw_picture(rng, subject, palette).save(folder / name, compress_level=1)  # noise: more is only slower


def generate_sample(folder: Path, *, rows: int = 3200, seed: int = 0) -> Path:
    """Write the table, its pictures, the oracle and a README into `folder`, made if missing; return the table's path.

    The same rows and seed give the same bytes. `sample.json` is written last: where it stands, the rest is complete.
    Raises UserError if `rows` is below 1 or `seed` below 0.
    """
    if rows < 1 or seed < 0:
        raise UserError(f"sample: found rows={rows}, seed={seed}; rows must be at least 1 and seed at least 0")
    process, outcome, wording, drawing = (np.random.default_rng([seed, stream]) for stream in range(4))
    posts = _draw_posts(process, rows)
    parts = _components(posts)
    mu = parts.sum_horizontal().to_numpy()
    table = _table(wording, posts, _likes(mu, outcome.standard_normal(rows)))
    mean, spread = _moments(mu)
    oracle = posts.select("id", "palette", "subject").with_columns(
        expected_log1p=pl.Series(mean), sd_log1p=pl.Series(spread), mu=pl.Series(mu)
    )
    folder.mkdir(parents=True, exist_ok=True)
    table.write_csv(folder / "tweets.csv")
    oracle.hstack(parts).write_parquet(folder / "oracle.parquet")
    (folder / "README.md").write_text(README, encoding="utf-8")
    _write_pictures(drawing, folder, posts, table["local_path"])
    (folder / "sample.json").write_text(_stamp(rows, seed), encoding="utf-8")
    return folder / "tweets.csv"


def _stamp(rows: int, seed: int) -> str:
    return json.dumps({"version": SAMPLE_VERSION, "rows": rows, "seed": seed}) + "\n"


def _is_current(folder: Path, rows: int, seed: int) -> bool:
    stamp = folder / "sample.json"
    return stamp.is_file() and stamp.read_text(encoding="utf-8") == _stamp(rows, seed)


def ensure_sample(folder: Path, *, rows: int = 3200, seed: int = 0) -> Path:
    """Generate the sample unless `folder` already holds this version, rows and seed; return the table's path.

    Safe for several processes at once: one generates, under the lock `<folder>.lock`, and the folder appears whole.
    Raises UserError if the folder holds anything that is not a sample.
    """
    folder = folder.absolute()
    table = folder / "tweets.csv"
    if _is_current(folder, rows, seed):  # before the lock: a finished sample may lie on a read-only disk
        return table
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(folder.name + ".lock")):
        if _is_current(folder, rows, seed):
            return table
        # Someone's own data must never be replaced by a sample.
        if folder.exists() and not (folder / "sample.json").is_file() and any(folder.iterdir()):
            raise UserError(f"{folder}: found files but no sample.json; give a new, an empty or a sample's folder")
        _replace(folder, rows, seed)
    return table


def _replace(folder: Path, rows: int, seed: int) -> None:
    part = folder.with_name(f".{folder.name}.part")  # one fixed name, under the lock: a killed run's rest is cleared
    shutil.rmtree(part, ignore_errors=True)
    try:
        generate_sample(part, rows=rows, seed=seed)
        if folder.exists():
            log.info("%s: replaced by the sample of %d rows, seed %d", folder, rows, seed)
            shutil.rmtree(folder)
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def noise_floor(folder: Path, ids: Sequence[int]) -> float:
    """Return the expected RMSE of log1p(likes) of a perfect predictor on these rows: the root of the mean variance.

    Raises UserError if `ids` is empty or holds an id that the sample does not.
    """
    oracle = pl.read_parquet(folder / "oracle.parquet", columns=["id", "sd_log1p"])
    wanted = pl.DataFrame({"id": pl.Series(ids, dtype=pl.Int64)})
    spread = wanted.join(oracle, on="id", how="left")["sd_log1p"]
    if spread.is_empty() or spread.has_nulls():
        raise UserError(f"{folder}: found {spread.null_count()} unknown of {len(ids)} ids; give ids of the sample")
    return float(np.sqrt((spread**2).mean()))

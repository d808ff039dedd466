import json
import os
import re
import threading

import numpy as np
import polars as pl
import pytest
from PIL import Image

from behavesim.data import sample
from behavesim.data.sample import NOISE_SIGMA, ensure_sample, generate_sample, noise_floor
from behavesim.data.sample_pictures import PALETTES, PICTURE_SIZE, SUBJECTS, draw_picture
from behavesim.data.sample_text import CUES, MAX_WORDS
from behavesim.errors import UserError

COLUMNS = ["id", "date", "likes", "content", "username", "media", "inferred company", "local_path"]
PARTS = ["base", "company", "account", "trend", "hour", "weekday", "media", "wording", "picture"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    target = tmp_path_factory.mktemp("sample")
    assert generate_sample(target) == target / "tweets.csv"
    return target


@pytest.fixture(scope="module")
def table(folder):
    return pl.read_csv(folder / "tweets.csv")


@pytest.fixture(scope="module")
def oracle(folder):
    return pl.read_parquet(folder / "oracle.parquet")


def contents(folder):
    """Bytes of every file; the rows of a parquet file, whose writer may lay the same rows out in two ways."""
    return {
        str(path.relative_to(folder)): pl.read_parquet(path).rows() if path.suffix == ".parquet" else path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def media_kind(text):
    if text.count("Photo(") > 1:
        return "photos"
    return re.match(r"\[(\w*)", text)[1].lower() or "none"


def test_the_same_seed_gives_the_same_bytes_and_another_seed_other_ones(tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        generate_sample(tmp_path / name, rows=60, seed=seed)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert contents(tmp_path / "a")["tweets.csv"] != contents(tmp_path / "c")["tweets.csv"]


def test_columns_and_sizes(table, oracle):
    assert table.columns == COLUMNS
    assert table["id"].to_list() == list(range(1, 3201)) == oracle["id"].to_list()
    assert table["likes"].dtype == pl.Int64 and table["likes"].min() >= 0
    assert 40 <= table["likes"].median() <= 90
    assert table["username"].n_unique() == 40 and table["inferred company"].n_unique() == 12
    dates = table["date"].str.to_datetime("%Y-%m-%d %H:%M:%S")
    assert str(dates.min()) >= "2018-01-01" and str(dates.max()) < "2021-01-01"
    assert table.select(COLUMNS[:-1]).null_count().sum_horizontal().item() == 0


def test_media_kinds_come_in_their_shares_and_follow_the_published_form(table):
    photo = r"Photo\(previewUrl='[^']+&name=small', fullUrl='[^']+&name=large'\)"
    variants = r"variants=\[(VideoVariant\(contentType='video/mp4', url='[^']+', bitrate=\d+\)(, )?)+\]"
    video = rf"Video\(thumbnailUrl='[^']+', {variants}, duration=\d+\.\d{{3}}, views=\d+\)"
    form = re.compile(rf"\[({photo}(, {photo}){{0,3}}|{video}|Gif\(thumbnailUrl='[^']+', {variants}\))?\]")
    assert all(form.fullmatch(text) for text in table["media"])
    kinds = [media_kind(text) for text in table["media"]]
    for kind, share in zip(sample.MEDIA, sample.MEDIA_SHARE, strict=True):
        assert kinds.count(kind) / len(kinds) == pytest.approx(share, abs=0.03)


def test_every_medium_has_its_pictures_but_for_a_few_missing_ones(folder, table):
    media = table["media"].to_list()
    items = np.array([text.count("Photo(") + ("Url=" in text and "Photo(" not in text) for text in media])
    paths = [(text or "").split(";") if text else [] for text in table["local_path"]]
    found = np.array([len(names) for names in paths])
    missing = (items > 0) & (found == 0)
    assert 0.03 < missing[items > 0].mean() < 0.07
    assert (found == items)[~missing].all()
    listed = {name for names in paths for name in names}
    assert listed == {f"images/{path.name}" for path in (folder / "images").iterdir()}
    for name in sorted(listed)[::50]:
        with Image.open(folder / name) as picture:
            assert (picture.size, picture.mode) == ((PICTURE_SIZE, PICTURE_SIZE), "RGB")


def test_tweets_are_unique_and_near_copies_rare(table):
    assert table.select("username", "date", "content").is_unique().all()
    bare = table["content"].str.to_lowercase().str.replace_all(r"<\w+>", " ").str.replace_all(r"[^a-zé ]", "")
    bare = bare.str.replace_all(r"\s+", " ").str.strip_chars()
    assert 1 - bare.n_unique() / bare.len() < 0.01


def test_texts_hold_exactly_the_cues_that_count(table, oracle):
    lengths = [len(text.split()) for text in table["content"]]
    assert min(lengths) >= 8 and max(lengths) <= MAX_WORDS
    wording = np.zeros(table.height)
    for cue in CUES:
        present = np.array([cue.sign in text.lower() for text in table["content"]])
        assert 0.08 <= present.mean() <= 0.20
        wording += cue.effect * present
    np.testing.assert_allclose(wording, oracle["wording"], atol=1e-12)


def test_variance_shares(table, oracle):
    total = table["likes"].log1p().var()
    share = {part: oracle[part].var() / total for part in PARTS}
    assert 0.5 < share["company"] + share["account"] < 0.85
    assert 0.10 <= share["picture"] <= 0.18
    assert all(share[part] > 0.002 for part in PARTS[1:])
    np.testing.assert_allclose(oracle.select(PARTS).sum_horizontal(), oracle["mu"])


def test_picture_effect_is_for_tweets_with_pictures_and_depends_on_nothing_else(table, oracle):
    assert (oracle["picture"] == 0.0).to_list() == table["local_path"].is_null().to_list()
    assert abs(oracle["picture"].mean()) < 0.05
    assert all(abs(np.corrcoef(oracle["picture"], oracle[part])[0, 1]) < 0.08 for part in PARTS[1:-1])


def test_views_follow_the_likes(table):
    videos = table.filter(pl.col("media").str.starts_with("[Video"))
    views = videos["media"].str.extract(r"views=(\d+)").cast(pl.Int64)
    assert np.corrcoef(views.log1p(), videos["likes"].log1p())[0, 1] > 0.8


def test_noise_floor_is_the_error_of_the_perfect_predictor(folder, table, oracle):
    floor = noise_floor(folder, table["id"].to_list())
    assert floor == pytest.approx(NOISE_SIGMA, abs=0.01)
    error = table["likes"].log1p() - oracle["expected_log1p"]
    assert floor == pytest.approx((error**2).mean() ** 0.5, rel=0.04)


def test_moments_agree_with_a_simulation():
    mu = np.array([-0.5, 0.3, 1.0, 4.0])  # small mu: rounding and the bound at 0 matter
    noise = np.random.default_rng(1).standard_normal((200_000, 1))
    drawn = np.log1p(np.maximum(0, np.round(np.exp(mu + NOISE_SIGMA * noise) - 1)))
    mean, spread = sample._moments(mu)
    np.testing.assert_allclose(mean, drawn.mean(0), atol=0.005)
    np.testing.assert_allclose(spread, drawn.std(0), atol=0.005)


@pytest.mark.parametrize("ids", [[], [1, 4_000_000]])
def test_noise_floor_refuses_ids_that_it_does_not_know(folder, ids):
    with pytest.raises(UserError, match="ids"):
        noise_floor(folder, ids)


def test_palette_can_be_read_from_the_mean_colour():
    rng = np.random.default_rng(5)
    names = list(PALETTES)
    labels = rng.integers(0, 2, 400)
    subjects = rng.choice(list(SUBJECTS), 400)
    pictures = [draw_picture(rng, subject, names[label]) for subject, label in zip(subjects, labels, strict=True)]
    colours = np.array([np.asarray(picture).mean((0, 1)) for picture in pictures])  # [400, 3]
    centroids = np.array([colours[:200][labels[:200] == label].mean(0) for label in (0, 1)])
    guesses = np.linalg.norm(colours[200:, None] - centroids, axis=2).argmin(1)
    assert (guesses == labels[200:]).mean() > 0.9


def test_ensure_sample_reuses_and_regenerates(tmp_path):
    folder = tmp_path / "data" / "sample"
    table = ensure_sample(folder, rows=30)
    assert table == folder / "tweets.csv"
    os.utime(table, (1, 1))
    ensure_sample(folder, rows=30)
    assert table.stat().st_mtime == 1
    ensure_sample(folder, rows=30, seed=1)
    assert table.stat().st_mtime > 1
    assert json.loads((folder / "sample.json").read_text()) == {"version": sample.SAMPLE_VERSION, "rows": 30, "seed": 1}
    ensure_sample(folder, rows=20, seed=1)
    assert pl.read_csv(table).height == 20 and not list((folder / "images").glob("00025_*"))


def test_a_failure_leaves_the_old_sample_and_no_half_written_one(tmp_path, monkeypatch):
    old = ensure_sample(tmp_path / "old", rows=10)
    before = contents(old.parent)

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(sample, "draw_picture", fail)
    for name in ("old", "new"):
        with pytest.raises(OSError, match="disk full"):
            ensure_sample(tmp_path / name, rows=12)
    assert contents(old.parent) == before
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {"old"}


def test_someone_elses_folder_is_never_replaced(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"no sample\.json"):
        ensure_sample(tmp_path, rows=10)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_one_of_several_callers_generates(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(sample, "generate_sample", lambda *a, **k: calls.append(1) or generate_sample(*a, **k))
    threads = [threading.Thread(target=ensure_sample, args=(tmp_path / "s",), kwargs={"rows": 20}) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1


@pytest.mark.parametrize("wrong", [{"rows": 0}, {"seed": -1}])
def test_impossible_sizes_are_named(tmp_path, wrong):
    with pytest.raises(UserError, match="rows must be at least 1 and seed at least 0"):
        generate_sample(tmp_path, **wrong)

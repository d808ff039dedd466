"""Features of pictures in place of pictures and of the tower that made them."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from omegaconf import OmegaConf
from polars.testing import assert_frame_equal

from behavesim import inputs
from behavesim.cli import compose
from behavesim.data.pictures.features import FeatureStore, FeatureWriter
from behavesim.errors import UserError
from behavesim.predict import predict
from behavesim.train import train

FROZEN = "model.train=[projector,llm,head]"
# Relative, of a loss. A tower sees other batches when it fills a store, and float32 sums differ in their last bits; the
# store of another tower of the same shape is 5e-3 away.
CLOSE = 1e-4


@pytest.fixture(scope="module")
def models(sizes, tiny_shapes):
    """Overrides of models by name, towers frozen."""
    tiny = [text for text in sizes if text.startswith("model.")]
    hf = [*tiny_shapes("git_hf"), "model.lora.r=0"]
    return {"git_tiny": [*tiny, FROZEN], "git_hf": [*hf, FROZEN], "lora": [*tiny_shapes("git_hf")]}


@pytest.fixture(scope="module")
def stored(tmp_path_factory, tweets, models):
    """Makes the table prepared with the features of a model's tower: its folder and its store."""
    from behavesim.data.output import write_table
    from behavesim.prepare import prepare

    folder, made = tmp_path_factory.mktemp("stored"), {}
    write_table(tweets, folder / "t.csv")

    def get(name):
        if name not in made:
            given = [f"source={folder / 't.csv'}", f"name={name}", "media=column", "image_column=local_path"]
            prepare(compose("prepare", [*given, f"paths.data={folder}", "features=true", *models[name]]))
            made[name] = SimpleNamespace(table=folder / name, store=folder / name / "image_features.npz")
        return made[name]

    return get


@pytest.fixture(scope="module")
def featured(tmp_path_factory, train_tiny, stored, models):
    """An artifact trained with a store; its configuration too."""
    folder, data = tmp_path_factory.mktemp("featured"), stored("git_tiny")
    paths = [f"paths.output={folder / 'output'}", f"export_dir={folder / 'artifact'}", f"paths.data={folder / 'data'}"]
    given = [f"data.path={data.table}", f"data.image_features={data.store}", *models["git_tiny"], *paths]
    train_tiny(*given, "run_name=featured")
    return folder / "artifact"


def predicted(*overrides):
    predict(compose("predict", ["output=out.parquet", "run_name=p", *map(str, overrides)]))
    return pl.read_parquet("out.parquet")


def refused(main, name, *arguments):
    """The one line that a command ends with."""
    run = main(name, *arguments)
    errors = [line.removeprefix("error: ") for line in run.lines if line.startswith("error: ")]
    assert run.code == 2 and "Traceback" not in run.err, run.err
    [line] = errors
    return line


def losses(folder):
    [table] = Path(folder).rglob("metrics.csv")
    return pl.read_csv(table)["train/loss"].drop_nulls().to_numpy()


def test_a_store_holds_every_picture_of_every_tweet_in_order(stored, tweets):
    store = FeatureStore.open(stored("git_tiny").store)
    offsets, places = store.positions(tweets["id"].cast(pl.String))
    files = tweets["local_path"].str.count_matches(";", literal=True) + 1
    assert np.diff(offsets).tolist() == files.fill_null(0).to_list()
    assert places.tolist() == list(range(len(store)))
    assert (store.tokens, store.width) == (17, 32)
    assert isinstance(store.embeddings, np.memmap)


def test_features_are_written_once_for_a_tower(here, main, stored, models, caplog):
    data = stored("git_tiny")
    before = data.store.stat().st_mtime_ns
    given = [f"source={data.table.parent / 't.csv'}", "name=git_tiny", f"paths.data={data.table.parent}"]
    given += ["media=column", "image_column=local_path", "features=true", *models["git_tiny"]]
    run = main("prepare", *given)
    assert run.code == 0 and f"features of this tower: {data.store}" in run.out + run.err
    assert data.store.stat().st_mtime_ns == before
    assert main("prepare", *given, "model.head=regression").code == 0
    assert data.store.stat().st_mtime_ns == before
    copy = data.store.read_bytes()
    assert main("prepare", *given, "seed=1").code == 0
    assert data.store.read_bytes() != copy
    assert main("prepare", *given).code == 0
    assert data.store.read_bytes() == copy


@pytest.mark.parametrize(
    ("name", "frames"),
    [
        ("git_tiny", 1),
        pytest.param("git_tiny", 2, marks=pytest.mark.slow),
        pytest.param("git_hf", 1, marks=pytest.mark.slow),
        pytest.param("git_hf", 2, marks=pytest.mark.slow),
        ("lora", 2),
    ],
)
def test_stored_features_train_what_the_frozen_tower_does(here, stored, models, name, frames):
    data = stored(name)
    steps = ["trainer.max_steps=12", "trainer.log_every_n_steps=1", "logger=csv", f"model.frames={frames}"]
    shapes = [*models[name], *steps, f"data.path={data.table}"]

    def run(*overrides):
        return train(compose("train", [*shapes, *overrides]))

    through = run("run_name=tower")
    from_store = run("run_name=store", f"data.image_features={data.store}")
    tower, store = losses("outputs/tower"), losses("outputs/store")
    assert len(tower) >= 12
    np.testing.assert_allclose(store, tower, rtol=CLOSE)
    assert from_store == pytest.approx(through, rel=CLOSE)
    metrics = [json.loads(Path("outputs", name, "metrics.json").read_text()) for name in ("store", "tower")]
    assert metrics[0] == pytest.approx(metrics[1], rel=1e-4)
    blind = run("run_name=blind", "data.use_images=false")
    assert blind != pytest.approx(through, rel=CLOSE)  # pictures are read at all


def test_the_artifact_knows_the_shape_of_its_states_and_has_no_tower(featured):
    from safetensors.torch import load_file

    assert OmegaConf.load(featured / "config.yaml").image_states == [17, 32]
    assert not [name for name in load_file(featured / "model.safetensors") if name.startswith("vision.")]


def test_an_artifact_with_a_tower_says_so(trained):
    assert OmegaConf.load(trained.artifact / "config.yaml").image_states is None


def test_predictions_read_the_store_from_a_folder_and_from_a_raw_table(here, featured, stored, caplog):
    data = stored("git_tiny")
    given = [f"ckpt={featured}", f"data.image_features={data.store}"]
    with caplog.at_level("INFO", logger="behavesim"):
        folder = predicted(*given, f"input={data.table}")
    assert re.search(r"image_features.npz: features of (\d+) of 200 rows", caplog.text)
    assert_frame_equal(predicted(*given, f"input={data.table.parent / 't.csv'}"), folder)


def test_without_the_store_text_alone_is_read_and_that_is_said_once(here, featured, stored, tweets, caplog):
    data = stored("git_tiny")
    with caplog.at_level("INFO", logger="behavesim"):
        blind = predicted(f"ckpt={featured}", f"input={data.table}")
    [line] = [message for message in caplog.messages if "reads text alone" in message]
    assert line == f"{featured} was trained with data.image_features; without such a file it reads text alone"
    seeing = predicted(f"ckpt={featured}", f"input={data.table}", f"data.image_features={data.store}")
    has_none = tweets["local_path"].is_null()
    assert_frame_equal(blind.filter(has_none), seeing.filter(has_none), abs_tol=0.002, rel_tol=1e-4)
    assert (blind["likes"] != seeing["likes"]).filter(~has_none).mean() > 0.9


def test_evaluation_reads_the_store(here, evaluate, featured, stored):
    data = stored("git_tiny")
    metrics = evaluate(data.table, f"ckpt={featured}", f"data.image_features={data.store}")
    trained = json.loads((featured.parent / "output" / "metrics.json").read_text())
    assert {name: metrics[name] for name in trained} == pytest.approx(trained, rel=1e-5)
    assert not list(here.rglob("encoded"))


def test_a_store_of_another_shape_or_for_other_tweets_is_one_line(here, main, featured, trained, stored, sizes):
    data = stored("git_tiny")
    for name, ids, width in (("wide", ["1", "2"], 48), ("foreign", ["a", "b"], 32)):
        with FeatureWriter(here / f"{name}.npz", rows=2, tokens=17, width=width) as writer:
            writer.add(ids, np.ones((2, 17, width), np.float32))
    given = ["output=out.csv", "run_name=p", f"input={data.table}"]
    assert refused(main, "predict", f"ckpt={featured}", *given, "data.image_features=wide.npz") == (
        "data.image_features: wide.npz holds 17 tokens of width 48; "
        f"accepted: 17 tokens of width 32, as {featured} was trained with"
    )
    nothing = "data.image_features: foreign.npz holds features of none of the 200 rows; accepted: a file whose `id` are"
    found = refused(main, "predict", f"ckpt={featured}", *given, "data.image_features=foreign.npz")
    assert found.startswith(nothing)
    found = refused(main, "train", f"data.path={data.table}", "data.image_features=foreign.npz", FROZEN, *sizes)
    assert found.startswith(nothing)
    assert refused(main, "predict", f"ckpt={trained.artifact}", *given, "data.image_features=wide.npz") == (
        f"data.image_features: found wide.npz; accepted: null, {trained.artifact} was trained without a store"
    )
    assert refused(main, "predict", f"ckpt={featured}", *given, "data.image_features=gone.npz").startswith(
        "data.image_features: found gone.npz, which is no file; accepted: an .npz file, or null"
    )
    (here / "broken.npz").write_bytes(b"PK\x03\x04 cut")
    assert refused(main, "predict", f"ckpt={featured}", *given, "data.image_features=broken.npz").startswith(
        "data.image_features: broken.npz: "
    )
    found = refused(main, "predict", f"ckpt={featured}", *given, "data.image_column=local_path")
    assert found.startswith("data.image_column: found local_path")
    assert not (here / "out.csv").exists() and not list(here.rglob("encoded"))


def test_a_tower_cannot_train_behind_stored_features(stored, monkeypatch):
    monkeypatch.setattr(inputs, "datamodule", lambda *_: pytest.fail("the table was read"))
    data = stored("git_tiny")
    with pytest.raises(UserError, match=r"^model.train: found vision with data.image_features; accepted: \[projector"):
        compose("train", [f"data.path={data.table}", f"data.image_features={data.store}"])


@pytest.mark.slow
def test_published_clip_features_train_on_the_published_table(here, shared, caplog):
    store = shared / "data" / "clip_vit_b32_photos.npz"
    table = shared / "data" / "behaviour_simulation_train.xlsx"
    if not (store.is_file() and table.is_file()):
        pytest.skip(f"{store}, {table}: not both are there")
    given = [f"data.path={table}", f"data.image_features={store}", FROZEN, "logger=none", "run_name=a"]
    with caplog.at_level("INFO", logger="behavesim"):
        train(compose("train", [*given, "trainer.max_steps=8", "+trainer.limit_val_batches=2"]))
    known = int(re.search(r"features of ([\d,]+) of [\d,]+ rows", caplog.text)[1].replace(",", ""))
    assert known > 1000
    opened = FeatureStore.open(store)
    artifact = Path("checkpoints/a")
    assert OmegaConf.load(artifact / "config.yaml").image_states == [opened.tokens, opened.width]
    head = pl.read_excel(table).head(300)
    head.write_parquet("some.parquet")
    seeing = predicted(f"ckpt={artifact}", "input=some.parquet", f"data.image_features={store}")
    blind = predicted(f"ckpt={artifact}", "input=some.parquet")
    assert (seeing["likes"] != blind["likes"]).any()
    assert seeing["id"].to_list() == head["id"].to_list()

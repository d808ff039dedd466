"""Fixtures that run whole commands, in process and at a size that takes seconds."""

import json
import logging
import sys
from types import SimpleNamespace

import polars as pl
import pytest
import torch

from behavesim.cli import compose

SIZES = (
    "trainer.max_epochs=1",
    "model.llm.hidden_size=32",
    "model.llm.heads=2",
    "model.llm.layers=1",
    "model.llm.vocab_size=400",
    "model.vision.width=32",
    "model.vision.layers=1",
)


@pytest.fixture(scope="session")
def sizes():
    """Overrides that make a training on 200 rows a matter of a second."""
    return SIZES


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder that the user stands in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def sample_overrides(sample_table):
    """Overrides that take the sample of 200 rows which all tests share."""
    return (f"data.sample.folder={sample_table.source.parent}", "data.sample.rows=200")


@pytest.fixture(scope="session")
def train_tiny(sample_overrides):
    """`train` on the small sample, or on `data.path`; returns its configuration and what `train` returned."""
    from behavesim.train import train

    def run(*overrides):
        sample = () if any(text.startswith("data.path=") for text in overrides) else sample_overrides
        logger = () if any(text.startswith("logger=") for text in overrides) else ("logger=none",)
        cfg = compose("train", [*SIZES, *sample, *logger, *overrides])
        return SimpleNamespace(cfg=cfg, objective=train(cfg))

    return run


@pytest.fixture(scope="session")
def trained(tmp_path_factory, train_tiny):
    """One training that many tests look at: `folder` with `output` and `artifact`."""
    folder = tmp_path_factory.mktemp("trained")
    train_tiny(f"paths.output={folder / 'output'}", f"export_dir={folder / 'artifact'}", "run_name=trained")
    return SimpleNamespace(output=folder / "output", artifact=folder / "artifact")


@pytest.fixture(scope="session")
def tweets(sample_table):
    """The sample's table as a file holds it, with absolute paths of pictures, so that it may lie anywhere."""
    pictures = pl.Series("local_path", [";".join(paths) or None for paths in sample_table.frame["images"]])
    return pl.read_csv(sample_table.source).with_columns(pictures)


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory, sample_table):
    """Weights as published ones lie on a disk: `llm`, a folder with its tokenizer, and overrides that name a tower."""
    import open_clip

    from behavesim.data.tokenizer import train_tokenizer
    from behavesim.models.llm import llm_config, random_llm

    folder = tmp_path_factory.mktemp("published")
    tokenizer = train_tokenizer(sample_table.frame["content"], 400)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    llm = random_llm(llm_config({"model_type": "llama", "vocab_size": len(tokenizer), **shape}))
    llm.save_pretrained(folder / "llm")
    tokenizer.save_pretrained(folder / "llm")
    vision = {"image_size": 16, "layers": 1, "width": 64, "patch_size": 8}
    text = {"context_length": 8, "vocab_size": 64, "width": 16, "heads": 2, "layers": 1}
    (folder / "ViT-tiny.json").write_text(json.dumps({"embed_dim": 16, "vision_cfg": vision, "text_cfg": text}))
    open_clip.add_model_config(folder / "ViT-tiny.json")
    torch.save(open_clip.create_model("ViT-tiny").state_dict(), folder / "vision.pt")
    names = ("model.vision.name=ViT-tiny", f"model.vision.weights={folder / 'vision.pt'}")
    return SimpleNamespace(llm=folder / "llm", tokenizer=tokenizer, vision=names)


@pytest.fixture(scope="session")
def database(tmp_path_factory):
    """Overrides that name one MLflow database for all tests: making one takes seconds."""
    return (f"logger.tracking_uri=sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}",)


@pytest.fixture(scope="session")
def client(database):
    """MLflow's own view of that database."""
    from mlflow.tracking import MlflowClient

    return MlflowClient(database[0].partition("=")[2])


@pytest.fixture(scope="session")
def runs_named(client):
    """All tracked runs of a name."""

    def find(name):
        experiment = client.get_experiment_by_name("behavesim")
        return client.search_runs([experiment.experiment_id], f"attributes.run_name = '{name}'")

    return find


@pytest.fixture
def predict(here, trained):
    """`predict` with the trained artifact on a frame or a file; returns the table that it wrote."""
    from behavesim.data.output import write_table
    from behavesim.predict import predict as run

    def call(table, *overrides, output="out.parquet"):
        if isinstance(table, pl.DataFrame):
            write_table(table, here / "in.parquet")
            table = here / "in.parquet"
        given = [f"input={table}", f"output={output}", "run_name=predict"]
        run(compose("predict", [*_unless_given("ckpt", trained.artifact, overrides), *given, *overrides]))
        return read_any(here / output)

    return call


@pytest.fixture
def evaluate(here, trained):
    """`evaluate` with the trained artifact on a frame or a file; returns the metrics."""
    from behavesim.data.output import write_table
    from behavesim.evaluate import evaluate as run

    def call(table, *overrides):
        if isinstance(table, pl.DataFrame):
            write_table(table, here / "in.parquet")
            table = here / "in.parquet"
        given = [f"data.path={table}", "run_name=evaluate"]
        return run(compose("evaluate", [*_unless_given("ckpt", trained.artifact, overrides), *given, *overrides]))

    return call


@pytest.fixture
def main(monkeypatch, capfd):
    """The command's own entry point with these arguments; returns exit code, stdout and stderr."""
    import importlib

    root = logging.getLogger()

    def call(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
        handlers, level = root.handlers[:], root.level
        capfd.readouterr()
        try:
            importlib.import_module(f"behavesim.{name}").main()
            code = 0
        except SystemExit as exit_:
            code = exit_.code
        finally:  # hydra's handlers hold streams that end with this test
            root.handlers[:], root.level = handlers, level
        out, err = capfd.readouterr()
        return SimpleNamespace(code=code, out=out, err=err, lines=err.splitlines())

    return call


def read_any(path):
    """A table by its extension."""
    readers = {".parquet": pl.read_parquet, ".csv": pl.read_csv, ".xlsx": pl.read_excel}
    return readers[path.suffix](path)


def _unless_given(key, value, overrides):
    return () if any(text.startswith(f"{key}=") for text in overrides) else (f"{key}={value}",)

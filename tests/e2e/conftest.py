"""Fixtures that run whole commands, in process and at a size that takes seconds."""

import json
import logging
import sys
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest
import torch

from behavesim.cli import compose

HERE = Path(__file__).parent
SIZES = (
    "trainer.max_epochs=1",
    "data.tokens_per_batch=1024",
    "model.llm.hidden_size=32",
    "model.llm.heads=2",
    "model.llm.layers=1",
    "model.llm.vocab_size=400",
    "model.vision.width=32",
    "model.vision.layers=1",
    "model.readers.members=2",
    "model.readers.width=16",
    "task.history=3",
    "task.text_summary=8",
)
IN_SILENCE = ("logger=none", "run_name=a", "callbacks.progress=null", "+trainer.enable_progress_bar=false")
IN_SILENCE += ("data.num_workers=0",)  # processes that are children already have none

# Shapes of a layer of Llama and of one of CLIP as the reference names their weights.
LAYER = {
    **{f"self_attn.{name}_proj": (32, 32) for name in "qo"},
    **{f"self_attn.{name}_proj": (16, 32) for name in "kv"},
    **{f"mlp.{name}_proj": (48, 32) for name in ("gate", "up")},
    "mlp.down_proj": (32, 48),
    **{f"{name}_layernorm": (32,) for name in ("input", "post_attention")},
}
CLIP_LAYER = {
    **{f"self_attn.{name}_proj": (24, 24) for name in ("q", "k", "v", "out")},
    "mlp.fc1": (48, 24),
    "mlp.fc2": (24, 48),
    **{f"layer_norm{place}": (24,) for place in (1, 2)},
}


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
def sample_overrides(sample_source):
    """Overrides that take the sample of 200 rows which all tests share."""
    return (f"data.sample.folder={sample_source.parent}", "data.sample.rows=200")


@pytest.fixture(scope="session")
def train_tiny(sample_overrides):
    """`train` on the small sample, or on `data.path`; returns its configuration and what `train` returned."""
    from behavesim.train import train

    def run(*overrides):
        sample = () if any(text.startswith("data.path=") for text in overrides) else sample_overrides
        logger = () if any(text.startswith("logger=") for text in overrides) else ("logger=none",)
        sizes = [text for text in SIZES if "task=content" not in overrides or not text.startswith("task.")]
        cfg = compose("train", [*sizes, *sample, *logger, *overrides])
        return SimpleNamespace(cfg=cfg, objective=train(cfg))

    return run


@pytest.fixture(scope="session")
def forkserver():
    """See `together.forkserver`."""
    sys.path.insert(0, str(HERE))
    import together

    yield together.forkserver()
    sys.path.remove(str(HERE))


@pytest.fixture(scope="session")
def train_together(forkserver, sizes, sample_overrides):
    """Train in a folder with two processes; returns the folder."""
    import together

    def train(folder, *overrides, codes=(0, 0), **options):
        sample = () if any(text.startswith("data.path=") for text in overrides) else sample_overrides
        shape = () if any(text.startswith("model=") for text in overrides) else sizes
        found = together.run(forkserver, folder, [*shape, *sample, *IN_SILENCE, *overrides], **options)
        assert found == list(codes), "\n".join(path.read_text()[-3000:] for path in sorted(folder.glob("log_*")))
        return folder

    return train


@pytest.fixture(scope="session")
def trained(tmp_path_factory, train_tiny):
    """One training that many tests look at: `folder` with `output` and `artifact`."""
    folder = tmp_path_factory.mktemp("trained")
    train_tiny(f"paths.output={folder / 'output'}", f"export_dir={folder / 'artifact'}", "run_name=trained")
    return SimpleNamespace(output=folder / "output", artifact=folder / "artifact")


@pytest.fixture(scope="session")
def tweets(sample_source):
    """The sample's table as a file holds it, with absolute paths of pictures, so that it may lie anywhere."""
    return pl.read_csv(sample_source).with_columns(
        pl.col("local_path").str.replace_all("images/", f"{sample_source.parent}/images/", literal=True)
    )


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory, sample_frame):
    """Weights as published ones lie on a disk: `llm`, a folder with its tokenizer, and overrides that name a tower."""
    import open_clip

    from behavesim.data.tokenizer import train_tokenizer
    from behavesim.models.llm import llm_config, random_llm

    folder = tmp_path_factory.mktemp("published")
    tokenizer = train_tokenizer(sample_frame["content"], 400)
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
def reference_checkpoint(tmp_path_factory, sample_frame):
    """A folder as the reference's own files are laid out, with the tokenizer beside them."""
    from behavesim.data.tokenizer import train_tokenizer

    folder = tmp_path_factory.mktemp("reference")
    tokenizer = train_tokenizer(sample_frame["content"], 400)
    torch.save(reference_state(len(tokenizer)), folder / "pytorch_model.bin")
    llm = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = {
        "family": "llama",
        "llm": {**llm, "num_key_value_heads": 2, "vocab_size": len(tokenizer), "not_of_llama": 3},
        "vision": {"num_attention_heads": 2, "hidden_act": "quick_gelu"},
        "lora": {"r": 4, "lora_alpha": 16},
        "not_of_ours": True,
    }
    (folder / "config.json").write_text(json.dumps(config))
    tokenizer.save_pretrained(folder)
    return folder


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
        given = [f"data.path={table}", "run_name=evaluate", *_unless_given("logger", "none", overrides)]
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


def reference_state(vocab_size):
    """Random weights under the reference's names: a Llama of two layers with grouped queries and LoRA, a ViT of one."""
    words = (vocab_size, 32)
    shapes = {"model.embed_tokens.weight": words, "model.norm.weight": (32,), "lm_head.weight": words}
    for layer in range(2):
        shapes |= {f"model.layers.{layer}.{name}.weight": shape for name, shape in LAYER.items()}
        for name, out in (("q_proj", 32), ("v_proj", 16)):
            shapes[f"model.layers.{layer}.self_attn.{name}.lora_A.default.weight"] = (4, 32)
            shapes[f"model.layers.{layer}.self_attn.{name}.lora_B.default.weight"] = (out, 4)
    vision = "model.image_encoder.vision_model"
    shapes[f"{vision}.embeddings.class_embedding"] = (24,)
    shapes[f"{vision}.embeddings.patch_embedding.weight"] = (24, 3, 8, 8)
    shapes[f"{vision}.embeddings.position_embedding.weight"] = (10, 24)
    biased = {f"{vision}.{norm}": (24,) for norm in ("pre_layrnorm", "post_layernorm")}
    biased |= {f"{vision}.encoder.layers.0.{name}": shape for name, shape in CLIP_LAYER.items()}
    biased |= {f"model.visual_projection.visual_projection.{place}": (32, 24)[: 2 - place] for place in (0, 1)}
    for name, shape in biased.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    generator = torch.Generator().manual_seed(1)
    return {name: torch.randn(shape, generator=generator) * 0.2 for name, shape in shapes.items()}

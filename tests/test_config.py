"""Every file under conf/, and what the schema says of wrong values."""

import copy
import functools
from types import UnionType
from typing import Annotated, Union, get_args, get_origin

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from pydantic import BaseModel

from behavesim import build, inputs
from behavesim.cli import CONF, compose
from behavesim.config import validate
from behavesim.errors import UserError
from behavesim.schema import SCHEMAS

COMMANDS = sorted(SCHEMAS)
FILES = sorted(path.relative_to(CONF).with_suffix("") for path in CONF.rglob("*.yaml"))
# Files in a folder of a group, such as model/common, are parts of choices and no choices themselves.
CHOICES = [path.parts for path in FILES if len(path.parts) == 2 and path.parent.name not in ("hydra", "paths")]


@pytest.fixture(scope="module")
def given_paths(sample_source, tmp_path_factory):
    """What each command cannot do without."""
    table, folder = sample_source, tmp_path_factory.mktemp("given")
    sample = [f"data.sample.folder={table.parent}", "data.sample.rows=200"]
    return {
        "train": sample,
        "tweets": [f"data.path={table}"],
        "evaluate": [f"ckpt={folder}", f"data.path={table}"],
        "predict": [f"ckpt={folder}", f"input={table}", "output=out.csv"],
        "export": [f"ckpt={folder}", "output=exported", "format=merged"],
        "convert": [f"reference={folder}", "output=converted"],
        "prepare": [f"source={table}", "name=mine"],
        "compare": [],
        "benchmark": sample,
        "baselines": sample,
    }


def instantiate(cfg):
    """All that training makes of a configuration before it trains."""
    build.check_targets(cfg)
    data = inputs.datamodule(cfg)
    model, _ = build.model(cfg, data)
    assert build.module(cfg, model, data).configure_optimizers
    build.logger(cfg)
    return build.trainer(cfg, callbacks=build.callbacks(cfg))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_composes_and_validates(given_paths, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cfg = compose(name, given_paths[name])
    if "trainer" in cfg:
        build.check_targets(cfg)


@pytest.mark.parametrize(("group", "option"), CHOICES, ids=str)
def test_every_file_composes_validates_and_instantiates(given_paths, tiny_shapes, group, option, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    choice = f"+{group}={option}" if group == "experiment" else f"{group}={option}"
    if choice in ("data=scored", "task=as_trained"):
        for name in ("evaluate", "predict"):
            build.check_targets(compose(name, given_paths[name]))
        return
    logger = [] if group == "logger" else ["logger=none"]
    given = given_paths["tweets" if choice == "data=tweets" else "train"]
    shapes = tiny_shapes(option) if group == "model" else tiny_shapes("git_llama2")[1:] if option == "reference" else []
    chosen = [choice]
    if group == "tuned":  # the model and the task that it is named for
        model, _, task = option.rpartition("_")
        chosen = [f"model={model}", f"task={task}"]
    overrides = [*given, *chosen, *shapes, *logger]
    if choice == "strategy=zero3_offload":
        with pytest.raises(UserError, match=r"^strategy.offload_optimizer: found true with trainer.accelerator=cpu"):
            compose("train", overrides)
        overrides += ["trainer=gpu"]
    cfg = compose("train", overrides)
    if cfg.trainer.accelerator == "gpu" and not torch.cuda.is_available():
        with pytest.raises(UserError, match=r"^trainer: found accelerator=gpu, .*; accepted: .*trainer=cpu") as caught:
            instantiate(cfg)
        assert len(str(caught.value).splitlines()) == 1
        if group in ("trainer", "strategy"):
            return
        cfg = compose("train", [*overrides, "trainer=cpu"])
    instantiate(cfg)


def test_every_folder_of_choices_is_reachable():
    roots = [OmegaConf.load(CONF / f"{name}.yaml") for name in COMMANDS]
    named = {
        next(iter(entry)).removeprefix("optional ") for root in roots for entry in root.defaults if entry != "_self_"
    }
    # Recipes are added: +experiment=name.
    assert {path.name for path in CONF.iterdir() if path.is_dir()} - {"experiment"} == named


def test_what_suits_model_and_task_together_is_taken_unless_it_is_given(given_paths):
    tuned, texts = (OmegaConf.load(CONF / "tuned" / name) for name in ("git_tiny_content.yaml", "common/texts.yaml"))
    for name in ("train", "benchmark"):
        cfg = compose(name, [*given_paths[name], "task=content", "task.draws=3"])
        assert cfg.optim.lr == tuned.optim.lr and cfg.model.rows_per_batch == tuned.model.rows_per_batch
        assert (cfg.task.decode, cfg.task.draws) == (texts.decode, 3)
        assert compose(name, given_paths[name]).optim.lr != tuned.optim.lr


VALUES = {}  # of each command


def composed(name, given_paths):
    """A copy of the values of a command; composing them takes a tenth of a second."""
    if name not in VALUES:
        VALUES[name] = OmegaConf.to_container(compose(name, given_paths[name]), resolve=True)
    return copy.deepcopy(VALUES[name])


def leaves(schema, place=()):
    """Every key of a schema that holds a value of its own, with its type."""
    for name, field in schema.model_fields.items():
        key = (*place, field.alias or name)
        node = node_of(field.annotation)
        yield from leaves(node, key) if node is not None else [key]


def node_of(annotation):
    if get_origin(annotation) is Annotated:
        return node_of(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return next((found for part in get_args(annotation) if (found := node_of(part))), None)
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def holder(values, key):
    """The mapping in which a key of `LEAVES` stands."""
    return functools.reduce(lambda node, part: node[part], key[:-1], values)


LEAVES = [(name, key) for name in COMMANDS for key in leaves(SCHEMAS[name]) if key != ("callbacks",)]


@pytest.mark.parametrize(("name", "key"), LEAVES, ids=lambda part: part if isinstance(part, str) else ".".join(part))
def test_a_wrong_type_is_reported_with_its_key(given_paths, name, key):
    values = composed(name, given_paths)
    node = holder(values, key)
    node[key[-1]] = {"wrong": 1}
    with pytest.raises(UserError) as caught:
        validate(name, values)
    place = ".".join(key)
    assert any(line.startswith((f"{place}: found ", f"{place}.wrong: ")) for line in str(caught.value).splitlines())


@pytest.mark.parametrize(("name", "key"), LEAVES, ids=lambda part: part if isinstance(part, str) else ".".join(part))
def test_a_missing_key_is_reported(given_paths, name, key):
    values = composed(name, given_paths)
    node = holder(values, key)
    if key[-1] not in node or key[-1] in ("tracking_uri", "experiment_name"):
        return
    del node[key[-1]]
    with pytest.raises(UserError, match=rf"(?m)^{'.'.join(key)}: found nothing; accepted: a value"):
        validate(name, values)


@settings(max_examples=15, deadline=None)
@given(
    wrong=st.one_of(
        st.text(), st.lists(st.integers()), st.booleans(), st.floats(), st.dictionaries(st.text(), st.none())
    )
)
def test_a_count_takes_nothing_but_a_whole_number(given_paths, wrong):
    values = composed("train", given_paths)
    values["model"]["llm"]["layers"] = wrong
    with pytest.raises(UserError, match=r"(?m)^model\.llm\.layers"):
        validate("train", values)


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["data.validation=0.5", "data.test=0.5"], "data.validation, data.test: found 0.5 and 0.5"),
        (["data=sample", "data.path=tweets.csv"], "data.path: found tweets.csv with data=sample"),
        (["model.train=[lora,head]"], "model.train: found lora with model.lora.r=0"),
        (["model.train=[llm,lora,head]", "model.lora.r=8"], "model.train: found llm and lora"),
        (
            ["model.llm.hidden_size=30", "model.llm.heads=4"],
            "model.llm.hidden_size: found 30 with 4 heads; accepted: a multiple of 8",
        ),
        (
            ["model.vision.width=33", "model.vision.heads=2"],
            "model.vision.width: found 33 with 2 heads; accepted: a multiple",
        ),
        (
            ["model.vision.image_size=33", "model.vision.patch_size=8"],
            "model.vision.image_size: found 33 with patch_size 8; accepted: a multiple",
        ),
        (["debug=fdr", "ckpt_path=some.ckpt"], "ckpt_path: found with debug=fdr"),
        (
            ["data.path=tweets.csv", "data.image_features=f.npz", "model.train=[vision,head]"],
            "model.train: found vision with data.image_features; accepted: [head]",
        ),
        (["task.history_text=true", "task.text_summary=0"], "task.history_text: found true with task.text_summary=0"),
        (
            ["data.path=tweets.csv", "data.image_features=f.npz", "data.use_images=false", "model.train=[head]"],
            "data.image_features: found with data.use_images=false",
        ),
        (
            ["data.path=tweets.csv", "data.image_features=f.npz", "data.image_column=a", "model.train=[head]"],
            "data.image_column: found a with data.image_features",
        ),
        (["data.path=tweets.csv", "data.fold=1", "data.split=unseen_time"], "data.fold: found 1 with data.split="),
        (["data.path=tweets.csv", "data.fold=5"], "data.fold: found 5 with data.test=0.2; accepted: 0 to 4, later"),
        (
            ["data.path=tweets.csv", "data.fold=1", "data.test=0.7"],
            "data.fold: found 1 with data.test=0.7; accepted: 0",
        ),
        (["data.path=tweets.csv", "data.test_from='2020-01-01'"], "data.test_from: found 2020-01-01 with data.split="),
        (
            ["strategy=zero3", "+strategy.offload_optimizer=true"],
            "strategy.offload_optimizer: found true with trainer.",
        ),
        (["strategy=zero1", "+trainer.gradient_clip_algorithm=value"], "trainer.gradient_clip_algorithm: found value"),
        (["trainer=fsdp", "trainer.precision=16-mixed"], "trainer.precision: found 16-mixed with strategy=fsdp"),
        (
            ["model=git_llama2", "model.train=[llm,head]", "model.lora.r=0", "strategy=fsdp"],
            "model.weights_dtype: found bfloat16 with llm in model.train and weights that are shared out; accepted: f",
        ),
        (
            ["model=git_llama2", "model.quantization=nf4", "trainer=ddp_zero3"],
            "model.quantization: found nf4 with weights that are shared out; accepted: strategy=ddp, zero1 or zero2",
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_impossible_pairs_are_reported(overrides, line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tweets.csv").touch()
    (tmp_path / "f.npz").touch()
    with pytest.raises(UserError) as caught:
        compose("train", overrides)
    assert str(caught.value).startswith(line)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["evaluate", "predict"])
def test_one_process_predicts(given_paths, name):
    with pytest.raises(UserError, match=r"^trainer.devices: found 2 with trainer.num_nodes=1; accepted: 1 with 1 node"):
        compose(name, [*given_paths[name], "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"])


@pytest.mark.parametrize(
    ("trainer", "target", "stage"),
    [
        ("cpu", "behavesim.training.auto.auto", None),
        ("ddp", "lightning.pytorch.strategies.DDPStrategy", None),
        *((f"ddp_zero{stage}", "behavesim.training.zero.ZeroStrategy", stage) for stage in (1, 2, 3)),
        ("ddp_zero3_offload", "behavesim.training.zero.ZeroStrategy", 3),
        ("fsdp", "behavesim.training.fsdp.FsdpStrategy", None),
    ],
)
def test_the_trainer_picks_its_strategy_and_a_user_another(given_paths, trainer, target, stage):
    strategy = compose("train", [*given_paths["train"], f"trainer={trainer}"]).strategy
    assert (strategy._target_, strategy.get("stage")) == (target, stage)
    other = compose(
        "train", [*given_paths["train"], f"trainer={trainer}", "strategy=zero2", "strategy.stage=1"]
    ).strategy
    assert (other._target_, other.stage) == ("behavesim.training.zero.ZeroStrategy", 1)


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["media=column"], "image_column: found null with media=column; accepted: a column"),
        (["media=folder"], "images_dir: found null with media=folder; accepted: a folder"),
        (["images_dir=pictures"], "images_dir: found pictures with media=skip; accepted: media=folder"),
        (["validation=0.5", "test=0.5"], "validation, test: found 0.5 and 0.5; accepted: a sum below 1"),
        (["name=a/b"], "name: found 'a/b'"),
        (["source=gone.csv"], "source: found gone.csv, which does not exist; accepted: a file ending in"),
        (["source=folder"], "source: found folder; accepted: a file ending in .xlsx, .csv or .parquet"),
        (["media=twitter"], "media: found 'twitter'; accepted: 'skip', 'column', 'folder' or 'download'"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_impossible_preparations_are_reported(overrides, line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tweets.csv").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError) as caught:
        compose("prepare", ["source=tweets.csv", "name=mine", *overrides])
    assert str(caught.value).startswith(line)
    assert len(str(caught.value).splitlines()) == 1

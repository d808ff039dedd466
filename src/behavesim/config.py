"""Checks of a composed configuration.

`validate` reports every wrong key, every wrong value and every impossible pair at once, before anything heavy is
imported: this file knows plain types alone.
"""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from behavesim.errors import UserError
from behavesim.nodes import MISSING, Node
from behavesim.schema import SCHEMAS

# What may choose an epoch or a setting: lower is better, and never the test split.
MONITORED = ("train/loss", "val/loss", "val/rmsle", "val/rmse", "val/mae")
ENDINGS = (".xlsx", ".csv", ".parquet")
TABLES = "a file ending in .xlsx, .csv or .parquet"
TABLES_OR_FOLDER = f"{TABLES}, or a folder of behavesim.prepare"
MANIFEST = "manifest.json"  # marks such a folder
RESERVED_NAMES = ("cache", "pictures", "sample")  # folders beside the prepared ones
# The key of the folder that a command replaces as a whole.
FOLDERS = {"train": "export_dir", "export": "output", "convert": "output"}


def validate(command: str, values: Mapping[str, Any]) -> None:
    """Check a resolved configuration (plain mappings and lists) against the schema of `command`.

    Raises:
        UserError: one line for every wrong key, wrong value and impossible pair.
    """
    schema = SCHEMAS[command]
    try:
        schema.model_validate(values)
        problems = []
    except ValidationError as error:
        problems = [_line(values, schema, dict(problem)) for problem in error.errors()]
    problems += [*_impossible_pairs(values), *_impossible_endings(values), *_absent_files(command, values)]
    if problems:
        raise UserError("\n".join(problems))


def unknown_key(key: str, accepted: list[str]) -> str:
    """The line for a key that does not exist; `accepted` are the keys at its place."""
    close = difflib.get_close_matches(key.rsplit(".", 1)[-1], accepted, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    return f"{key}: no such key; {hint}accepted: {', '.join(sorted(accepted))}"


def _line(values: Mapping[str, Any], schema: type[Node], problem: dict[str, Any]) -> str:
    key = ".".join(str(part) for part in problem["loc"] if part in _path_parts(values, problem["loc"]))
    if problem["type"] == "extra_forbidden":
        return unknown_key(key, _siblings(schema, problem["loc"]))
    if problem["type"].startswith("union_tag"):
        node = problem["input"] if isinstance(problem["input"], Mapping) else {}
        if "_target_" not in node:
            return f"{key}._target_: found nothing; accepted: a value, there is no default"
        return f"{key}._target_: found {node['_target_']!r}; accepted: {problem['ctx']['expected_tags']}"
    if problem["type"] == "missing" or problem.get("input") == MISSING:
        place = ".".join(str(part) for part in (*_path_parts(values, problem["loc"][:-1]), problem["loc"][-1]))
        return f"{place}: found nothing; accepted: a value, there is no default"
    accepted = re.sub("^(Input should be|Value should have|Value error,) ", "", problem["msg"])
    if problem["type"] == "string_pattern_mismatch":
        accepted = "a name without slashes and quotes that starts with no dot"
    return f"{key}: found {problem['input']!r}; accepted: {accepted}"


def _path_parts(values: Any, location: tuple[Any, ...]) -> list[Any]:
    """The parts of a location that are keys; pydantic adds names of union members, which users never wrote."""
    parts = []
    for part in location:
        in_list = isinstance(values, list) and isinstance(part, int) and part < len(values)
        if in_list or (isinstance(values, Mapping) and part in values):
            values = values[part]
            parts.append(part)
    return parts


def _siblings(schema: type[BaseModel], location: tuple[Any, ...]) -> list[str]:
    kinds: list[type[BaseModel]] = []
    for part in location[:-1]:
        # Where a node has several kinds, pydantic's location names the value of `_target_` that tells them apart.
        told = [kind for kind in kinds if part in get_args(kind.model_fields["target"].annotation)] if kinds[1:] else []
        field = schema.model_fields.get(part)
        candidates = [field.annotation, *get_args(field.annotation)] if field else []
        kinds = told or [item for item in candidates if isinstance(item, type) and issubclass(item, BaseModel)]
        schema = kinds[0] if kinds else schema
    return [field.alias or name for name, field in schema.model_fields.items()]


def _value(values: Mapping[str, Any], key: str) -> Any:
    """The value at a dotted key; None where there is none."""
    found: Any = values
    for part in key.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return None if found == MISSING else found


def _absent_files(command: str, values: Mapping[str, Any]) -> Iterator[str]:
    """Files that a command is to read and that are not there, and places that it cannot write to."""
    replaced = FOLDERS.get(command, "")
    for key in ("data.path", "input", "source"):
        path = _value(values, key)
        if isinstance(path, str):
            yield from _absent_table(key, Path(path), TABLES if key == "source" else TABLES_OR_FOLDER)
    output = _value(values, "output")
    if isinstance(output, str) and replaced != "output" and Path(output).suffix.lower() not in ENDINGS:
        yield f"output: found {output}; accepted: {TABLES}"
    features = _value(values, "data.image_features")
    if isinstance(features, str) and not Path(features).is_file():
        yield f"data.image_features: found {features}, which is no file; accepted: an .npz file, or null"
    ckpt = _value(values, "ckpt")
    if isinstance(ckpt, str) and not Path(ckpt).exists():
        yield f"ckpt: found {ckpt}, which does not exist; accepted: an artifact directory"
    for key in ("reference", "config"):
        path = _value(values, key)
        if isinstance(path, str) and not Path(path).exists():
            yield f"{key}: found {path}, which does not exist; accepted: a checkpoint of the reference, its config.json"
    folder = _value(values, replaced)
    kept = [_value(values, key) for key in ("paths.data", "paths.output", "paths.checkpoints", "ckpt", "reference")]
    if isinstance(folder, str) and not _replaceable(Path(folder), [Path(str(path)) for path in kept if path]):
        yield f"{replaced}: found {folder}, which holds other things; accepted: a folder for this export alone"
    if _value(values, "ckpt_path") == "last":
        last = Path(str(_value(values, "paths.output"))) / "checkpoints" / "last.ckpt"
        if not last.exists():
            yield f"ckpt_path: found last, but {last} does not exist; accepted: last with an earlier run's run_name"


def _absent_table(key: str, path: Path, accepted: str) -> Iterator[str]:
    if path.is_dir() and accepted is TABLES_OR_FOLDER:
        if not (path / MANIFEST).exists():
            yield f"{key}: found {path}, a folder without {MANIFEST}; accepted: {accepted}"
    elif path.suffix.lower() not in ENDINGS:
        yield f"{key}: found {path}; accepted: {accepted}"
    elif not path.exists():
        yield f"{key}: found {path}, which does not exist; accepted: {accepted}"


def _replaceable(folder: Path, kept: Iterable[Path]) -> bool:
    """Whether an export may take the folder's place: not that of a file, a repository or what holds `kept`."""
    if not folder.exists():
        return True
    place = folder.resolve()
    holds = any(path.resolve().is_relative_to(place) for path in (Path.cwd(), *kept))
    return folder.is_dir() and not holds and not (folder / ".git").exists()


def _impossible_endings(values: Mapping[str, Any]) -> Iterator[str]:
    """Settings with which a training could not be finished, or its best epoch not be told."""
    for key in ("max_epochs", "max_steps", "limit_train_batches", "limit_val_batches", "limit_test_batches"):
        if _value(values, f"trainer.{key}") == 0 and "model" in values:
            yield f"trainer.{key}: found 0; accepted: more, training ends with validation and test"
    callbacks = _value(values, "callbacks") if isinstance(_value(values, "callbacks"), Mapping) else {}
    monitors = {f"callbacks.{name}.monitor": _value(node or {}, "monitor") for name, node in callbacks.items()}
    for key, metric in {**monitors, "optimized_metric": _value(values, "optimized_metric")}.items():
        if metric is not None and metric not in MONITORED:
            yield f"{key}: found {metric}; accepted: {', '.join(MONITORED)}"


def _impossible_pairs(values: Mapping[str, Any]) -> Iterator[str]:
    """Settings that are each fine and cannot be meant together."""

    def at(key: str) -> Any:
        return _value(values, key)

    for place in ("data.", ""):
        held_out = [at(f"{place}validation"), at(f"{place}test")]
        if all(isinstance(share, float) for share in held_out) and sum(held_out) >= 1:
            found = f"{held_out[0]} and {held_out[1]}"
            yield f"{place}validation, {place}test: found {found}; accepted: a sum below 1"
    if at("data.path") is not None and at("data.sample") is not None:
        yield f"data.path: found {at('data.path')} with data=sample; accepted: data=tweets data.path=FILE"
    yield from _impossible_pictures(values)
    yield from _impossible_models(values)
    if at("model") is not None and at("trainer.devices") not in (1, "1", [0], None):
        yield f"trainer.devices: found {at('trainer.devices')}; accepted: 1, several devices are not supported yet"
    if at("trainer.num_nodes") not in (1, None):
        yield f"trainer.num_nodes: found {at('trainer.num_nodes')}; accepted: 1, several nodes are not supported yet"
    if at("logger.name") == "mlflow" and not (at("logger.tracking_uri") and at("logger.experiment_name")):
        yield "logger: found mlflow without tracking_uri or experiment_name; accepted: both"
    if at("trainer.fast_dev_run") and at("ckpt_path"):
        yield "ckpt_path: found with debug=fdr; accepted: one of them, a one-batch run continues nothing"


def _impossible_pictures(values: Mapping[str, Any]) -> Iterator[str]:
    """The same of where pictures come from."""

    def at(key: str) -> Any:
        return _value(values, key)

    features, column, parts = at("data.image_features"), at("data.image_column"), at("model.train")
    if features is not None and column not in (None, "artifact"):
        yield f"data.image_column: found {column} with data.image_features; accepted: null, features take its place"
    if features is not None and at("data.use_images") is False:
        yield "data.image_features: found with data.use_images=false; accepted: one of them"
    if features is not None and isinstance(parts, list) and "vision" in parts:
        others = ",".join(part for part in parts if part != "vision")
        yield f"model.train: found vision with data.image_features; accepted: [{others}], stored features cannot train"
    if at("data.split") not in (None, "unseen_time"):
        for key in ("data.validation_from", "data.test_from"):
            if at(key) is not None:
                yield f"{key}: found {at(key)} with data.split={at('data.split')}; accepted: data.split=unseen_time"
    if at("name") in RESERVED_NAMES:
        yield f"name: found {at('name')}, which lies there already; accepted: another than {', '.join(RESERVED_NAMES)}"
    for media, key in (("column", "image_column"), ("folder", "images_dir")):
        if at("media") == media and at(key) is None:
            yield f"{key}: found null with media={media}; accepted: a {'column' if media == 'column' else 'folder'}"
        if at("media") not in (None, media) and at(key) is not None:
            yield f"{key}: found {at(key)} with media={at('media')}; accepted: media={media}"


def _impossible_models(values: Mapping[str, Any]) -> Iterator[str]:
    """The same of `model` and what it runs on."""

    def at(key: str) -> Any:
        return _value(values, f"model.{key}")

    parts, rank = at("train") or [], at("lora.r")
    parts = parts if isinstance(parts, list) else []
    if "lora" in parts and rank == 0:
        yield "model.train: found lora with model.lora.r=0; accepted: model.lora.r=8 or another rank"
    if {"llm", "lora"} <= set(parts):
        yield "model.train: found llm and lora; accepted: one of them, LoRA freezes the language model's own weights"
    head = at("head")
    if parts and head in ("histogram", "regression") and "head" not in parts:
        yield f"model.train: found no head with model.head={head}, which starts at zero; accepted: head among them"
    if "llm" in parts and at("pretrained") is not None and isinstance(rank, int) and rank > 0:
        yield f"model.train: found llm with model.lora.r={rank}; accepted: lora, or llm with model.lora.r=0"
    # Rotary positions turn pairs of a head's numbers: the language model needs an even number of them.
    for part, size, even in (("llm", "hidden_size", 2), ("vision", "width", 1), ("vision.shape", "width", 1)):
        width, heads = at(f"{part}.{size}"), at(f"{part}.heads")
        if isinstance(width, int) and isinstance(heads, int) and heads > 0 and width % (even * heads):
            yield f"model.{part}.{size}: found {width} with {heads} heads; accepted: a multiple of {even * heads}"
    for part in ("vision", "vision.shape"):
        size, patch = at(f"{part}.image_size"), at(f"{part}.patch_size")
        if isinstance(size, int) and isinstance(patch, int) and patch > 0 and size % patch:
            place = f"model.{part}.image_size"
            yield f"{place}: found {size} with patch_size {patch}; accepted: a multiple of the patch size"
    if at("pretrained") is True and at("vision.shape") is not None:
        yield "model.vision.shape: found with model.pretrained=true; accepted: null, or model.pretrained=false"
    if at("quantization") == "nf4" and (at("pretrained") is False or _value(values, "trainer.accelerator") == "cpu"):
        yield "model.quantization: found nf4; accepted: none, or published weights on a GPU (trainer=gpu)"
    if at("quantization") == "nf4" and "llm" in parts:
        yield "model.train: found llm with model.quantization=nf4; accepted: lora, four-bit weights cannot train"
    if at("llm_shape") is not None and not (isinstance(at("llm_shape"), Mapping) and "model_type" in at("llm_shape")):
        yield "model.llm_shape: found no model_type; accepted: llama, opt, mpt or another of transformers, or null"

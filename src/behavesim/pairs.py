"""Settings that are each fine and cannot be meant together, refused by name before anything loads."""

import math
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from behavesim.nodes import MISSING

# What may choose an epoch or a setting: lower is better, and never the test split.
MONITORED = ("train/loss", "val/loss", "val/rmsle", "val/rmse", "val/mae")
RESERVED_NAMES = ("cache", "pictures", "sample")  # folders beside the prepared ones


def impossible_pairs(values: Mapping[str, Any]) -> Iterator[str]:
    """One line for every impossible pair in a resolved configuration (plain mappings and lists)."""
    checks = (
        _impossible_inputs,
        _impossible_folds,
        _impossible_pictures,
        _impossible_texts,
        _impossible_models,
        _impossible_processes,
        _impossible_endings,
    )
    return chain.from_iterable(check(values) for check in checks)


def value_at(values: Mapping[str, Any], key: str) -> Any:
    """The value at a dotted key; None where there is none."""
    found: Any = values
    for part in key.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return None if found == MISSING else found


def _impossible_inputs(values: Mapping[str, Any]) -> Iterator[str]:
    """Of the table, the logger and what goes on."""

    def at(key: str) -> Any:
        return value_at(values, key)

    for place in ("data.", ""):
        held_out = [at(f"{place}validation"), at(f"{place}test")]
        if all(isinstance(share, float) for share in held_out) and sum(held_out) >= 1:
            found = f"{held_out[0]} and {held_out[1]}"
            yield f"{place}validation, {place}test: found {found}; accepted: a sum below 1"
    if at("data.path") is not None and at("data.sample") is not None:
        yield f"data.path: found {at('data.path')} with data=sample; accepted: data=tweets data.path=FILE"
    if at("logger.name") == "mlflow" and not (at("logger.tracking_uri") and at("logger.experiment_name")):
        yield "logger: found mlflow without tracking_uri or experiment_name; accepted: both"
    if at("trainer.fast_dev_run") and at("ckpt_path"):
        yield "ckpt_path: found with debug=fdr; accepted: one of them, a one-batch run continues nothing"
    if at("warmup_steps") is not None and at("trainer.fast_dev_run"):
        yield f"trainer.fast_dev_run: found {at('trainer.fast_dev_run')}; accepted: false, a benchmark has steps="
    if at("warmup_steps") is not None and at("model.quantization") not in (None, "none"):
        yield f"model.quantization: found {at('model.quantization')}; accepted: none, random weights are not quantized"


def _impossible_folds(values: Mapping[str, Any]) -> Iterator[str]:
    """Of the disjoint test parts of a split."""
    fold, kind, test = (value_at(values, f"data.{key}") for key in ("fold", "split", "test"))
    if not isinstance(fold, int) or fold <= 0:
        return
    if kind == "unseen_time":
        yield f"data.fold: found {fold} with data.split=unseen_time; accepted: 0, its test rows are the latest"
    elif isinstance(test, float) and 0 < test < 1:
        last = math.floor(1 / test + 1e-9) - 1  # a share such as 1/15 has no exact value
        if fold > last:
            accepted = f"0 to {last}" if last else "0"
            yield f"data.fold: found {fold} with data.test={test:g}; accepted: {accepted}, later ones overlap the first"


def _impossible_pictures(values: Mapping[str, Any]) -> Iterator[str]:
    """Of where pictures come from."""

    def at(key: str) -> Any:
        return value_at(values, key)

    features, column, parts = at("data.image_features"), at("data.image_column"), at("model.train")
    if features is not None and column not in (None, "artifact"):
        yield f"data.image_column: found {column} with data.image_features; accepted: null, features take its place"
    if at("data.only_pictures") is True and at("data.use_images") is False and features is None:
        yield "data.only_pictures: found true with data.use_images=false; accepted: one of them"
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


def _impossible_texts(values: Mapping[str, Any]) -> Iterator[str]:
    """Of written tweets."""
    place = {"content": "task", "joint": "task.content"}.get(str(value_at(values, "task.name")))
    if place is None:
        return

    def at(key: str) -> Any:
        return value_at(values, f"{place}.{key}")

    count, room, text = at("alternatives"), at("max_length"), at("text_tokens")
    if at("decode") == "greedy" and isinstance(count, int) and count > 1:
        found = f"{count} with {place}.decode=greedy"
        yield f"{place}.alternatives: found {found}; accepted: 1, or decode=beam, sampled or consensus"
    if at("decode") == "consensus" and at("draws") == 1:
        yield f"{place}.draws: found 1 with {place}.decode=consensus; accepted: at least 2, or decode=sampled"
    if isinstance(room, int) and isinstance(text, int) and room <= text:
        yield f"{place}.max_length: found {room} with {place}.text_tokens={text}; accepted: more, the request comes too"
    if at("condition_on_likes") is True and value_at(values, "data.history") == "none":
        yield f"{place}.condition_on_likes: found true with data.history=none; accepted: false, no account's are known"


def _impossible_models(values: Mapping[str, Any]) -> Iterator[str]:
    """Of `model` and what it runs on."""

    def at(key: str) -> Any:
        return value_at(values, f"model.{key}")

    parts, rank = at("train") or [], at("lora.r")
    parts = parts if isinstance(parts, list) else []
    if "lora" in parts and rank == 0:
        yield "model.train: found lora with model.lora.r=0; accepted: model.lora.r=8 or another rank"
    if {"llm", "lora"} <= set(parts):
        yield "model.train: found llm and lora; accepted: one of them, LoRA freezes the language model's own weights"
    if value_at(values, "task.history_text") is True and value_at(values, "task.text_summary") == 0:
        yield "task.history_text: found true with task.text_summary=0; accepted: task.text_summary=64"
    head = at("head")
    asks_likes = value_at(values, "task.name") != "content"
    if parts and asks_likes and head in ("histogram", "regression") and "head" not in parts:
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
    if at("quantization") == "nf4" and (at("pretrained") is False or value_at(values, "trainer.accelerator") == "cpu"):
        yield "model.quantization: found nf4; accepted: none, or published weights on a GPU (trainer=gpu)"
    if at("quantization") == "nf4" and "llm" in parts:
        yield "model.train: found llm with model.quantization=nf4; accepted: lora, four-bit weights cannot train"
    if at("llm_shape") is not None and not (isinstance(at("llm_shape"), Mapping) and "model_type" in at("llm_shape")):
        yield "model.llm_shape: found no model_type; accepted: llama, opt, mpt or another of transformers, or null"


def _impossible_processes(values: Mapping[str, Any]) -> Iterator[str]:
    """Of `trainer` and `strategy`: what runs on which devices."""

    def at(key: str) -> Any:
        return value_at(values, key)

    devices = at("trainer.devices")
    one = devices in (1, "1", None) or (isinstance(devices, list) and len(devices) == 1)
    alone = one and at("trainer.num_nodes") in (1, None)
    if at("model") is None and not alone:
        found = f"{devices} with trainer.num_nodes={at('trainer.num_nodes')}"
        yield f"trainer.devices: found {found}; accepted: 1 with 1 node, training alone shares its work out"
    target, on_cpu = str(at("strategy._target_")), at("trainer.accelerator") == "cpu"
    fsdp, zero = target.endswith(".FsdpStrategy"), target.endswith(".ZeroStrategy")
    if fsdp and at("trainer.precision") == "16-mixed":
        yield "trainer.precision: found 16-mixed with strategy=fsdp; accepted: bf16-mixed, or another strategy"
    for key in ("offload_optimizer", "offload_parameters"):
        if at(f"strategy.{key}") and on_cpu:
            yield f"strategy.{key}: found true with trainer.accelerator=cpu; accepted: false, there is no other memory"
    shared = fsdp or (zero and at("strategy.stage") == 3)
    halves = at("model.weights_dtype") not in (None, "float32") and "llm" in (at("model.train") or [])
    if shared and halves:
        found = f"{at('model.weights_dtype')} with llm in model.train and weights that are shared out"
        yield f"model.weights_dtype: found {found}; accepted: float32, all that trains is of one kind there"
    if at("model.quantization") == "nf4" and shared:
        yield "model.quantization: found nf4 with weights that are shared out; accepted: strategy=ddp, zero1 or zero2"
    if zero and at("trainer.gradient_clip_algorithm") == "value":
        yield "trainer.gradient_clip_algorithm: found value with DeepSpeed; accepted: norm"


def _impossible_endings(values: Mapping[str, Any]) -> Iterator[str]:
    """Settings with which a training could not be finished, or its best epoch not be told."""
    for key in ("max_epochs", "max_steps", "limit_train_batches", "limit_val_batches", "limit_test_batches"):
        if value_at(values, f"trainer.{key}") == 0 and "model" in values:
            yield f"trainer.{key}: found 0; accepted: more, training ends with validation and test"
    callbacks = value_at(values, "callbacks") if isinstance(value_at(values, "callbacks"), Mapping) else {}
    monitors = {f"callbacks.{name}.monitor": value_at(node or {}, "monitor") for name, node in callbacks.items()}
    for key, metric in {**monitors, "optimized_metric": value_at(values, "optimized_metric")}.items():
        if metric is not None and metric not in MONITORED:
            yield f"{key}: found {metric}; accepted: {', '.join(MONITORED)}"

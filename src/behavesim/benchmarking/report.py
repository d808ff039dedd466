"""The table of a benchmark: printed, and written for people and for programs."""

import json
import shlex
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import lightning
import torch
from lightning.pytorch.strategies import DeepSpeedStrategy
from omegaconf import DictConfig

from behavesim import build
from behavesim.benchmarking.measuring import Measured
from behavesim.data.datamodule import EVALUATION_FACTOR, TweetDataModule
from behavesim.log import log, table_text
from behavesim.machine import machine, versions
from behavesim.models.git import GitModel
from behavesim.models.trainable import parameter_table

MARKDOWN, JSON = "benchmark.md", "benchmark.json"


def _digits(value: float) -> str:
    """Three digits, or all in front of the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


# Of each, the figure and its form. `MFU` is a share of `best TFLOP/s`, what one device can do, times the devices.
COLUMNS = {
    "samples/s": ("samples_per_second", _digits),
    "tokens/s": ("tokens_per_second", _digits),
    "padding": ("padding_share", "{:.1%}".format),
    "data wait": ("data_wait_share", "{:.1%}".format),
    "peak GiB": ("peak_memory_gib", "{:.2f}".format),
    "best TFLOP/s": ("best_tflops", _digits),
    "MFU": ("mfu", "{:.1%}".format),
    "steps": ("steps", "{:,}".format),
    "seconds": ("seconds", "{:.1f}".format),
}
LIBRARIES = ("behavesim", "torch", "lightning", "transformers", "peft", "open_clip_torch")


def described(cfg: DictConfig, model: GitModel) -> str:
    """What is measured, in one line."""
    name = build.choices().get("model", cfg.model["_target_"].rpartition(".")[2])
    parts = parameter_table(model)
    weights, trainable = (sum(part[column] for part in parts) for column in (1, 2))
    dtype = str(model.llm.dtype).removeprefix("torch.")
    checkpointing = ", gradient checkpointing" if cfg.model.gradient_checkpointing else ""
    return (
        f"{name}, head {cfg.model.head}, {weights:,} random weights, {trainable:,} of them train "
        f"({', '.join(cfg.model.train)}); language model in {dtype}{checkpointing}"
    )


def facts(cfg: DictConfig, trainer: lightning.Trainer, data: TweetDataModule, *, model: str) -> dict[str, str]:
    """What the figures depend on: the machine, versions and settings; `model` is what `described` said."""
    deepspeed = ["deepspeed"] if isinstance(trainer.strategy, DeepSpeedStrategy) else []
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": machine(),
        "devices": _devices(trainer),
        "versions": versions(*LIBRARIES, *deepspeed),
        "model": model,
        "data": _data(cfg, data),
        "command": shlex.join(["python", "-m", "behavesim.benchmark", *build.overrides()]),
    }


def _devices(trainer: lightning.Trainer) -> str:
    device = trainer.strategy.root_device
    name = f"CPU with {torch.get_num_threads()} threads"
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    strategy = build.choices().get("strategy", type(trainer.strategy).__name__)
    accumulated = f", {trainer.accumulate_grad_batches} batches a step" if trainer.accumulate_grad_batches > 1 else ""
    return f"{trainer.world_size} × {name}; strategy {strategy}, precision {trainer.precision}{accumulated}"


def _data(cfg: DictConfig, data: TweetDataModule) -> str:
    source = cfg.data.path or f"sample of {cfg.data.sample.rows:,} tweets"
    budget, rows = data.settings.tokens_per_batch, data.settings.rows_per_batch
    most = f" and {rows} tweets" if rows else ""
    return (
        f"{source}, {data.encoded['train'].lengths.mean():.0f} text tokens a tweet; batches of up to {budget:,} places"
        f"{most} in training, {EVALUATION_FACTOR} times that in prediction; {data.settings.num_workers} workers"
    )


def publish(cfg: DictConfig, measured: Mapping[str, Measured], facts: Mapping[str, str]) -> None:
    """Print the table, and write it beside the run's other output."""
    values = {name: _values(found) for name, found in measured.items()}
    header = ("", *COLUMNS)
    rows = [
        [name, *(form(found[key]) if key in found else "" for key, form in COLUMNS.values())]
        for name, found in values.items()
    ]
    print(table_text(cfg.run_name, header, rows, width=120))
    for name, value in facts.items():
        print(f"  {name:<9} {value}")
    folder = Path(cfg.paths.output)
    folder.mkdir(parents=True, exist_ok=True)
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    listed = "\n".join(f"- {name}: {value}" for name, value in facts.items())
    (folder / MARKDOWN).write_text(f"{table}\n\n{listed}\n")
    (folder / JSON).write_text(json.dumps({**values, **facts}, indent=2) + "\n")
    log.info("written to %s and %s", folder / MARKDOWN, folder / JSON)


def _values(found: Measured) -> dict[str, float]:
    best = {} if found.peak is None else {"best_tflops": found.peak / 1e12}
    return {**found.figures, **best, "steps": found.steps, "seconds": found.seconds}

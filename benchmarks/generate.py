"""How much faster batched, cached generation is than one tweet at a time without a cache: python benchmarks/generate.py

A model of the default size writes the tweets of a made table greedily, in both ways. Its weights are trained for a
moment: random ones write the same token over and over. Prints seconds, tokens a second and whether all texts agree.
"""

import argparse
import contextlib
import io
import os
import tempfile
import time
from pathlib import Path

import torch
from torch import Tensor

from behavesim.artifact import load_artifact
from behavesim.cli import compose
from behavesim.data.batch import Batch
from behavesim.data.datamodule import TweetDataModule
from behavesim.described_model import decoding
from behavesim.inputs import datamodule
from behavesim.machine import description
from behavesim.models.decoding import Decoding
from behavesim.models.git import GitModel
from behavesim.models.text_head import answer_mask
from behavesim.train import train
from behavesim.training.content_module import ContentModule

LIBRARIES = ("behavesim", "torch", "lightning", "transformers")


def asked(batch: Batch) -> dict[str, Tensor | None]:
    """A batch's inputs without its answers."""
    answer = answer_mask(batch.attention_mask, batch.answer_length)
    return batch.inputs() | {"attention_mask": batch.attention_mask * ~answer}


@torch.no_grad()
def one_by_one(model: GitModel, batch: Batch, how: Decoding) -> list[int]:
    """The text of a batch of one row, everything computed anew for each token."""
    inputs = asked(batch)
    inputs["input_ids"] = inputs["input_ids"][:, : int(inputs["attention_mask"].sum())]
    new: list[int] = []
    while len(new) < how.max_new_tokens and not (new and new[-1] in model.eos_ids):
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        logits = model.vocabulary(model.hidden(**inputs).text[:, -1])
        token = how.score(logits, torch.tensor([new], dtype=torch.int64).view(1, -1)).argmax(dim=-1)
        inputs["input_ids"] = torch.cat([inputs["input_ids"], token[:, None]], dim=1)
        new.append(int(token))
    return new


def trained(steps: int) -> tuple[ContentModule, TweetDataModule]:
    """What writes, and its rows."""
    settings = [
        "task=content",
        "task.decode=greedy",
        "task.copying=0",
        f"trainer.max_steps={steps}",
        "logger=none",
        "run_name=generate",
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        train(compose("train", [*settings, "callbacks.progress=null", "+trainer.enable_progress_bar=false"]))
    artifact = load_artifact(Path("checkpoints/generate"))
    how = decoding(artifact.config, artifact.writer.tokenizer)
    module = ContentModule(artifact.model, None, decoding=how, read=artifact.writer.read_texts)
    return module, datamodule(compose("train", settings))


def measure(rows: int, steps: int) -> list[tuple[str, float, int, list[list[int]]]]:
    """For each way its name, seconds, tokens written and texts."""
    module, data = trained(steps)
    model, how = module.model, module.decoding
    dataset = data.requests("test").dataset
    places = list(range(min(rows, len(dataset))))
    started = time.perf_counter()
    with torch.no_grad():
        together = [ended(text, model) for text in module.texts(dataset.__getitems__(places))[:, 0].tolist()]
    seconds = time.perf_counter() - started
    started = time.perf_counter()
    alone = [one_by_one(model, dataset[place], how) for place in places]
    found = ((f"{len(places)} together, cached", seconds, together),)
    found += (("one by one, without a cache", time.perf_counter() - started, alone),)
    return [(name, seconds, sum(map(len, texts)), texts) for name, seconds, texts in found]


def ended(ids: list[int], model: GitModel) -> list[int]:
    """Ids up to the first that ends a text."""
    ends = [place for place, token in enumerate(ids) if token in model.eos_ids]
    return ids[: ends[0] + 1] if ends else ids


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=128)
    parser.add_argument("--steps", type=int, default=100, help="of training beforehand")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        found = measure(options.rows, options.steps)
        os.chdir("/")
    print(description(*LIBRARIES))
    print("| | seconds | tokens | tokens a second |\n|---|---:|---:|---:|")
    for name, seconds, tokens, _ in found:
        print(f"| {name} | {seconds:.2f} | {tokens:,} | {tokens / seconds:,.0f} |")
    same = sum(one == other for one, other in zip(found[0][3], found[1][3], strict=True))
    print(f"\n{found[1][1] / found[0][1]:.1f} times faster; {same} of {len(found[0][3])} texts are the same")


if __name__ == "__main__":
    main()

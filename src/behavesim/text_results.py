"""What the texts of a finished training are worth, beside training tweets in their place."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl
from omegaconf import DictConfig

from behavesim.data.datamodule import TweetDataModule
from behavesim.metrics import text_baselines
from behavesim.metrics.text import text_metrics
from behavesim.processes.ranks import is_main
from behavesim.training.content_module import text_loss

TEXTS = "texts.csv"
# Of the table that training ends with.
COLUMNS = ("rouge_l", "cider", "bleu_4", "chrf", "distinct_texts", "length_ratio")
READ = ("id", "date", "username", "content")


def scores(cfg: DictConfig, data: TweetDataModule, table: Mapping[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """Metrics of the written test rows, `table` as a `ContentModule` leaves it, and of guesses; `TEXTS` holds them all.

    Of several alternatives the first is scored, which beams find likeliest.
    """
    test = data.texts["test"][table["rows"]].frame(*READ)
    train = data.texts["train"].frame(*READ)
    written = [data.writer.read_texts(table["ids"][:, place]) for place in range(table["ids"].shape[1])]
    texts = {
        "model": written[0],
        "nearest in time": text_baselines.nearest_in_time(train, test),
        "random tweet": text_baselines.random_of_account(train, test, cfg.seed),
    }
    found = {name: text_metrics(each, test["content"].to_list()) for name, each in texts.items()}
    found["model"] |= text_loss(dict(table))
    if is_main():
        _write(Path(cfg.paths.output), test, written, texts)
    return found


def _write(folder: Path, test: pl.DataFrame, written: list[list[str]], texts: Mapping[str, list[str]]) -> None:
    """A row for each test tweet: what was posted, what was written, and the guesses."""
    columns = {"written" if not place else f"written_{place + 1}": each for place, each in enumerate(written)}
    columns |= {name.replace(" ", "_"): each for name, each in texts.items() if name != "model"}
    folder.mkdir(parents=True, exist_ok=True)
    columns = [pl.Series(name, each, pl.String) for name, each in columns.items()]
    test.rename({"content": "posted"}).with_columns(columns).write_csv(folder / TEXTS)

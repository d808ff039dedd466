"""What written tweets are worth, beside training tweets in their place."""

from collections.abc import Mapping, Sequence
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
# Of the tables that people read; a record has all metrics.
COLUMNS = ("rouge_l", "cider", "bleu_4", "chrf", "distinct_texts", "copied_texts", "length_ratio")
READ = ("id", "date", "username", "content")


def guesses(train: pl.DataFrame, asked: pl.DataFrame, seed: int) -> dict[str, list[str]]:
    """Training tweets in the place of those that are asked for; none where `train` holds no texts."""
    train = train.filter(pl.col("content").is_not_null() & (pl.col("content") != ""))
    if train.is_empty():
        return {}
    return {
        "nearest in time": text_baselines.nearest_in_time(train, asked),
        "random tweet": text_baselines.random_of_account(train, asked, seed),
    }


def scored(
    posted: pl.DataFrame,
    written: Sequence[list[str]],
    beside: Mapping[str, list[str]],
    train: pl.DataFrame,
    folder: Path,
) -> dict[str, dict[str, float]]:
    """Metrics of texts and guesses, by name; `TEXTS` in `folder` holds them all, a row for each tweet.

    To those of `text_metrics` comes `copied_texts`, the share that are a training tweet word for word, where their
    texts are known.

    Args:
        posted: N tweets with the columns of `READ`.
        written: A alternatives of N texts, of which the first is scored; none where no model writes.
        beside: guesses, N texts each.
        train: training tweets, with `content`, which may be null.
        folder: of the run.
    """
    texts = {**({"model": written[0]} if written else {}), **beside}
    found = {name: text_metrics(each, posted["content"].to_list()) for name, each in texts.items()}
    if known := set(train["content"].drop_nulls().str.strip_chars()) - {""}:
        for name, each in texts.items():
            found[name]["copied_texts"] = sum(text.strip() in known for text in each) / len(each)
    if is_main():
        columns = {"written" if not place else f"written_{place + 1}": each for place, each in enumerate(written)}
        columns |= {name.replace(" ", "_"): each for name, each in beside.items()}
        series = [pl.Series(name, each, pl.String) for name, each in columns.items()]
        folder.mkdir(parents=True, exist_ok=True)
        posted.select(READ).rename({"content": "posted"}).with_columns(series).write_csv(folder / TEXTS)
    return found


def scores(cfg: DictConfig, data: TweetDataModule, table: Mapping[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """Those of the test rows of a training, `table` as a `ContentModule` leaves it."""
    test = data.texts["test"][table["rows"]].frame(*READ)
    written = [data.writer.read_texts(ids) for ids in table["ids"].swapaxes(0, 1)]
    train = data.texts["train"].frame(*READ)
    found = scored(test, written, guesses(train, test, cfg.seed), train, Path(cfg.paths.output))
    found["model"] |= text_loss(dict(table))
    return found

"""Tables of the study of likes, of what `run.sh` left in `results/`.

PYTHONPATH=experiments python experiments/likes/collect.py
"""

from pathlib import Path

import numpy as np
from study import cell, header, read, row

SEEDS, FOLDS = range(3), range(5)
NAMES = ("constant", "account_mean", "rolling_mean", "lightgbm", "model")
METRICS = ("rmsle", "rmse", "spearman", "crps_log", "coverage_80")
ROLLING = "rolling_mean"

Scores = dict[str, dict]


def scores(run: str) -> Scores | None:
    """Metrics of the model and of each baseline; None for a run that is not there."""
    found = read(Path(__file__).parent / f"results/{run}.json")
    return found and {name: found[name] for name in NAMES if name in found}


def known_table(split: str) -> None:
    """Each name on one split, over seeds."""
    runs = [found for seed in SEEDS if (found := scores(f"{split}_{seed}_train"))]
    print(f"\n{split}, {len(runs)} seeds\n\n{header('', *METRICS)}")
    for name in NAMES:
        # The rolling mean predicts no distribution.
        values = [[run[name][metric] for run in runs if metric in run[name]] for metric in METRICS]
        cells = [cell(each, 0 if metric == "rmse" else 4) for metric, each in zip(METRICS, values, strict=True)]
        print(row(name.replace("_", " "), *cells))


def company_tables() -> None:
    """Folds of companies: without a past against the constant, with one against the rolling mean."""
    for mode, reference, rows in (("none", "constant", "all rows"), ("rolling", ROLLING, "rows with an earlier post")):
        print(f"\nunseen_company, {mode}, {rows}\n")
        columns = (f"rmsle: {reference.replace('_', ' ')}", "model", "less", "spearman", "rmse: constant")
        print(header("fold", *columns, "account mean", "rolling mean", "model", "coverage_80"))
        folds = np.array([[_company_row(mode, reference, fold, seed) for fold in FOLDS] for seed in SEEDS])
        for fold in FOLDS:
            _print_company(str(fold), folds[:, fold])
        # The mean over folds of each seed: its spread is that of the whole study.
        _print_company("mean", folds.mean(axis=1))


def _company_row(mode: str, reference: str, fold: int, seed: int) -> list[float]:
    """Columns of the table; nan for a run that is not there."""
    found = scores(f"company_{fold}_{seed}_{mode}")
    if found is None:
        return [np.nan] * 9
    of = {name: each["with_past"] if mode == "rolling" else each for name, each in found.items()}
    theirs, ours = of[reference]["rmsle"], of["model"]["rmsle"]
    errors = [of[name]["rmse"] for name in ("constant", "account_mean", ROLLING, "model")]
    model = of["model"]
    return [theirs, ours, 100 * (1 - ours / theirs), model["spearman"], *errors, 100 * model["coverage_80"]]


def _print_company(label: str, seeds: np.ndarray) -> None:
    """Means and standard deviations over the seeds [S, columns] that are there."""
    there = seeds[~np.isnan(seeds).any(axis=1)]
    if len(there):
        digits = (3, 3, 1, 3, 0, 0, 0, 0, 0)
        cells = [cell(list(column), places) for column, places in zip(there.T, digits, strict=True)]
        print(row(label, *cells))


if __name__ == "__main__":
    for split in ("random", "unseen_time"):
        known_table(split)
    company_tables()

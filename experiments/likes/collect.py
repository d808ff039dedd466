"""Tables of the study of likes, of what `run.sh` left in `results/`: python experiments/likes/collect.py"""

import json
from pathlib import Path

import numpy as np

SEEDS, FOLDS = range(3), range(5)
NAMES = ("constant", "account_mean", "rolling_mean", "lightgbm", "model")
METRICS = ("rmsle", "rmse", "spearman", "crps_log", "coverage_80")
ROLLING = "rolling_mean"

Scores = dict[str, dict]


def scores(run: str) -> Scores | None:
    """Metrics of the model and of each baseline; None for a run that is not there."""
    file = Path(__file__).parent / "results" / f"{run}.json"
    if not file.exists():
        return None
    found = json.loads(file.read_text())
    return {name: found[name] for name in NAMES if name in found}


def cell(values: list[float], digits: int) -> str:
    """Mean and standard deviation; empty without values."""
    if not values:
        return ""
    spread = f" ± {np.std(values, ddof=1):,.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):,.{digits}f}{spread}"


def known_table(split: str) -> None:
    """Each name on one split, over seeds."""
    runs = [found for seed in SEEDS if (found := scores(f"{split}_{seed}_train"))]
    print(f"\n{split}, {len(runs)} seeds\n\n| | {' | '.join(METRICS)} |\n|---|" + "---|" * len(METRICS))
    for name in NAMES:
        # The rolling mean predicts no distribution.
        values = [[run[name][metric] for run in runs if metric in run[name]] for metric in METRICS]
        cells = [cell(each, 0 if metric == "rmse" else 4) for metric, each in zip(METRICS, values, strict=True)]
        print(f"| {name.replace('_', ' ')} | {' | '.join(cells)} |")


def company_table() -> None:
    """Folds of companies: without a past against the constant, with one against the rolling mean."""
    print("\n| fold | none: constant | model | less | spearman | rolling: rolling mean | model | less |")
    print("|---|" + "---|" * 7)
    rows = []
    for fold in FOLDS:
        found = [
            _company_row(none, rolling)
            for seed in SEEDS
            if (none := scores(f"company_{fold}_{seed}_none")) and (rolling := scores(f"company_{fold}_{seed}_rolling"))
        ]
        if found:
            rows.append(np.mean(found, axis=0))
            _print_company(str(fold), rows[-1], np.array(found))
    if rows:
        _print_company("mean", np.mean(rows, axis=0), np.array(rows)[:1])


def _company_row(none: Scores, rolling: Scores) -> list[float]:
    constant, alone = none["constant"]["rmsle"], none["model"]["rmsle"]
    mean, model = (rolling[name]["with_past"]["rmsle"] for name in (ROLLING, "model"))
    return [constant, alone, 1 - alone / constant, none["model"]["spearman"], mean, model, 1 - model / mean]


def _print_company(label: str, row: np.ndarray, seeds: np.ndarray) -> None:
    spread = seeds.std(axis=0, ddof=1) if len(seeds) > 1 else np.zeros(len(row))
    cells = [f"{100 * value:.1f} %" if place in (2, 6) else f"{value:.3f}" for place, value in enumerate(row)]
    for place in (1, 5):
        if spread[place]:
            cells[place] += f" ± {spread[place]:.3f}"
    print(f"| {label} | {' | '.join(cells)} |")


if __name__ == "__main__":
    for split in ("random", "unseen_time"):
        known_table(split)
    company_table()

"""Table of the ablations, of what `run.sh` left in `results/`: python experiments/ablations/collect.py"""

import json
from pathlib import Path

import numpy as np

SEEDS = range(3)
PARTS = {
    "whole": "the default model",
    "no_text": "without text: neither read nor counted",
    "no_history": "without history: whose tweet it is does not count",
    "no_time": "without time",
    "image_features": "with CLIP features of a third of the tweets",
    "regression": "head: regression in place of the histogram",
    "digits": "head: digits, written and drawn",
}
METRICS = {"rmsle": 4, "rmse": 0, "mae": 0, "spearman": 4, "crps_log": 4}  # with their digits
HERE = Path(__file__).parent


def scores(part: str, seed: int) -> dict | None:
    """Test scores of one training; None where it is not there."""
    whole = HERE.parent / f"likes/results/random_{seed}_train.json"
    file = whole if part == "whole" else HERE / f"results/{part}_{seed}.json"
    if not file.exists():
        return None
    found = json.loads(file.read_text())
    return found["model"] if file == whole else found


def cell(values: list[float], digits: int) -> str:
    """Mean and standard deviation."""
    spread = f" ± {np.std(values, ddof=1):,.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):,.{digits}f}{spread}" if values else ""


def difference(part: str) -> str:
    """rmsle beyond the whole model's of the same seed: mean and range."""
    pairs = [(found, whole) for seed in SEEDS if (found := scores(part, seed)) and (whole := scores("whole", seed))]
    differences = [100 * (found["rmsle"] / whole["rmsle"] - 1) for found, whole in pairs]
    if not differences or part == "whole":
        return ""
    return f"{np.mean(differences):+.1f} % ({min(differences):+.1f} to {max(differences):+.1f})"


if __name__ == "__main__":
    print(f"| | seeds | rmsle against the whole | {' | '.join(METRICS)} |\n|---|---|---|" + "---|" * len(METRICS))
    for part, label in PARTS.items():
        runs = [found for seed in SEEDS if (found := scores(part, seed))]
        cells = [cell([run[name] for run in runs if name in run], digits) for name, digits in METRICS.items()]
        print(f"| {label} | {len(runs)} | {difference(part)} | {' | '.join(cells)} |")

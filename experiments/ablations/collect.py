"""Table of the ablations, of what `run.sh` left in `results/`.

PYTHONPATH=experiments python experiments/ablations/collect.py
"""

from pathlib import Path

from study import beyond, cell, header, read, row

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
    if part == "whole":
        found = read(HERE.parent / f"likes/results/random_{seed}_train.json")
        return found and found["model"]
    return read(HERE / f"results/{part}_{seed}.json")


def difference(part: str) -> str:
    """rmsle beyond the whole model's of the same seed."""
    pairs = [(found, whole) for seed in SEEDS if (found := scores(part, seed)) and (whole := scores("whole", seed))]
    if part == "whole":
        return ""
    return beyond([found["rmsle"] for found, _ in pairs], [whole["rmsle"] for _, whole in pairs])


if __name__ == "__main__":
    print(header("", "seeds", "rmsle against the whole", *METRICS))
    for part, label in PARTS.items():
        runs = [found for seed in SEEDS if (found := scores(part, seed))]
        cells = [cell([run[name] for run in runs if name in run], digits) for name, digits in METRICS.items()]
        print(row(label, str(len(runs)), difference(part), *cells))

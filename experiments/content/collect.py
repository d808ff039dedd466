"""Tables of written tweets, of what `run.sh` left in `results/`: python experiments/content/collect.py"""

import json
from pathlib import Path

import numpy as np

SEEDS = range(3)
DECODES = {
    "consensus": "**model, consensus**",
    "sampled": "model, sampled at the same temperature",
    "beam": "model, beams",
    "greedy": "model, greedy",
}
GUESSES = {
    "most_typical": "the account's most typical training tweet",
    "nearest_in_time": "its nearest in time, here its latest",
    "nearest_by_metadata": "nearest by metadata",
    "random_tweet": "a random tweet of the account",
}
TEXTS = {"rouge_1": 3, "rouge_2": 3, "rouge_l": 3, "cider": 3, "bleu_4": 3, "chrf": 3, "distinct_texts": 2}
TEXTS |= {"length_ratio": 2}  # with their digits
LIKES = {"rmsle": 4, "rmse": 0, "mae": 0, "spearman": 4}
HERE = Path(__file__).parent


def read(place: str) -> dict | None:
    """Scores of a run; None where it is not there."""
    file = HERE / place
    return json.loads(file.read_text()) if file.exists() else None


def row(label: str, runs: list[dict], metrics: dict[str, int]) -> str:
    """Mean and standard deviation of each metric."""
    cells = [label, str(len(runs))]
    for name, digits in metrics.items():
        values = [run[name] for run in runs]
        spread = f" ± {np.std(values, ddof=1):,.{digits}f}" if len(set(values)) > 1 else ""
        cells.append(f"{np.mean(values):,.{digits}f}{spread}" if values else "")
    return f"| {' | '.join(cells)} |"


def header(metrics: dict[str, int]) -> str:
    """Names of the columns."""
    return f"| | seeds | {' | '.join(metrics)} |\n|---|---|{'---|' * len(metrics)}"


if __name__ == "__main__":
    print(header(TEXTS))
    for decode, label in DECODES.items():
        runs = [found["model"] for seed in SEEDS if (found := read(f"results/content_{seed}_{decode}.json"))]
        print(row(label, runs, TEXTS))
    for guess, label in GUESSES.items():
        runs = [found[guess] for seed in SEEDS if (found := read(f"results/content_{seed}_consensus.json"))]
        print(row(label, runs, TEXTS))
    alone = [read(f"../likes/results/random_{seed}_train.json")["model"] for seed in SEEDS]
    both = {seed: found for seed in SEEDS if (found := read(f"results/joint_{seed}.json"))}
    print(f"\n{header(LIKES)}")
    print(row("likes alone", alone, LIKES))
    print(row("likes and texts", list(both.values()), LIKES))
    if both:
        beyond = [100 * (found["rmsle"] / alone[seed]["rmsle"] - 1) for seed, found in both.items()]
        print(f"\nrmsle beyond that of likes alone, of equal seeds: mean {np.mean(beyond):+.1f} % (", end="")
        print(f"{min(beyond):+.1f} to {max(beyond):+.1f})")

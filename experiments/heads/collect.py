"""Table and plot of the study of heads: python experiments/heads/collect.py NAME, where `run.sh` was run."""

import csv
import json
import sys
from collections import defaultdict
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import yaml

METRICS = ("rmsle", "rmse", "mae", "spearman", "distinct", "parse_failures")
HERE = Path(__file__).parent


def best_validation(job: Path) -> dict[str, float]:
    """Validation scores of the job's best epoch, which val/rmsle chooses."""
    with (job / "csv" / "metrics.csv").open() as file:
        epochs = [row for row in csv.DictReader(file) if row.get("val/rmsle")]
    best = min(epochs, key=lambda row: float(row["val/rmsle"]))
    return {f"val_{metric}": float(best[f"val/{metric}"]) for metric in ("rmsle", "rmse")}


def rows(name: str) -> dict[str, list[dict[str, float]]]:
    """Scores of each variant, one entry a seed."""
    found = defaultdict(list)
    for job in sorted(Path("multirun", name).iterdir()):
        if not (job / "metrics.json").exists():
            continue
        overrides = dict(text.split("=", 1) for text in yaml.safe_load((job / ".hydra" / "overrides.yaml").read_text()))
        head = overrides["model.head"]
        variant = f"{head}, expected" if head == "text" else head
        found[variant].append(json.loads((job / "metrics.json").read_text()) | best_validation(job))
        greedy = Path("outputs", f"{name}_{job.name}_greedy", "metrics.json")
        if greedy.exists():
            found["text, greedy"].append(json.loads(greedy.read_text()))
    return found


def cell(scores: list[dict[str, float]], metric: str) -> str:
    """Mean and standard deviation over seeds; empty where a variant has no such score."""
    values = np.array([score[metric] for score in scores if metric in score])
    digits = {"rmse": 0, "val_rmse": 0, "mae": 1, "distinct": 0, "parse_failures": 5}.get(metric, 4)
    return f"{values.mean():,.{digits}f} ± {values.std(ddof=1):,.{digits}f}" if len(values) > 1 else ""


def main(name: str) -> None:
    """Print the table and write the plot."""
    found = rows(name)
    columns = ("val_rmsle", "val_rmse", *METRICS)
    print("| head, decoding | seeds |", " | ".join(columns), "|")
    print("|---|---|" + "---|" * len(columns))
    for variant, scores in found.items():
        print(f"| {variant} | {len(scores)} |", " | ".join(cell(scores, metric) for metric in columns), "|")
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    for axis, metric in zip(axes, ("rmsle", "rmse"), strict=True):
        for place, scores in enumerate(found.values()):
            values = [score[metric] for score in scores]
            axis.scatter(values, [place] * len(values), color="tab:blue", alpha=0.6)
            axis.scatter(np.mean(values), place, color="black", marker="|", s=200)
        axis.set_yticks(range(len(found)), list(found))
        axis.invert_yaxis()
        axis.set_xlabel(f"test {metric}, one dot a seed, bar the mean")
        axis.grid(axis="x", alpha=0.3)
    figure.savefig(HERE / "heads.png", dpi=150)


if __name__ == "__main__":
    main(sys.argv[1])

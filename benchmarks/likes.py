"""How long training and prediction take beside LightGBM's: python benchmarks/likes.py TABLE

Both are trained on the training rows of the random split of a labelled table. Prints seconds of whole commands, which
load their libraries and read the table, and LightGBM's share of its command.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from behavesim.machine import description

LIBRARIES = ("behavesim", "torch", "lightning", "transformers", "lightgbm", "scikit-learn")


def run(folder: Path, command: str, *arguments: str) -> float:
    """Seconds of a command."""
    started = time.perf_counter()
    words = [sys.executable, "-m", f"behavesim.{command}", *arguments]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit((done.stdout + done.stderr)[-2000:])
    return time.perf_counter() - started


def measure(folder: Path, table: Path) -> dict[str, float]:
    """Seconds of each."""
    data = f"data.path={table}"
    asked = ["ckpt=checkpoints/model", f"input={table}"]
    found = {
        "model: train, test and export": run(folder, "train", data, "run_name=model", "logger=none"),
        "model: predict all rows": run(folder, "predict", *asked, "output=all.parquet"),
        "baselines: the whole command": run(folder, "baselines", data, "run_name=trees", "logger=none"),
    }
    trees = json.loads((folder / "outputs" / "trees" / "metrics.json").read_text())["lightgbm"]
    return found | {
        "LightGBM: train, its part of that": trees["seconds_to_train"],
        "LightGBM: predict the test rows, its part of that": trees["seconds_to_predict"],
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, help="a labelled table in the published format")
    options = parser.parse_args()
    print(description(*LIBRARIES))
    print("| | seconds |\n|---|---:|")
    with tempfile.TemporaryDirectory() as name:
        for what, seconds in measure(Path(name), options.table.absolute()).items():
            print(f"| {what} | {seconds:.1f} |")


if __name__ == "__main__":
    main()

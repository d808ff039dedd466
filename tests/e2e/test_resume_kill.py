"""Going on with a run that was killed: `kill -9` at steps drawn by chance."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

HERE = Path(__file__).parent
SHORT = ("run_name=a", "trainer.max_epochs=2", "data.tokens_per_batch=1200", "logger=none")


@pytest.fixture
def recorded(sizes, sample_overrides):
    """Train in a folder, in a process of its own, and record the steps; it is killed at step `kill_at`."""

    def train(folder, *overrides, kill_at=None):
        folder.mkdir(exist_ok=True)
        recorder = ("_target_=recorder.Recorder", f"path={folder / 'steps'}", f"kill_at={kill_at or 'null'}")
        settings = [*SHORT, *(f"+callbacks.recorder.{text}" for text in recorder), *overrides]
        # One thread for each: sums in another order would not be the same to the bit. Nor are those of a process that
        # takes a single thread only after its start, on some processors.
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]),
            "OMP_NUM_THREADS": "1",
        }
        command = [sys.executable, "-m", "behavesim.train", *sizes, *sample_overrides, *settings]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == (-signal.SIGKILL if kill_at else 0), done.stderr[-2000:]

    return train


def steps(folder):
    """Rows of each batch by epoch and number, repeated ones checked to be the same."""
    found = {}
    for line in (folder / "steps").read_text().splitlines():
        epoch, index, rows = json.loads(line)
        assert found.setdefault((epoch, index), rows) == rows
    return found


def assert_same(found, expected):
    """The two runs trained on the same batches and ended with the same weights, scores and best epoch."""
    assert steps(found) == steps(expected)
    names = [sorted(path.name for path in (folder / "outputs/a/checkpoints").iterdir()) for folder in (found, expected)]
    assert names[0] == names[1] and "last.ckpt" in names[0]
    for name in names[0]:
        one, other = (
            torch.load(folder / "outputs/a/checkpoints" / name, weights_only=True) for folder in (found, expected)
        )
        assert one["global_step"] == other["global_step"] and one["lr_schedulers"] == other["lr_schedulers"]
        for weight, values in other["state_dict"].items():
            assert torch.equal(one["state_dict"][weight], values), (name, weight)
    for name in ("checkpoints/a/model.safetensors", "outputs/a/metrics.json"):
        assert (found / name).read_bytes() == (expected / name).read_bytes(), name


@pytest.mark.slow
def test_a_killed_run_ends_where_an_uninterrupted_one_does(tmp_path, recorded):
    often = "callbacks.last.every_n_steps=3"
    recorded(tmp_path / "whole", often)
    last = len(steps(tmp_path / "whole"))
    assert last > 10
    kill_at = int(np.random.default_rng(0).integers(last // 2 + 1, last))
    recorded(tmp_path / "killed", often, kill_at=kill_at)
    assert len(steps(tmp_path / "killed")) == kill_at + 1
    recorded(tmp_path / "killed", often, "ckpt_path=last")
    assert_same(tmp_path / "killed", tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize(("every", "workers", "accumulate"), [(1, 0, 1), (4, 2, 1), (1, 0, 2)])
def test_a_run_that_is_killed_three_times(tmp_path, recorded, every, workers, accumulate):
    settings = (
        f"callbacks.last.every_n_steps={every}",
        f"data.num_workers={workers}",
        f"trainer.accumulate_grad_batches={accumulate}",
        "trainer.max_epochs=3",
    )
    recorded(tmp_path / "whole", *settings)
    last = len(steps(tmp_path / "whole")) // accumulate
    drawn = np.random.default_rng(every + accumulate).choice(np.arange(every + 1, last), 3, replace=False)
    for count, kill_at in enumerate(sorted(drawn.tolist())):
        recorded(tmp_path / "killed", *settings, *(["ckpt_path=last"] if count else []), kill_at=kill_at)
    recorded(tmp_path / "killed", *settings, "ckpt_path=last")
    assert_same(tmp_path / "killed", tmp_path / "whole")

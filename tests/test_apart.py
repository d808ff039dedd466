"""Jobs that a plugin's worker runs in its own process."""

import sys
from types import SimpleNamespace

import pytest
import torch
from hydra.types import RunMode
from omegaconf import OmegaConf

from behavesim import apart
from behavesim.errors import UserError

SLURM = {"SLURM_NTASKS": "2", "SLURM_PROCID": "1", "SLURM_JOB_NAME": "train"}


@pytest.fixture
def mode(monkeypatch):
    """What Hydra says of this process, whose arguments hold no overrides."""
    found = SimpleNamespace(
        mode=RunMode.MULTIRUN, job=SimpleNamespace(num=3), runtime=SimpleNamespace(output_dir="out")
    )
    monkeypatch.setattr(apart.HydraConfig, "get", lambda: found)
    monkeypatch.setattr(sys, "argv", ["worker"])
    for name in (*SLURM, "TORCHELASTIC_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    return found


def config(devices, accelerator="cpu", num_nodes=1):
    trainer = {"devices": devices, "accelerator": accelerator, "num_nodes": num_nodes}
    return OmegaConf.create({"run_name": "a", "trainer": trainer})


@pytest.mark.parametrize("devices", [1, "1", "auto", [0]])
def test_a_process_may_do_the_work_alone(mode, devices):
    apart.check_processes(config(devices))


@pytest.mark.parametrize(("devices", "nodes"), [(2, 1), ("2", 1), ([0, 1], 1), (1, 2)])
def test_a_worker_starts_no_further_processes(mode, devices, nodes):
    with pytest.raises(UserError, match=r"^trainer.devices: found 2 processes .*; accepted: 1, hydra/launcher=process"):
        apart.check_processes(config(devices, num_nodes=nodes))
    mode.mode = RunMode.RUN
    apart.check_processes(config(devices, num_nodes=nodes))


@pytest.mark.parametrize("devices", ["auto", -1])
def test_all_devices_are_those_that_the_worker_sees(mode, monkeypatch, devices):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    apart.check_processes(config(devices, "gpu"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UserError, match=r"^trainer.devices: found 2 "):
        apart.check_processes(config(devices, "gpu"))


def test_tasks_that_slurm_started_are_processes_of_one_job(mode, monkeypatch):
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(apart, "only_errors", lambda: None)
    apart.check_processes(config(2))
    apart.share_name(config(2))
    assert sys.argv == ["worker"]
    mode.mode = RunMode.RUN
    with pytest.raises(UserError, match=r"^run_name: found none "):
        apart.share_name(config(2))


def test_a_job_that_was_not_begun_begins(mode, tmp_path):
    mode.runtime.output_dir = str(tmp_path)
    cfg = {"run_name": "a", "paths": {"output": "a"}, "ckpt_path": "last"}
    begins, goes_on = OmegaConf.create(cfg), OmegaConf.create(cfg)
    apart.tell_jobs_apart(begins)
    (tmp_path / "checkpoints" / "last.ckpt").mkdir(parents=True)
    apart.tell_jobs_apart(goes_on)
    assert (begins.ckpt_path, goes_on.ckpt_path) == (None, "last")
    assert begins.run_name == "a_3"

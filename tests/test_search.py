"""How sweeps choose values and where jobs run, as composed from the plugins that are there."""

from importlib.util import find_spec

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra

from behavesim.cli import CONF


def composed(*overrides):
    """Hydra's own part of the configuration of `train`."""
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        return hydra.compose("train", list(overrides), return_hydra_config=True).hydra


def needs(plugin, extra):
    reason = f"{plugin}: not installed, pip install 'behavesim[{extra}]'"
    return pytest.mark.skipif(find_spec(f"hydra_plugins.{plugin}") is None, reason=reason)


def test_jobs_run_in_processes_of_their_own_over_a_grid():
    found = composed()
    assert found.launcher._target_ == "hydra_plugins.behavesim_launcher.ProcessLauncher"
    assert found.launcher.n_jobs == 1
    assert found.sweeper._target_.endswith("BasicSweeper")


@needs("hydra_optuna_sweeper", "optuna")
def test_optuna_minimises_and_bears_failed_trials():
    found = composed("search=optuna", "hydra.launcher.n_jobs=3")
    assert found.sweeper._target_.endswith("OptunaSweeper")
    assert found.sweeper.direction == "minimize"
    assert found.sweeper.max_failure_rate == 1.0
    assert found.sweeper.n_jobs == 3
    assert found.sweeper.sampler.seed is None  # or a study that goes on would draw the same again
    assert found.sweeper.sampler._target_ == "optuna.samplers.TPESampler"


@needs("hydra_ray_launcher", "ray")
def test_ray_is_a_launcher():
    found = composed("hydra/launcher=ray", "+hydra.launcher.ray.remote.num_gpus=1", "search=grid")
    assert found.launcher._target_.endswith("RayLauncher")


@needs("hydra_submitit_launcher", "slurm")
def test_slurm_is_a_launcher():
    found = composed("hydra/launcher=submitit_slurm", "hydra.launcher.partition=gpu", "hydra.launcher.gpus_per_node=4")
    assert found.launcher._target_.endswith("SlurmLauncher")
    assert found.launcher.partition == "gpu"
    assert found.sweep.dir.startswith("multirun/train_")


@pytest.mark.parametrize("name", ["evaluate", "predict", "prepare", "compare"])
def test_other_commands_have_the_same_launcher(name):
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        found = hydra.compose(name, return_hydra_config=True).hydra
    assert found.launcher._target_.endswith("ProcessLauncher")

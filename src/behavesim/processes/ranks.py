"""Which process of a job this is, as its launcher tells it by the environment.

Lightning starts the processes of one node itself and sets `LOCAL_RANK`; torchrun and Slurm start them all.
"""

import os

RANKS = ("RANK", "LOCAL_RANK", "NODE_RANK")
INTERACTIVE = ("bash", "interactive")  # job names of a shell inside Slurm, which starts no processes by itself


def is_main() -> bool:
    """Whether this is the process that prints, tracks and exports; the only one of most jobs."""
    if "TORCHELASTIC_RUN_ID" in os.environ:  # torchrun may itself be started by Slurm, whose ranks are then of nodes
        return os.environ.get("RANK", "0") == "0"
    ranks = [*RANKS, "SLURM_PROCID"] if _slurm_starts() else RANKS
    return all(os.environ.get(name, "0") in ("", "0") for name in ranks)


def started_together() -> bool:
    """Whether torchrun or Slurm started several processes, each of which reads the clock for itself."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return int(os.environ.get("WORLD_SIZE", "1")) > 1
    return _slurm_starts() and int(os.environ["SLURM_NTASKS"]) > 1


def _slurm_starts() -> bool:
    return "SLURM_NTASKS" in os.environ and os.environ.get("SLURM_JOB_NAME") not in INTERACTIVE

"""Which process of a job this is."""

import pytest

from behavesim.processes.ranks import is_main, started_together

NAMES = ("RANK", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "TORCHELASTIC_RUN_ID", "SLURM_PROCID", "SLURM_NTASKS")


@pytest.fixture
def environment(monkeypatch):
    for name in (*NAMES, "SLURM_JOB_NAME"):
        monkeypatch.delenv(name, raising=False)

    def put(**values):
        for name, value in values.items():
            monkeypatch.setenv(name, str(value))

    return put


@pytest.mark.parametrize(
    ("values", "main", "together"),
    [
        ({}, True, False),
        # Lightning on one node: the first process, and one that it starts.
        ({"LOCAL_RANK": 0, "NODE_RANK": 0, "WORLD_SIZE": 2}, True, False),
        ({"LOCAL_RANK": 1, "NODE_RANK": 0, "WORLD_SIZE": 2}, False, False),
        # The first process of a second node.
        ({"LOCAL_RANK": 0, "NODE_RANK": 1, "WORLD_SIZE": 4}, False, False),
        ({"RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": 2, "TORCHELASTIC_RUN_ID": "none"}, True, True),
        ({"RANK": 2, "LOCAL_RANK": 0, "WORLD_SIZE": 4, "TORCHELASTIC_RUN_ID": "none"}, False, True),
        ({"RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": 1, "TORCHELASTIC_RUN_ID": "none"}, True, False),
        ({"SLURM_PROCID": 0, "SLURM_NTASKS": 4, "SLURM_JOB_NAME": "train"}, True, True),
        ({"SLURM_PROCID": 3, "SLURM_NTASKS": 4, "SLURM_JOB_NAME": "train"}, False, True),
        ({"SLURM_PROCID": 0, "SLURM_NTASKS": 1, "SLURM_JOB_NAME": "train"}, True, False),
        # A shell inside an allocation of four tasks.
        ({"SLURM_PROCID": 0, "SLURM_NTASKS": 4, "SLURM_JOB_NAME": "bash"}, True, False),
    ],
    ids=str,
)
def test_ranks(environment, values, main, together):
    environment(**values)
    assert is_main() is main
    assert started_together() is together

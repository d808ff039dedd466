"""A trained model beside the baselines: an artifact on the test rows of the split that it was trained on."""

from pathlib import Path

import numpy as np
from omegaconf import DictConfig

from behavesim.artifact import Artifact, load_artifact
from behavesim.data.prepared import TweetRows
from behavesim.errors import UserError
from behavesim.scoring import answering


def artifact_of(cfg: DictConfig, test: TweetRows) -> Artifact | None:
    """The artifact at `cfg.ckpt`; None where none is given.

    Raises:
        UserError: it is none, or test rows are among those that it was trained with; or there is none to be asked.
    """
    told = answering(cfg)
    if cfg.ckpt is None:
        if given := sorted(told.keys() - {"name"}):
            raise UserError(f"task.{given[0]}: found {told[given[0]]} without ckpt=; accepted: null, no model is asked")
        return None
    artifact = load_artifact(Path(cfg.ckpt), told)
    hashes = test.identities()
    seen = sum(int(np.isin(hashes, known).sum()) for known in artifact.seen.values())
    if seen:
        raise UserError(
            f"ckpt={cfg.ckpt}: found {seen:,} of the {len(test):,} test rows among those that it was trained with; "
            "accepted: the data settings that it was trained with (data.split, data.split_seed, data.fold, "
            "data.validation, data.test), or an artifact that was trained with these"
        )
    return artifact

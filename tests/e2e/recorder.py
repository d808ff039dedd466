"""A callback for trainings in a process of their own: it writes what was trained on, and kills."""

import json
import os
import signal
from pathlib import Path

from lightning.pytorch.callbacks import Callback


class Recorder(Callback):
    """Appends epoch, batch and rows of each step to `path`; kills its process, as `kill -9` does, at step `kill_at`.

    Further processes of a job append to a path of their own.
    """

    def __init__(self, path, kill_at=None):
        self.path, self.kill_at = Path(path), kill_at

    def on_train_batch_start(self, trainer, _module, batch, index):
        path = self.path if trainer.is_global_zero else self.path.with_name(f"{self.path.name}_{trainer.global_rank}")
        with path.open("a") as file:
            file.write(json.dumps([trainer.current_epoch, index, batch.rows.tolist()]) + "\n")
        if trainer.global_step == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

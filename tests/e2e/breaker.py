"""A callback that breaks a training on purpose."""

import os
import signal

from lightning.pytorch.callbacks import Callback


class Breaker(Callback):
    """Kills the first process of a job with two, as the kernel does for want of memory, if `rate` is `breaks_at`."""

    def __init__(self, rate, breaks_at=None, api_key=None):
        self.armed = rate == breaks_at
        self.api_key = api_key

    def on_train_batch_start(self, trainer, _module, _batch, index):
        if self.armed and trainer.world_size == 2 and trainer.global_rank == 0 and index == 1:
            os.kill(os.getpid(), signal.SIGKILL)

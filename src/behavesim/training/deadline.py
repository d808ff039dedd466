"""An end by the clock."""

import time
from typing import Any

import lightning


class Deadline(lightning.Callback):
    """Ends a training or a prediction after the first step that is done `seconds` after its start, on all processes.

    It has to stand behind callbacks that look at the end of a prediction step, which it may leave.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._at = 0.0

    def on_train_start(self, *_: Any) -> None:
        """Start the clock."""
        self._at = time.monotonic() + self.seconds

    on_predict_start = on_train_start

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Stop behind the deadline."""
        trainer.should_stop = self._over(trainer) or trainer.should_stop  # all processes have to ask each other

    def on_predict_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Stop behind the deadline, as the end of the batches would: the trainer has no other way."""
        if self._over(trainer):
            raise StopIteration

    def _over(self, trainer: lightning.Trainer) -> bool:
        over = time.monotonic() >= self._at
        return over if trainer.world_size == 1 else trainer.strategy.reduce_boolean_decision(over, all=False)

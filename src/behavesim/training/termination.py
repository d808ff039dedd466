"""The end of several processes that one of them is told of."""

import signal
import threading
from types import FrameType

import lightning


class Termination(lightning.Callback):
    """SIGTERM ends a process by the handler that it had before training, and the processes that it started with it.

    Lightning's handler sends a message to all processes first. Where these are amid another message, it waits for ever.
    """

    def __init__(self) -> None:
        self._before = signal.getsignal(signal.SIGTERM)
        self._trainer: lightning.Trainer | None = None

    def on_train_start(self, trainer: lightning.Trainer, _module: lightning.LightningModule) -> None:
        """Stand in for the trainer's handler, which has just been set; the trainer takes both away at its end."""
        in_main_thread = threading.current_thread() is threading.main_thread()
        if trainer.world_size > 1 and callable(self._before) and in_main_thread:
            self._trainer = trainer
            signal.signal(signal.SIGTERM, self._end)

    on_validation_start = on_test_start = on_train_start

    def _end(self, number: int, frame: FrameType | None) -> None:
        processes = getattr(self._trainer.strategy.launcher, "procs", [])
        started = list(processes)
        processes.clear()  # a thread of the trainer's kills this process, too, when it finds that one of them has gone
        for process in started:
            process.kill()
        self._before(number, frame)

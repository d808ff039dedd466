"""The checkpoint that training goes on from."""

import shutil
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import Checkpoint

from behavesim.folders import settle, swap


class LastCheckpoint(Checkpoint):
    """Writes `last.ckpt`: every few steps, after a validation inside an epoch, and after every epoch.

    Args:
        dirpath: folder of the file.
        every_n_steps: optimiser steps from one writing to the next.
    """

    def __init__(self, dirpath: str, every_n_steps: int = 200) -> None:
        super().__init__()
        self.path = Path(dirpath) / "last.ckpt"
        self.every_n_steps = every_n_steps

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Write inside an epoch."""
        validates = trainer.fit_loop.epoch_loop._should_check_val_fx(trainer.fit_loop._data_fetcher)
        # The trainer takes a checkpoint of a batch's end to have the validation that follows behind it.
        if trainer.global_step % self.every_n_steps == 0 and not validates and _inside_epoch(trainer):
            self._save(trainer)

    def on_validation_end(self, trainer: lightning.Trainer, _module: lightning.LightningModule) -> None:
        """Write after a validation inside an epoch; the end of the epoch follows the one at its end."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking and _inside_epoch(trainer):
            self._save(trainer)

    def on_train_epoch_end(self, trainer: lightning.Trainer, _module: lightning.LightningModule) -> None:
        """Write after an epoch, when the best checkpoint is chosen."""
        self._save(trainer)

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, _module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Leave the trainer's loops between two epochs, or inside one that `max_steps` cut short.

        At an epoch's end their counts stand between the two. The trainer puts that right when it goes on, but not
        where `max_steps` is set: it would count the epoch twice or skip the next one.
        """
        loops = checkpoint["loops"]["fit_loop"]
        epoch, batch = loops["epoch_progress"], loops["epoch_loop.batch_progress"]
        if epoch["current"]["processed"] < epoch["current"]["started"]:
            return
        for counts in (epoch["current"], epoch["total"]):
            whole = batch["is_last_batch"]
            counts |= {"completed": counts["processed"]} if whole else {"processed": counts["completed"]}
        if batch["is_last_batch"]:
            batch |= {"current": dict.fromkeys(batch["current"], 0), "is_last_batch": False}

    def _save(self, trainer: lightning.Trainer) -> None:
        """Write beside the earlier checkpoint and take its place when complete; DeepSpeed writes folders."""
        partial = self.path.with_name(f".{self.path.name}.partial")
        if trainer.is_global_zero and partial.is_dir():  # of a run that was killed, perhaps with other processes
            shutil.rmtree(partial)
        trainer.strategy.barrier()
        trainer.save_checkpoint(partial)
        if trainer.is_global_zero:
            settle(self.path)
            swap(partial, self.path)
            settle(self.path)
        trainer.strategy.barrier()


def _inside_epoch(trainer: lightning.Trainer) -> bool:
    """Whether an epoch goes on behind this batch and no gradients are half gathered, which no checkpoint holds."""
    loop = trainer.fit_loop.epoch_loop
    return not loop._is_training_done and not loop._should_accumulate()

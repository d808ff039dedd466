"""How fast training and prediction run: figures of each logged window, and of the run."""

from typing import Any

import lightning
import torch

from behavesim.data.batch import Batch
from behavesim.models.flops import prediction_flops, training_flops
from behavesim.models.git import GitModel
from behavesim.training.meter import Meter, Totals, figures
from behavesim.training.peak import peak_flops


class Throughput(lightning.Callback):
    """Logs `throughput/…` every `trainer.log_every_n_steps` steps, over the steps since then, and `run/…` at the end.

    | figure | meaning |
    |---|---|
    | `samples_per_second` | tweets, all processes together |
    | `tokens_per_second` | places that the language model reads, without padding: tokens of text and of the prefix |
    | `padding_share` | places of padding and of empty picture slots, of all places that it computes |
    | `data_wait_share` | time of the process between two steps, of all time: reading the next batch, bringing it to the
      device, the trainer's own logging. On a GPU it is an upper bound: the copy may wait for the step before it |
    | `peak_memory_gib` | allocated on the GPU, or resident in the process; of the process with most |
    | `mfu` | operations that the model asks for, see `models/flops.py`, of those that the devices could do at best |

    Validation and the writing of checkpoints count neither as time nor as waiting; the start of an epoch is waiting. A
    GPU is waited for where figures are logged and nowhere else. The figures of the run, which `run` keeps too, leave
    `warmup_steps` out and are missing where no more steps were done. Every process needs this callback, also where one
    alone has a logger: figures are gathered.

    Args:
        warmup_steps: first steps of this process that the figures of the run leave out.
        measure_cpu: take half a second to measure what the CPU can do at best, without which it has no `mfu`.
    """

    def __init__(self, warmup_steps: int = 3, measure_cpu: bool = False) -> None:
        if warmup_steps < 0:
            raise ValueError(f"found warmup_steps={warmup_steps}")
        self.warmup_steps = warmup_steps
        self.measure_cpu = measure_cpu
        self.run: dict[str, float] = {}
        self.steps, self.seconds = 0, 0.0  # that the figures of the run are of
        self.peak: float | None = None  # operations a second of this process's device at best, where they are known
        self._meter: Meter | None = None

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Count the model's operations, before a strategy shares its weights out."""
        if stage not in ("fit", "predict"):
            return
        model, device = pl_module.model, trainer.strategy.root_device
        flops = (training_flops if stage == "fit" else prediction_flops)(model)
        self.peak = peak_flops(device, _dtype(trainer, model), measure_cpu=self.measure_cpu)
        self._meter = Meter(model, device, flops, self.peak)

    def on_train_start(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Begin to count."""
        self._begin(trainer.global_step)

    def on_predict_start(self, *_: Any) -> None:
        """Begin to count."""
        self._begin(0)

    def _begin(self, step: int) -> None:
        self.run, self.steps, self.seconds = {}, 0, 0.0
        self._first = self._latest = step
        self._meter.forget_memory()
        self._window = self._meter.totals()
        self._start = self._window if self.warmup_steps == 0 else None

    def on_train_epoch_start(self, *_: Any) -> None:
        """Whatever is done before the first batch is waiting for it."""
        self._meter.resume()

    on_predict_epoch_start = on_train_epoch_start

    def on_train_batch_start(self, *_: Any) -> None:
        """The batch is there."""
        self._meter.step_starts()

    on_predict_batch_start = on_train_batch_start

    def on_train_batch_end(
        self, trainer: lightning.Trainer, _module: lightning.LightningModule, _outputs: Any, batch: Batch, *_: Any
    ) -> None:
        """Count the batch, and log at the end of a window."""
        self._meter.step_ends(batch)
        if trainer.global_step == self._latest:
            return  # gradients are still gathered
        self._latest = trainer.global_step
        if trainer.log_every_n_steps and self._latest % trainer.log_every_n_steps == 0:
            now = self._meter.totals()
            # By the trainer's own log: a call of its own to MLflow takes 10 ms, this way they are in that of the loss.
            self.log_dict(_named("throughput", self._figures(trainer, now.since(self._window))), on_epoch=False)
            self._window = now
        self._warm()

    def on_predict_batch_end(
        self, _trainer: lightning.Trainer, _module: lightning.LightningModule, _outputs: Any, batch: Batch, *_: Any
    ) -> None:
        """Count the batch."""
        self._meter.step_ends(batch)
        self._latest += 1
        self._warm()

    def _warm(self) -> None:
        if self._start is None and self._latest - self._first >= self.warmup_steps:
            self._start = self._meter.totals()
        self._meter.idle()  # what was done here, such as waiting for the GPU, is no waiting for data

    def on_validation_start(self, *_: Any) -> None:
        """Stop the clock, if it runs: `trainer.validate` comes here too."""
        if self._meter is not None:
            self._meter.pause()

    on_save_checkpoint = on_validation_start

    def on_train_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Log the run's figures."""
        self.on_predict_end(trainer)
        if trainer.is_global_zero and self.run:
            for logger in trainer.loggers:
                # The trainer counts the steps that it logs from 0.
                logger.log_metrics(_named("run", self.run), trainer.global_step - 1)

    def on_predict_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Keep the run's figures."""
        self._meter.pause()
        steps = self._latest - self._first - self.warmup_steps
        if steps > 0:
            part = self._meter.totals().since(self._start)
            self.run, self.steps, self.seconds = self._figures(trainer, part), steps, part.seconds

    def _figures(self, trainer: lightning.Trainer, part: Totals) -> dict[str, float]:
        """Over all processes, each of which has to call this."""
        share = self._meter.share(part)
        if trainer.world_size == 1:
            return figures(share[None])
        return figures(trainer.strategy.all_gather(share.to(trainer.strategy.root_device)).cpu())


def _named(place: str, found: dict[str, float]) -> dict[str, float]:
    return {f"{place}/{name}": value for name, value in found.items()}


def _dtype(trainer: lightning.Trainer, model: GitModel) -> torch.dtype:
    """In which most products are made: as the trainer's precision says, else that of the language model's weights."""
    for name, dtype in (("bf16", torch.bfloat16), ("16", torch.float16)):
        if str(trainer.precision).startswith(name):
            return dtype
    return model.llm.get_input_embeddings().weight.dtype

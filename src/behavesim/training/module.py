"""The LightningModule: a model, its loss, its optimiser and what its checkpoints hold."""

from dataclasses import dataclass
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.strategies import SingleDeviceStrategy
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor

from behavesim.data.batch import Batch
from behavesim.data.view import STATISTICS
from behavesim.models.git import GitModel
from behavesim.models.head import Targets
from behavesim.training import together
from behavesim.training.fsdp import FsdpStrategy
from behavesim.training.optim import OptimizerFactory, parameter_groups, rate_schedule


def targets_of(batch: Batch) -> Targets:
    """What is known of a labelled batch besides the model's inputs."""
    doubt = batch.statistics[:, 0, STATISTICS.index("doubt")]
    return Targets(batch.prior[:, 0], batch.answer_length, batch.likes, doubt)


@dataclass(frozen=True)
class Telling:
    """What training rows are told of their accounts, see `training_views`.

    Args:
        nothing: share of rows that are told nothing, so that one model serves accounts without a past.
        others: share of the rest that are told of all other training posts.
        mirrored: share of what is then left that are told of later posts in the place of earlier ones. Time is turned
            around for them; they see the account from another side, and the weights less often the same numbers.
    """

    nothing: float = 0.0
    others: float = 0.0
    mirrored: float = 0.0

    def draw(self, batch: Batch) -> Batch:
        """The batch with a view of each row."""
        nothing, others, mirrored = torch.rand(3, len(batch.rows), device=batch.prior.device)
        view = torch.where(others < self.others, 0, torch.where(mirrored < self.mirrored, 2, 1))
        return batch.view(torch.where(nothing < self.nothing, 3, view))


class TweetModule(lightning.LightningModule):
    """Trains a `GitModel`; what is made of its predictions is the matter of a task's own module."""

    def __init__(
        self,
        model: GitModel,
        optimizer: OptimizerFactory,
        *,
        warmup: float = 0.0,
        schedule: str = "constant",
        data_digest: str = "",
        batch_plan: str = "",
        frozen_digest: str = "",
        seed: int = 0,
        telling: Telling | None = None,
        numbers_lr: float | None = None,
    ) -> None:
        super().__init__()
        self.strict_loading = False  # checkpoints hold what trains, see `state_dict`
        self.model = model
        self.optimizer = optimizer
        self.warmup = warmup
        self.schedule = schedule
        self.data_digest = data_digest
        self.batch_plan = batch_plan
        self.frozen_digest = frozen_digest
        self.seed = seed
        self.telling = telling or Telling()
        self.numbers_lr = numbers_lr

    @property
    def _several(self) -> bool:
        """Whether processes share the batches of a step."""
        return self.trainer.world_size > 1

    def setup(self, stage: str) -> None:
        """Tell the model whether other processes may wait for it: DDP misses gradients even where it has but one."""
        self.model.in_step = not isinstance(self.trainer.strategy, SingleDeviceStrategy)

    def configure_model(self) -> None:
        """Share the weights out, where the strategy wants it done here."""
        if isinstance(self.trainer.strategy, FsdpStrategy):
            self.trainer.strategy.shard(self.model)

    def on_train_batch_start(self, _batch: Batch, index: int) -> None:
        """Make what the step draws, such as dropout, a function of its place in training alone.

        A resumed run then draws what an uninterrupted one does, on every device and rank, without random states in
        the checkpoint; nothing else that draws, such as a validation, can shift it.
        """
        place = (self.seed, self.trainer.current_epoch, index, self.trainer.global_rank)
        torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1, np.uint64)[0]))

    def training_step(self, batch: Batch, _index: int) -> Tensor:
        """Loss of one batch."""
        batch = self.telling.draw(batch)
        inputs, targets = batch.inputs(), targets_of(batch)
        loss = mean = self.model.loss(inputs, targets)
        if self._several:
            loss, mean = together.mean_of_all(loss, self.model.head.answers(inputs, targets))
        self.log("train/loss", mean, prog_bar=True, batch_size=len(batch.rows))
        return loss

    def forget(self) -> None:
        """Start anew to gather what is made of held-out rows."""

    def on_validation_epoch_start(self) -> None:
        """Forget the rows of the epoch before."""
        self.forget()
        if self._several:
            together.same_buffers(self.model)

    on_test_epoch_start = on_validation_epoch_start

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """The optimiser over the trainable weights and its schedule, by step."""
        optimizer = self.optimizer(parameter_groups(self.model, self.numbers_lr))
        scheduler = rate_schedule(
            optimizer,
            steps=int(self.trainer.estimated_stepping_batches),
            warmup=self.warmup,
            schedule=self.schedule,
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def state_dict(self, *args: Any, **settings: Any) -> dict[str, Any]:
        """Weights that train, and buffers: frozen weights come from where the model is built, and never change."""
        state = super().state_dict(*args, **settings)
        prefix = settings.get("prefix", "")
        for name, parameter in self.named_parameters(remove_duplicate=False):  # a tied matrix has two names
            if not parameter.requires_grad:
                state.pop(prefix + name, None)
        return state

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what the weights were trained on: frozen weights, rows, batches, processes."""
        checkpoint["frozen_digest"] = self.frozen_digest
        checkpoint["data_digest"] = self.data_digest
        checkpoint["batch_plan"] = self.batch_plan
        checkpoint["processes"] = self.trainer.world_size

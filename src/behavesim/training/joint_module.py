"""Both tasks: the module of models that predict likes and write tweets."""

from typing import Any

import numpy as np

from behavesim.data.batch import Batch
from behavesim.models.decoding import Decoding
from behavesim.models.git import GitModel
from behavesim.training.content_module import ContentModule, Read, text_loss
from behavesim.training.likes_module import LikesModule
from behavesim.training.optim import OptimizerFactory

WRITTEN = 1  # place of the loader of requests to write, see `JointDataModule`


class JointModule(LikesModule):
    """A `LikesModule` whose held-out rows come a second time, as requests to write them.

    `test_table` and `validation_table` are of likes; `test_texts` is that of a `ContentModule`.
    """

    def __init__(
        self, model: GitModel, optimizer: OptimizerFactory, *, decoding: Decoding, read: Read, **settings: Any
    ) -> None:
        super().__init__(model, optimizer, **settings)
        self.test_texts: dict[str, np.ndarray] = {}
        # Its steps are taken for this module, and it has no weights of its own: not a child that is saved twice.
        self._writing = (ContentModule(model, optimizer, decoding=decoding, read=read),)

    @property
    def writing(self) -> ContentModule:
        """Writes with the model of this module."""
        return self._writing[0]

    def forget(self) -> None:
        """See `TweetModule`."""
        super().forget()
        self.writing.forget()

    def validation_step(self, batch: Batch, index: int, dataloader_idx: int = 0) -> None:
        """Likes of one batch, or what its texts cost."""
        if dataloader_idx == WRITTEN:
            self.writing.validation_step(batch, index)
        else:
            super().validation_step(batch, index)

    def test_step(self, batch: Batch, index: int, dataloader_idx: int = 0) -> None:
        """Likes of one batch, or texts."""
        if dataloader_idx == WRITTEN:
            self.writing.test_step(batch, index)
        else:
            super().test_step(batch, index)

    def on_validation_epoch_end(self) -> None:
        """Metrics of likes, and what texts cost where there were some."""
        super().on_validation_epoch_end()
        self._log_texts("val")

    def on_test_epoch_end(self) -> None:
        """The same of test rows; what was written is kept."""
        super().on_test_epoch_end()
        self.test_texts = self._log_texts("test")

    def _log_texts(self, stage: str) -> dict[str, np.ndarray]:
        table = self.writing.written(several=self._several)
        if table:
            for name, value in text_loss(table).items():
                self.log(f"{stage}/text_{name}", value)
        return table

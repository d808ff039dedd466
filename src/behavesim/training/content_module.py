"""Content: the module of models that write tweets, and what their texts cost in validation and test."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from behavesim.data.batch import Batch
from behavesim.metrics.agreement import by_agreement
from behavesim.models.decoding import Decoding
from behavesim.models.git import GitModel
from behavesim.models.text_head import answer_mask
from behavesim.training import together
from behavesim.training.module import TweetModule, targets_of
from behavesim.training.optim import OptimizerFactory

Read = Callable[[Sequence[Sequence[int]]], list[str]]  # texts of sequences of ids, each up to its end


@dataclass
class Written:
    """Texts of some rows, gathered batch by batch."""

    parts: list[dict[str, np.ndarray]] = field(default_factory=list)

    def add(self, **columns: Tensor) -> None:
        """Take a batch's columns in, [B, …] each; `rows` is one."""
        self.parts.append({name: values.cpu().numpy() for name, values in columns.items()})

    def table(self, *, several: bool = False) -> dict[str, np.ndarray]:
        """All columns, ascending by row; with those of all processes where there are several."""
        table = {name: np.concatenate([part[name] for part in self.parts]) for name in self.parts[0]}
        table = together.table_of_all(table) if several else table
        order = np.argsort(table["rows"], kind="stable")
        return {name: values[order] for name, values in table.items()}


def text_loss(table: dict[str, np.ndarray]) -> dict[str, float]:
    """`loss`, mean nats a token over all texts, and its `perplexity`."""
    loss = float(table["nats"].astype(np.float64).sum() / max(1, table["tokens"].sum()))
    return {"loss": loss, "perplexity": float(np.exp(loss))}


class ContentModule(TweetModule):
    """Trains a `GitModel` to write tweets.

    Args:
        model: writes.
        optimizer: of training.
        decoding: how.
        read: what a text's ids say, for decoding that compares texts.
        settings: of `TweetModule`.

    After `trainer.test`, `test_texts` holds `rows` and the written `ids` [N, A, T]. Validation only asks what the
    posted texts cost.
    """

    def __init__(
        self,
        model: GitModel,
        optimizer: OptimizerFactory,
        *,
        decoding: Decoding,
        read: Read,
        **settings: Any,
    ) -> None:
        super().__init__(model, optimizer, **settings)
        self.decoding = decoding
        self.read = read
        self.test_texts: dict[str, np.ndarray] = {}
        self._written = Written()

    def predict_step(self, batch: Batch, _index: int = 0) -> dict[str, np.ndarray]:
        """The texts of one batch: `rows` and `ids`."""
        written = Written()
        written.add(rows=batch.rows, ids=self.texts(batch))
        return written.parts[0]

    def texts(self, batch: Batch) -> Tensor:
        """What the model writes, whatever answer a row holds: ids [B, A, `max_new_tokens`]."""
        answer = answer_mask(batch.attention_mask, batch.answer_length)
        asked = batch.inputs() | {"attention_mask": batch.attention_mask * ~answer}
        ids = self.model.write(self.decoding, batch.earlier, **asked)
        if self.decoding.how == "consensus":
            ids = self._nearest(ids, batch.earlier)
        return F.pad(ids, (0, self.decoding.max_new_tokens - ids.shape[2]), value=self.model.pad_id)

    def _nearest(self, ids: Tensor, earlier: Tensor | None) -> Tensor:
        """Of the texts of each row those that have most in common with earlier ones: ids [B, A, T]."""
        known = [[]] * len(ids) if earlier is None else earlier.tolist()
        known = [[[token for token in text if token >= 0] for text in row if text and text[0] >= 0] for row in known]
        written, posted = (self._read_rows(each) for each in (ids.tolist(), known))
        orders = [by_agreement(*texts)[: self.decoding.alternatives] for texts in zip(written, posted, strict=True)]
        rows = torch.arange(len(ids), device=ids.device)[:, None]
        return ids[rows, torch.tensor(orders, device=ids.device)]

    def _read_rows(self, rows: list[list[list[int]]]) -> list[list[str]]:
        """Texts of each row."""
        texts = iter(self.read([ids for row in rows for ids in row]))
        return [[next(texts) for _ in row] for row in rows]

    @property
    def writing(self) -> "ContentModule":
        """What writes: this module, as a part of one that also predicts likes does."""
        return self

    def forget(self) -> None:
        """See `TweetModule`."""
        self._written = Written()

    def written(self, *, several: bool) -> dict[str, np.ndarray]:
        """All rows since, with those of other processes where there are several; empty where there were none."""
        return self._written.table(several=several) if self._written.parts else {}

    def validation_step(self, batch: Batch, _index: int) -> None:
        """What the texts of one batch cost."""
        self._written.add(rows=batch.rows, **self._costs(batch))

    def test_step(self, batch: Batch, _index: int) -> None:
        """The same, and what is written in their place."""
        self._written.add(rows=batch.rows, **self._costs(batch), ids=self.texts(batch))

    def _costs(self, batch: Batch) -> dict[str, Tensor]:
        return self.model.score(batch.inputs(), targets_of(batch))[1]

    def on_validation_epoch_end(self) -> None:
        """Loss over all validation texts."""
        self._log("val", self.written(several=self._several))

    def on_test_epoch_end(self) -> None:
        """Loss over all test texts; what was written is kept."""
        self.test_texts = self.written(several=self._several)
        self._log("test", self.test_texts)

    def _log(self, stage: str, table: dict[str, np.ndarray]) -> None:
        for name, value in text_loss(table).items():
            self.log(f"{stage}/{name}", value, prog_bar=name == "loss")

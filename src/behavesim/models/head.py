"""What every head does: read an answer from the language model, train it, and turn it into likes."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from behavesim.models.members import MemberGate

if TYPE_CHECKING:
    from behavesim.models.git import GitModel

Inputs = Mapping[str, Tensor | None]
# Of the predicted quantiles: 0.05, 0.1, … 0.95.
LEVELS = tuple(round(0.05 * step, 2) for step in range(1, 20))
NAMED = {"p10": LEVELS.index(0.1), "median": LEVELS.index(0.5), "p90": LEVELS.index(0.9)}


@dataclass(frozen=True)
class Hidden:
    """Last hidden states over prefix and text, and where they are valid."""

    states: Tensor  # [B, P + T, D]
    prefix_slots: int
    text_valid: Tensor  # [B, T] bool
    summary: Tensor  # [B, M, D], see `GitModel.prefix`

    @property
    def text(self) -> Tensor:
        """States of the text: [B, T, D]."""
        return self.states[:, self.prefix_slots :]

    def last_text(self) -> Tensor:
        """States at each row's last text token, where a head over likes reads: [B, D]."""
        places = torch.arange(self.text_valid.shape[1], device=self.states.device)
        last = (places * self.text_valid).argmax(dim=1)
        return self.text[torch.arange(len(last), device=last.device), last]


@dataclass(frozen=True)
class Targets:
    """What is known of a batch besides the model's inputs."""

    prior: Tensor  # [B], log1p likes expected beforehand
    answer_length: Tensor  # [B] int64, tokens at each text's end that are the answer, 0 where there is none
    likes: Tensor | None = None  # [B], None where there is nothing to score
    doubt: Tensor | None = None  # [B] in [0, 1], how little is known of the account, 1: nothing; None: 0


class Head(nn.Module, ABC):
    """Reads an answer from a `GitModel`.

    Estimates are in likes, each [B], one for what each score rewards: `mean` is E[likes], `logmean` is
    expm1(E[log1p likes]), `median`, `p10` and `p90` are quantiles. `quantiles`, [B, Q], are those of `LEVELS`. A head
    that may fail to read an answer adds `failures`, the share of a row's answers that held no number.
    """

    writes = False  # whether it reads the language model's vocabulary

    @abstractmethod
    def logits(self, model: "GitModel", hidden: Hidden, prior: Tensor | None) -> Tensor:
        """What the head makes of hidden states; the shape is the head's own."""

    @abstractmethod
    def training_loss(self, model: "GitModel", inputs: Inputs, targets: Targets) -> Tensor:
        """Mean loss of a batch, a scalar."""

    def answers(self, inputs: Inputs, targets: Targets) -> Tensor:
        """How many answers the loss of a batch is the mean of, a scalar: its rows, unless the head says otherwise."""
        return torch.tensor(float(len(inputs["input_ids"])), device=inputs["input_ids"].device)

    @abstractmethod
    def score(self, model: "GitModel", inputs: Inputs, targets: Targets) -> tuple[Tensor | None, dict[str, Tensor]]:
        """Loss, None without likes, and estimates; see the class."""


def named_quantiles(quantiles: Tensor) -> dict[str, Tensor]:
    """Quantiles [B, Q] of `LEVELS` as estimates."""
    return {"quantiles": quantiles} | {name: quantiles[:, place] for name, place in NAMED.items()}


class LikesHead(Head):
    """A head over likes: layers at the last text token, one forward pass for a prediction.

    Each of M members has a layer of its own, that reads the text beside what one reader made of the numbers. The text
    enters through a gate that starts closed (Alayrac et al. 2022, Flamingo), and is hidden from a share of rows:
    numbers are learned first, and a text that could be learned by heart does not stand in for them.

    Args:
        hidden_size: D.
        members: M.
        text_dropout: share of rows whose text a member does not see in training.
    """

    def __init__(self, hidden_size: int, members: int, text_dropout: float) -> None:
        super().__init__()
        self.text_dropout = text_dropout
        self.gate = MemberGate(members, hidden_size)

    @abstractmethod
    def forward(self, state: Tensor, prior: Tensor | None = None) -> Tensor:
        """States [B, M, D] and prior [B] in log1p likes (None: 0) → logits [B, M, K] in fp32."""

    @abstractmethod
    def loss(self, logits: Tensor, likes: Tensor, prior: Tensor) -> Tensor:
        """Mean loss of logits [B, M, K] against likes [B]."""

    @abstractmethod
    def estimates(self, logits: Tensor, prior: Tensor, doubt: Tensor | None = None) -> dict[str, Tensor]:
        """Estimates [B] of logits [B, M, K]; see `Head` and `Targets`."""

    def logits(self, model: "GitModel", hidden: Hidden, prior: Tensor | None) -> Tensor:
        """[B, M, K]."""
        # The summary is a direct path beside attention: pictures and numbers reach the head from the first step on,
        # and small models learn what pictures show several times sooner.
        text = self.gate(hidden.last_text()[:, None])  # [B, M, D]
        if self.training and self.text_dropout > 0:
            seen = torch.rand(text.shape[:2], device=text.device) >= self.text_dropout
            text = text * seen[:, :, None]
        return self(text + hidden.summary, prior)

    def training_loss(self, model: "GitModel", inputs: Inputs, targets: Targets) -> Tensor:
        """See `loss`."""
        return self.loss(self.logits(model, model.hidden(**inputs), targets.prior), targets.likes, targets.prior)

    def score(self, model: "GitModel", inputs: Inputs, targets: Targets) -> tuple[Tensor | None, dict[str, Tensor]]:
        """One forward pass serves both."""
        logits = self.logits(model, model.hidden(**inputs), targets.prior)
        found = self.estimates(logits, targets.prior, targets.doubt)
        if targets.likes is None:
            return None, found
        return self.loss(logits, targets.likes, targets.prior), found | self.to_calibrate(logits, targets)

    def to_calibrate(self, _logits: Tensor, _targets: Targets) -> dict[str, Tensor]:
        """What a calibration has to know of B rows beside their estimates; nothing where a head has none."""
        return {}

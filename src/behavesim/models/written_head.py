"""Heads of models that write tweets: of those that do nothing else, and of those that also predict likes."""

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from behavesim.models.head import Head, Hidden, Inputs, LikesHead, Targets
from behavesim.models.text_head import answer_mask

if TYPE_CHECKING:
    from behavesim.models.git import GitModel


class WrittenHead(Head):
    """The tweet itself, token by token; it has no weights of its own.

    In place of estimates it gives `nats`, what each row's text costs [B], and how many `tokens` it has [B].
    """

    writes = True

    def logits(self, model: "GitModel", hidden: Hidden, prior: Tensor | None) -> Tensor:
        """Vocabulary logits at every position: [B, P + T, V]."""
        return model.vocabulary(hidden.states)

    def answers(self, inputs: Inputs, targets: Targets) -> Tensor:
        """The tokens of the texts."""
        return targets.answer_length.sum().float()

    def training_loss(self, model: "GitModel", inputs: Inputs, targets: Targets) -> Tensor:
        """Mean cross-entropy of the texts' tokens, each read at the token before it."""
        hidden = model.hidden(**inputs, legible=targets.answer_length[:, None] > 0)
        nats, tokens = text_nats(model, hidden, inputs, targets)
        return nats.sum() / tokens.sum().clamp(min=1)

    def score(self, model: "GitModel", inputs: Inputs, targets: Targets) -> tuple[Tensor | None, dict[str, Tensor]]:
        """The loss, and what it is made of."""
        nats, tokens = text_nats(model, model.hidden(**inputs), inputs, targets)
        return nats.sum() / tokens.sum().clamp(min=1), {"nats": nats, "tokens": tokens}


class JointHead(Head):
    """Of rows whose text ends in an answer, which is to be written, and of others, whose likes are to be predicted.

    Args:
        likes: reads the latter.
        weight: of a written row's mean loss a token beside the loss of a row of likes.
    """

    writes = True

    def __init__(self, likes: LikesHead, weight: float = 1.0) -> None:
        super().__init__()
        self.likes = likes
        self.weight = weight
        self.written = WrittenHead()

    def logits(self, model: "GitModel", hidden: Hidden, prior: Tensor | None) -> Tensor:
        """Those of likes."""
        return self.likes.logits(model, hidden, prior)

    def training_loss(self, model: "GitModel", inputs: Inputs, targets: Targets) -> Tensor:
        """Mean over rows, of whichever kind. Every batch runs both parts, as processes that share gradients need it."""
        asked = targets.answer_length == 0
        hidden = model.hidden(**inputs, legible=~asked[:, None])
        logits = self.likes.logits(model, hidden, targets.prior)
        loss = logits.sum() * 0
        if asked.any():
            of_likes = self.likes.loss(logits[asked], targets.likes[asked], targets.prior[asked])
            loss = loss + of_likes * asked.sum()
        nats, tokens = text_nats(model, hidden, inputs, targets)
        return (loss + self.weight * (nats / tokens.clamp(min=1)).sum()) / len(asked)

    def score(self, model: "GitModel", inputs: Inputs, targets: Targets) -> tuple[Tensor | None, dict[str, Tensor]]:
        """A batch of one kind: what the part for it gives."""
        part = self.written if bool((targets.answer_length > 0).all()) else self.likes
        return part.score(model, inputs, targets)


def likes_head(head: Head) -> Head:
    """The head that predicts likes, where one does more than that."""
    return head.likes if isinstance(head, JointHead) else head


def text_nats(model: "GitModel", hidden: Hidden, inputs: Inputs, targets: Targets) -> tuple[Tensor, Tensor]:
    """Summed cross-entropy of each row's answer and how many tokens it has: [B] each."""
    supervised = answer_mask(inputs["attention_mask"], targets.answer_length)[:, 1:]  # nothing comes before the first
    logits = model.vocabulary(hidden.text[:, :-1][supervised])
    losses = F.cross_entropy(logits, inputs["input_ids"][:, 1:][supervised], reduction="none")
    rows = supervised.nonzero()[:, 0]
    nats = torch.zeros(len(supervised), device=losses.device, dtype=losses.dtype).index_add(0, rows, losses)
    return nats, supervised.sum(dim=1)

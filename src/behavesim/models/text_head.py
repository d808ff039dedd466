"""The text head: the language model writes its answer as digits."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from behavesim.models.generation import Sampler, row_keys
from behavesim.models.head import LEVELS, Head, Hidden, Inputs, Targets, named_quantiles

if TYPE_CHECKING:
    from behavesim.models.git import GitModel


@dataclass(frozen=True)
class Answering:
    """How a written answer is supervised, decoded and read."""

    read: Callable[[Tensor], Tensor]  # ids [N, K] → numbers [N] float64, nan where there is none
    decode: Literal["greedy", "expected"]
    samples: int  # of each row, for `expected`
    max_new_tokens: int
    supervise: Literal["answer", "all"]  # all: every token of the text, as the reference does
    seed: int
    limit: float  # largest number of likes that an estimate counts with


class TextHead(Head):
    """Digits of the vocabulary; it has no weights of its own.

    `greedy` takes the likeliest digits as every estimate. `expected` draws numbers from the model's own distribution
    and takes the mean, the mean logarithm and the quantiles of the draws. A row of which no answer can be read takes
    its prior.

    Args:
        answering: None gives logits alone.
    """

    writes = True

    def __init__(self, answering: Answering | None) -> None:
        super().__init__()
        self.answering = answering

    def logits(self, model: "GitModel", hidden: Hidden, prior: Tensor | None) -> Tensor:
        """Vocabulary logits at every position: [B, P + T, V]."""
        return model.vocabulary(hidden.states)

    def _supervised(self, inputs: Inputs, targets: Targets) -> Tensor:
        """Tokens that the loss reads, but for the first of each text, which nothing comes before: [B, T - 1] bool."""
        if self.answering.supervise == "answer":
            return answer_mask(inputs["attention_mask"], targets.answer_length)[:, 1:]
        return inputs["attention_mask"].bool()[:, 1:]

    def answers(self, inputs: Inputs, targets: Targets) -> Tensor:
        """The supervised tokens."""
        return self._supervised(inputs, targets).sum().float()

    def training_loss(self, model: "GitModel", inputs: Inputs, targets: Targets) -> Tensor:
        """Mean cross-entropy of the supervised tokens, each read at the token before it."""
        supervised = self._supervised(inputs, targets)
        answer = answer_mask(inputs["attention_mask"], targets.answer_length)
        states = model.hidden(**inputs, legible=answer).text[:, :-1]
        # Vocabulary logits are the largest tensor of a step: they are made where a label is and nowhere else.
        return F.cross_entropy(model.vocabulary(states[supervised]), inputs["input_ids"][:, 1:][supervised])

    def score(self, model: "GitModel", inputs: Inputs, targets: Targets) -> tuple[Tensor | None, dict[str, Tensor]]:
        """The loss reads the answer, the estimates never see it."""
        loss = None if targets.likes is None else self.training_loss(model, inputs, targets)
        answer = answer_mask(inputs["attention_mask"], targets.answer_length)
        prompt = {**inputs, "attention_mask": inputs["attention_mask"] * ~answer}
        return loss, self.estimates(self._numbers(model, prompt), targets.prior)

    def _numbers(self, model: "GitModel", prompt: Inputs) -> Tensor:
        """Numbers that the model answers with: [B, S] float64, nan where an answer cannot be read."""
        how = self.answering
        if how.decode == "greedy":
            ids = model.generate(max_new_tokens=how.max_new_tokens, **prompt)
            return how.read(ids)[:, None].to(ids.device)
        keys = row_keys(prompt["input_ids"], prompt["attention_mask"])
        sampler = Sampler(how.samples, how.max_new_tokens, how.seed, keys)
        ids = model.generate(max_new_tokens=how.max_new_tokens, choose=sampler, samples=how.samples, **prompt)
        return how.read(ids).view(-1, how.samples).to(ids.device)

    def estimates(self, numbers: Tensor, prior: Tensor) -> dict[str, Tensor]:
        """Estimates [B] of answers [B, S] and priors [B]; see `Head`."""
        failures = numbers.isnan().double().mean(dim=1)
        known = torch.expm1(prior.double()).clamp(min=0)[:, None]
        numbers = torch.where((failures == 1)[:, None], known, numbers).clamp(max=self.answering.limit)
        found = {"mean": numbers.nanmean(dim=1), "logmean": torch.expm1(numbers.log1p().nanmean(dim=1))}
        quantiles = numbers.nanquantile(numbers.new_tensor(LEVELS), dim=1).T
        return found | named_quantiles(quantiles) | {"failures": failures}


def answer_mask(attention_mask: Tensor, answer_length: Tensor) -> Tensor:
    """[B, T] bool: the last `answer_length` [B] tokens of each text of `attention_mask` [B, T]."""
    after = attention_mask.flip(1).cumsum(dim=1).flip(1)  # tokens from here to the text's end
    return attention_mask.bool() & (after <= answer_length[:, None])

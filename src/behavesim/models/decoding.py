"""How texts are decoded: greedy, by beams, or drawn; and which tokens may never stand where."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor
from transformers.generation.logits_process import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopPLogitsWarper,
)

from behavesim.models.copying import Copying
from behavesim.models.generation import Sampler, generate, generate_beams, row_keys

if TYPE_CHECKING:
    from behavesim.models.git import GitModel


@dataclass(frozen=True)
class Decoding:
    """Settings of written texts.

    Args:
        how: `greedy` takes the likeliest token, `beam` the likeliest of the texts that are followed, `sampled` draws,
            and `consensus` draws several and keeps those that are nearest to the account's earlier texts.
        alternatives: texts that are wanted of each row; beams give the best ones, greedy decoding has but one.
        draws: how many texts of a row consensus chooses among.
        beams: how many texts of a row are followed at a time.
        length_penalty: see `Beams`.
        temperature: of draws; below 1 the likely becomes likelier.
        top_p: share of the distribution that draws come from, the likeliest tokens first (Holtzman et al. 2020).
        copying: share of each token's probability that is what followed in the account's earlier texts, see `Copying`.
        repetition_penalty: by which what a text holds already becomes less likely (Keskar et al. 2019); 1: not at all.
        max_new_tokens: longest text.
        seed: of draws; a row's draws depend on it and on the row's prompt alone.
        never: ids that no text holds, such as padding.
        not_first: ids that no text begins with, such as its end: none is empty.
    """

    how: Literal["greedy", "beam", "sampled", "consensus"] = "greedy"
    alternatives: int = 1
    draws: int = 16
    beams: int = 4
    length_penalty: float = 1.0
    temperature: float = 1.0
    top_p: float = 1.0
    copying: float = 0.0
    repetition_penalty: float = 1.0
    max_new_tokens: int = 64
    seed: int = 0
    never: tuple[int, ...] = ()
    not_first: tuple[int, ...] = ()

    @property
    def drawn(self) -> bool:
        """Whether tokens are drawn."""
        return self.how in ("sampled", "consensus")

    @property
    def written(self) -> int:
        """Texts that are written of each row, A."""
        return max(self.draws, self.alternatives) if self.how == "consensus" else self.alternatives

    @cached_property
    def _warpers(self) -> LogitsProcessorList:
        found = LogitsProcessorList()
        if self.drawn and self.temperature != 1:
            found.append(TemperatureLogitsWarper(self.temperature))
        if self.drawn and self.top_p < 1:
            found.append(TopPLogitsWarper(self.top_p))
        return found

    def score(self, logits: Tensor, ids: Tensor, mix: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Logits [R, V] to go by, of the model's own and the ids [R, t] of the texts so far.

        `mix` brings in what else may follow. It does not repeat itself as a model does: what was said counts less in
        the model's logits alone. Temperature and `top_p` see both.
        """
        if self.repetition_penalty != 1:
            logits = RepetitionPenaltyLogitsProcessor(self.repetition_penalty)(ids, logits)
        logits = logits.clone() if mix is None else mix(logits)
        logits[:, list(self.never if ids.shape[1] else (*self.never, *self.not_first))] = float("-inf")
        return self._warpers(ids, logits)


def write(
    model: "GitModel", inputs: Mapping[str, Tensor | None], decoding: Decoding, earlier: Tensor | None = None
) -> Tensor:
    """Texts behind the prompts of `inputs`, see `GitModel.hidden`: ids [B, A, at most `max_new_tokens`].

    `earlier` are ids [B, E, L] of the account's earlier texts, see `Copying`, which copies nothing without them.
    """
    rows, ends = len(inputs["input_ids"]), model.ends(decoding.max_new_tokens)
    prompt = model.prompt(**inputs)
    copying = Copying(earlier, decoding.copying) if decoding.copying and earlier is not None else None
    score = _Score(decoding, copying)
    if decoding.how == "beam":
        width, penalty = max(decoding.beams, decoding.alternatives), decoding.length_penalty
        ids = generate_beams(model.llm, prompt, ends, width=width, score=score, length_penalty=penalty)
        return ids.view(rows, width, -1)[:, : decoding.alternatives]
    sampler = None
    if decoding.drawn:
        keys = row_keys(inputs["input_ids"], inputs["attention_mask"])
        sampler = Sampler(decoding.written, decoding.max_new_tokens, decoding.seed, keys)
    choose = _Chooser(score, sampler, decoding.written)
    return generate(model.llm, prompt, ends, choose=choose, samples=decoding.written).view(rows, decoding.written, -1)


@dataclass(frozen=True)
class _Score:
    """Logits [R, V] to go by, of the model's own, the ids [R, t] of the texts so far and their rows [R]."""

    decoding: Decoding
    copying: Copying | None

    def __call__(self, logits: Tensor, ids: Tensor, rows: Tensor) -> Tensor:
        mix = None if self.copying is None else partial(self.copying.mixed, ids=ids, rows=rows)
        return self.decoding.score(logits, ids, mix)


class _Chooser:
    """Chooses tokens by what a text holds already.

    Args:
        score: what to go by.
        sampler: draws; None takes the best.
        samples: texts of each row.
    """

    def __init__(self, score: _Score, sampler: Sampler | None, samples: int) -> None:
        self.score = score
        self.sampler = sampler
        self.samples = samples
        self.places = torch.zeros(0, dtype=torch.int64)
        self.ids = torch.zeros(0, 0, dtype=torch.int64)

    def __call__(self, logits: Tensor, step: int, places: Tensor) -> Tensor:
        if step == 0:
            self.places, self.ids = places, torch.zeros(len(logits), 0, dtype=torch.int64, device=logits.device)
        # Texts that have ended may be gone.
        self.places, self.ids = places, self.ids[torch.searchsorted(self.places, places)]
        scores = self.score(logits, self.ids, places // self.samples)
        chosen = scores.argmax(dim=-1) if self.sampler is None else self.sampler(scores, step, places)
        self.ids = torch.cat([self.ids, chosen[:, None]], dim=1)
        return chosen

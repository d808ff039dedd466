"""Generation with a key-value cache: batched, one forward of the prompt, then one token a step."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from transformers import PreTrainedModel

from behavesim.models.beams import Beams, beam_search
from behavesim.models.continuation import Continuation
from behavesim.models.sequence import Packed

# Knuth's multiplier and increment of a 64-bit linear congruential generator (MMIX).
MULTIPLIER, INCREMENT = 6364136223846793005, 1442695040888963407
CACHE_BYTES = 2 << 30  # of keys and values at once: 32 samples of a long batch would fill any accelerator
# Next-token logits [R, V], the step, places of these among all texts [R], row × samples + sample → ids [R].
Choose = Callable[[Tensor, int, Tensor], Tensor]
Score = Callable[[Tensor, Tensor, Tensor], Tensor]  # logits [R, V], texts so far [R, t], their rows [R] → [R, V]


def alone(number: int) -> int:
    """A number of this process, which waits for no other."""
    return number


def most_of_all(number: int) -> int:
    """The largest of the numbers that all processes call this with at the same time."""
    device = torch.device("cuda", torch.cuda.current_device()) if dist.get_backend() == "nccl" else torch.device("cpu")
    found = torch.tensor(number, device=device)
    dist.all_reduce(found, dist.ReduceOp.MAX)
    return int(found)


def greedy(logits: Tensor, _step: int, _places: Tensor | None = None) -> Tensor:
    """The likeliest token."""
    return logits.argmax(dim=-1)


class Sampler:
    """Seeded draws from the model's distribution, `samples` for each row.

    The samples of a row spread evenly over its first token's distribution, which steadies their mean: they invert it
    at stratified uniforms. These are the same for all rows but turned by a number of the row's own (a random shift
    modulo 1, Cranley & Patterson 1976): a row's draws do not depend on its neighbours in the batch, and the errors of
    rows do not run in one direction.

    Args:
        samples: draws of each row, S, side by side.
        steps: most tokens of a draw.
        seed: fixes the draws.
        keys: [B] int64, a number of each row's own, see `row_keys`; None turns nothing.
    """

    def __init__(self, samples: int, steps: int, seed: int, keys: Tensor | None = None) -> None:
        self.keys = keys
        generator = torch.Generator().manual_seed(seed)
        strata = torch.stack([torch.randperm(samples, generator=generator) for _ in range(steps)])
        within = torch.rand(steps, samples, generator=generator, dtype=torch.float64)
        self.uniforms = (strata + within) / samples  # [steps, S]

    def __call__(self, logits: Tensor, step: int, places: Tensor | None = None) -> Tensor:
        """Draw by inverting the cumulative distribution; without `places` the logits are those of all texts."""
        places = torch.arange(len(logits), device=logits.device) if places is None else places
        samples = self.uniforms.shape[1]
        cumulative = logits.double().softmax(dim=-1).cumsum(dim=-1)
        uniforms = self.uniforms[step].to(logits.device)[places % samples]
        if self.keys is not None:
            uniforms = (uniforms + _turn(self.keys[places // samples], step)) % 1
        points = uniforms[:, None] * cumulative[:, -1:]
        return torch.searchsorted(cumulative, points, right=True).squeeze(1).clamp(max=logits.shape[1] - 1)


def row_keys(input_ids: Tensor, attention_mask: Tensor) -> Tensor:
    """A number of each row's own text, whatever its padding: [B, T] twice → [B] int64, a polynomial hash."""
    places = attention_mask.cumsum(dim=1)
    powers = torch.full_like(places[0], MULTIPLIER).cumprod(dim=0)  # wraps around, as hashes do
    return ((input_ids + 1) * powers[(places - 1).clamp(min=0)] * attention_mask).sum(dim=1)


def _turn(keys: Tensor, step: int) -> Tensor:
    """Uniform numbers in [0, 1) of keys [B] and a step: the high bits of a congruential generator's second state."""
    state = (keys + step + 1) * MULTIPLIER + INCREMENT
    state = (state ^ (state >> 29)) * MULTIPLIER + INCREMENT
    return ((state >> 11) & ((1 << 53) - 1)).double() / (1 << 53)


@dataclass(frozen=True)
class Ends:
    """When texts end.

    Args:
        max_new_tokens: most tokens of a text.
        ids: tokens that end one; the end is kept.
        pad_id: what follows it.
        most: `most_of_all` where processes hold a share of the weights each: then all run as many forward passes as
            the one that needs most, and what is written beyond a row's end is left out.
    """

    max_new_tokens: int
    ids: Sequence[int] = ()
    pad_id: int = 0
    most: Callable[[int], int] = alone


@torch.no_grad()
def generate(llm: PreTrainedModel, prompt: Packed, ends: Ends, *, choose: Choose = greedy, samples: int = 1) -> Tensor:
    """Continue left-padded rows; returns the new ids alone, [B × samples, at most max_new_tokens].

    Equal to recomputing everything at each step, token for token. Rows do not depend on each other: as many as
    `CACHE_BYTES` holds go together.
    """
    return _in_pieces(llm, prompt, ends, samples, lambda rows, places: _chosen(rows, places, ends, choose, samples))


@torch.no_grad()
def generate_beams(
    llm: PreTrainedModel, prompt: Packed, ends: Ends, *, width: int, score: Score, length_penalty: float
) -> Tensor:
    """The `width` best texts of each row side by side, the best first, see `Beams`; otherwise as `generate`."""

    def search(rows: Continuation, places: Tensor) -> Tensor:
        found = torch.tensor(list(ends.ids), device=places.device, dtype=torch.int64)
        beams, of = Beams(len(places), width, found, ends.pad_id, length_penalty), places.repeat_interleave(width)
        steps = {"max_new_tokens": ends.max_new_tokens, "most": ends.most}
        return beam_search(rows, beams, score=lambda logits, ids: score(logits, ids, of), **steps)

    return _in_pieces(llm, prompt, ends, width, search)


def _in_pieces(
    llm: PreTrainedModel, prompt: Packed, ends: Ends, copies: int, write: Callable[[Continuation, Tensor], Tensor]
) -> Tensor:
    """What is written behind each of the prompt's rows, as many of them at a time as memory holds."""
    rows = max(1, CACHE_BYTES // (copies * cache_bytes(llm, prompt.order.shape[1] + ends.max_new_tokens)))
    places = torch.arange(len(prompt.order), device=prompt.order.device).split(rows)
    pieces = list(zip(prompt.split(rows), places, strict=True))
    spare = pieces[-1:] * (ends.most(len(pieces)) - len(pieces))  # written again and left out
    parts = [write(Continuation(llm, piece, copies), place) for piece, place in pieces + spare][: len(pieces)]
    width = max(part.shape[1] for part in parts)
    return torch.cat([F.pad(part, (0, width - part.shape[1]), value=ends.pad_id) for part in parts])


def cache_bytes(llm: PreTrainedModel, tokens: int) -> int:
    """Keys and values of one row of that many tokens; an upper bound where heads share them."""
    per_token = 2 * llm.config.num_hidden_layers * llm.config.hidden_size * llm.get_input_embeddings().weight.itemsize
    return tokens * per_token


def _chosen(rows: Continuation, places: Tensor, ends: Ends, choose: Choose, samples: int) -> Tensor:
    """Tokens chosen one after another. Texts that have ended are left out as soon as they are more than the others."""
    last = torch.tensor(list(ends.ids), device=places.device, dtype=torch.int64)
    places = (places[:, None] * samples + torch.arange(samples, device=places.device)).flatten()
    new = torch.full((len(places), ends.max_new_tokens), ends.pad_id, device=places.device)
    going = torch.arange(len(places), device=places.device)  # texts that are written on
    ended = torch.zeros(len(places), dtype=torch.bool, device=places.device)
    for step in range(ends.max_new_tokens):
        ids = choose(rows.logits, step, places[going]).masked_fill(ended, ends.pad_id)
        new[going, step] = ids
        ended |= torch.isin(ids, last)
        if step + 1 == ends.max_new_tokens or not ends.most(int(not ended.all())):
            break
        if len(ended) > 2 * (~ended).sum() > 0:
            kept = (~ended).nonzero()[:, 0]
            going, ids, ended = going[kept], ids[kept], ended[kept]
            rows.go_on_from(kept)
        rows.take(ids)
    return new[:, : step + 1]

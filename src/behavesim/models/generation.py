"""Generation with a key-value cache: batched, one forward of the prompt, then one token a step."""

from collections.abc import Callable, Sequence

import torch
import torch.distributed as dist
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from transformers import PreTrainedModel
from transformers.cache_utils import DynamicCache

from behavesim.models import llm as decoder
from behavesim.models.mask import additive
from behavesim.models.sequence import Packed

# Knuth's multiplier and increment of a 64-bit linear congruential generator (MMIX).
MULTIPLIER, INCREMENT = 6364136223846793005, 1442695040888963407
CACHE_BYTES = 2 << 30  # of keys and values at once: 32 samples of a long batch would fill any accelerator
# Next-token logits [B × samples, V], the step, the rows' places in the whole batch [B] → ids [B × samples].
Choose = Callable[[Tensor, int, Tensor], Tensor]


def alone(number: int) -> int:
    """A number of this process, which waits for no other."""
    return number


def most_of_all(number: int) -> int:
    """The largest of the numbers that all processes call this with at the same time."""
    device = torch.device("cuda", torch.cuda.current_device()) if dist.get_backend() == "nccl" else torch.device("cpu")
    found = torch.tensor(number, device=device)
    dist.all_reduce(found, dist.ReduceOp.MAX)
    return int(found)


def greedy(logits: Tensor, _step: int, _rows: Tensor | None = None) -> Tensor:
    """The likeliest token."""
    return logits.argmax(dim=-1)


class Sampler:
    """Seeded draws from the model's distribution, `samples` for each row.

    The samples of a row spread evenly over its first token's distribution, which steadies their mean: they invert it
    at stratified uniforms. These are the same for all rows but turned by a number of the row's own (a random shift
    modulo 1, Cranley & Patterson 1976): a row's draws do not depend on its neighbours in the batch, and the errors of
    rows do not run in one direction.

    Args:
        samples: draws of each row, S; rows come as [B × S], the draws of a row side by side.
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

    def __call__(self, logits: Tensor, step: int, rows: Tensor | None = None) -> Tensor:
        """Draw by inverting the cumulative distribution."""
        cumulative = logits.double().softmax(dim=-1).cumsum(dim=-1)
        uniforms = self.uniforms[step].to(logits.device).expand(len(logits) // self.uniforms.shape[1], -1)  # [B, S]
        if self.keys is not None and rows is not None:
            uniforms = (uniforms + _turn(self.keys[rows], step)[:, None]) % 1
        points = uniforms.reshape(-1, 1) * cumulative[:, -1:]
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


@torch.no_grad()
def generate(
    llm: PreTrainedModel,
    prompt: Packed,
    *,
    max_new_tokens: int,
    eos_ids: Sequence[int] = (),
    pad_id: int = 0,
    choose: Choose = greedy,
    samples: int = 1,
    most: Callable[[int], int] = alone,
) -> Tensor:
    """Continue left-padded rows; returns the new ids alone, [B × samples, at most max_new_tokens].

    A row ends at the first of `eos_ids`, which is kept; `pad_id` follows it. Equal to recomputing everything at each
    step, token for token. Rows do not depend on each other: as many as `CACHE_BYTES` holds go together.

    `most` is `most_of_all` where processes hold a share of the weights each: then all run as many forward passes as the
    one that needs most, and what is written beyond a row's end is left out.
    """
    rows = max(1, CACHE_BYTES // (samples * cache_bytes(llm, prompt.order.shape[1] + max_new_tokens)))
    settings = {
        "max_new_tokens": max_new_tokens,
        "eos_ids": eos_ids,
        "choose": choose,
        "samples": samples,
        "most": most,
    }
    places = torch.arange(len(prompt.order), device=prompt.order.device).split(rows)
    pieces = list(zip(prompt.split(rows), places, strict=True))
    spare = pieces[-1:] * (most(len(pieces)) - len(pieces))  # written again and left out
    parts = [_generate(llm, piece, places=place, pad_id=pad_id, **settings) for piece, place in pieces + spare]
    parts = parts[: len(pieces)]
    width = max(part.shape[1] for part in parts)
    return torch.cat([F.pad(part, (0, width - part.shape[1]), value=pad_id) for part in parts])


def cache_bytes(llm: PreTrainedModel, tokens: int) -> int:
    """Keys and values of one row of that many tokens; an upper bound where heads share them."""
    per_token = 2 * llm.config.num_hidden_layers * llm.config.hidden_size * llm.get_input_embeddings().weight.itemsize
    return tokens * per_token


def _generate(
    llm: PreTrainedModel,
    prompt: Packed,
    *,
    places: Tensor,
    max_new_tokens: int,
    eos_ids: Sequence[int],
    pad_id: int,
    choose: Choose,
    samples: int,
    most: Callable[[int], int],
) -> Tensor:
    # The cache holds the prompt once and is repeated for the samples.
    cache = DynamicCache()
    logits = decoder.vocabulary_logits(llm, decoder.decode(llm, prompt, cache)[:, -1])
    cache.batch_repeat_interleave(samples)
    logits, seen, prefix, length = (
        tensor.repeat_interleave(samples, dim=0)
        for tensor in (logits, prompt.offsets >= 0, prompt.prefix, prompt.length)
    )
    ends = torch.tensor(list(eos_ids), device=logits.device, dtype=torch.int64)
    ended = torch.zeros(len(logits), dtype=torch.bool, device=logits.device)
    new = []
    for step in range(max_new_tokens):
        ids = choose(logits, step, places).masked_fill(ended, pad_id)
        new.append(ids)
        ended |= torch.isin(ids, ends)
        if step + 1 == max_new_tokens or not most(int(not ended.all())):
            break
        seen = torch.cat([seen, torch.ones_like(seen[:, :1])], dim=1)
        embeddings = llm.get_input_embeddings()(ids[:, None])  # [B, 1, D]
        mask = additive(seen, embeddings.dtype)[:, None, None]  # [B, 1, 1, K]
        position_ids = decoder.positions(llm, length[:, None] + step, prefix, length + step + 1)
        states = decoder.run_decoder(llm, embeddings, mask, position_ids, cache)
        logits = decoder.vocabulary_logits(llm, states[:, -1])
    return torch.stack(new, dim=1)

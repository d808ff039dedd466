"""Which weights train."""

import hashlib
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

SAMPLED = 64  # values of a frozen weight that tell it from another
PARTS = ("vision", "projector", "llm", "lora", "head")


def part_of(name: str) -> str:
    """The part that a parameter of `GitModel` belongs to, by the first word of its name.

    `projector` is everything that brings something into the language model's space: pictures, numbers, frames.
    """
    if ".lora_" in name:
        return "lora"
    first = name.split(".", 1)[0]
    return "projector" if first in ("metadata", "history", "frame_embedding") else first


def set_trainable(model: nn.Module, parts: Sequence[str]) -> None:
    """Train exactly `parts`; where adapters exist, they stand in for `llm`, whose own weights freeze."""
    names = [name for name, _ in model.named_parameters()]
    chosen = set(parts)
    if "llm" in chosen and any(part_of(name) == "lora" for name in names):
        chosen = chosen - {"llm"} | {"lora"}
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(part_of(name) in chosen)


def parameter_table(model: nn.Module) -> list[tuple[str, int, int]]:
    """Part, number of weights, number of those that train; only parts that the model has."""
    rows = []
    for part in PARTS:
        sizes = [(p.numel(), p.requires_grad) for name, p in model.named_parameters() if part_of(name) == part]
        if sizes:
            rows.append((part, sum(size for size, _ in sizes), sum(size for size, trains in sizes if trains)))
    return rows


def once(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state of the parameters themselves (`keep_vars`) without repetitions: a tied matrix under its first name."""
    first: dict[int, str] = {}
    return {name: tensor for name, tensor in state.items() if first.setdefault(id(tensor), name) == name}


def frozen_digest(model: nn.Module) -> str:
    """Tells the weights that stay as they are from others: a hash of their names and of a few of their values."""
    digest = hashlib.blake2b(digest_size=16)
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            values = parameter.detach().flatten()
            some = values[:: max(1, len(values) // SAMPLED)].float().cpu()
            digest.update(name.encode() + some.numpy().tobytes())
    return digest.hexdigest()

"""Prefix and text of each row, side by side without gaps: what the decoder is fed."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from behavesim.models.mask import prefix_mask


@dataclass(frozen=True)
class Packed:
    """Rows of one length; each row's tokens stand together, prefix before text, padding outside.

    Rotary and learned positions could skip an empty slot, but ALiBi counts places: without gaps all families agree,
    and a row means the same with whatever else its batch holds.
    """

    embeddings: Tensor  # [B, L, D]
    order: Tensor  # [B, L] int64, the place in the loose sequence that each token came from
    start: Tensor  # [B] int64, padding before a row's first token
    prefix: Tensor  # [B] int64, prefix tokens of each row
    length: Tensor  # [B] int64, all tokens of each row

    @property
    def offsets(self) -> Tensor:
        """Place of each token in its row, negative on padding at the left: [B, L]."""
        return torch.arange(self.order.shape[1], device=self.order.device) - self.start[:, None]

    def mask(self) -> Tensor:
        """The additive attention mask [B, 1, L, L]."""
        return prefix_mask(self.offsets, self.prefix, self.length, self.embeddings.dtype)

    def split(self, rows: int) -> "list[Packed]":
        """The same in pieces of at most that many rows."""
        pieces = zip(*(getattr(self, field.name).split(rows) for field in fields(self)), strict=True)
        return [Packed(*piece) for piece in pieces]

    def unpack(self, states: Tensor) -> Tensor:
        """States [B, L, D] back in the places of the loose sequence."""
        return states.gather(1, self.order.argsort(dim=1)[:, :, None].expand_as(states))


def pack(embeddings: Tensor, valid: Tensor, prefix_slots: int, *, left_padded: bool = False) -> Packed:
    """Close the gaps of a loose sequence.

    Args:
        embeddings: [B, L, D], `prefix_slots` slots of prefix, then text.
        valid: [B, L] bool, False on empty slots and padding.
        prefix_slots: P.
        left_padded: put all padding before the tokens, as generation needs it; otherwise after them.
    """
    # A stable sort by validity keeps the order within a row.
    order = (valid if left_padded else ~valid).byte().argsort(dim=1, stable=True)
    length = valid.sum(dim=1)
    start = valid.shape[1] - length if left_padded else torch.zeros_like(length)
    packed = embeddings.gather(1, order[:, :, None].expand_as(embeddings))
    return Packed(packed, order, start, valid[:, :prefix_slots].sum(dim=1), length)


def masked_mean(tokens: Tensor, valid: Tensor) -> Tensor:
    """Mean of the valid tokens of each row: [B, K, D] and [B, K] → [B, D], zero where none is valid."""
    weight = valid[:, :, None].to(tokens.dtype)
    return (tokens * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1)

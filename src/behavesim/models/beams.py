"""Beam search: the likeliest texts, each as a whole, in place of the likeliest next token."""

from collections.abc import Callable

import torch
from torch import Tensor

from behavesim.models.continuation import Continuation

Score = Callable[[Tensor, Tensor], Tensor]  # next-token logits [R, V] and the ids so far [R, t] → logits to go by


class Beams:
    """Of each of B rows the W likeliest continuations so far, the best first.

    A text's score is its mean log-probability a token, with `length_penalty` as the exponent of its length (Wu et al.
    2016 have another form of the same): 0 prefers short texts, 1 none. One that has ended stays among the W until
    better ones push it out.

    Args:
        rows: B.
        width: W.
        ends: ids that end a text, [E].
        pad_id: follows an end.
        length_penalty: see above.
    """

    def __init__(self, rows: int, width: int, ends: Tensor, pad_id: int, length_penalty: float = 1.0) -> None:
        self.rows, self.width, self.ends, self.pad_id, self.length_penalty = rows, width, ends, pad_id, length_penalty
        device = ends.device
        # All start from the same prompt: but for one they would find the same texts.
        self.total = torch.full((rows, width), float("-inf"), device=device, dtype=torch.float64)
        self.total[:, 0] = 0
        self.ids = torch.zeros(rows * width, 0, dtype=torch.int64, device=device)
        self.length = torch.zeros(rows * width, dtype=torch.int64, device=device)
        self.ended = torch.zeros(rows * width, dtype=torch.bool, device=device)

    def extend(self, logits: Tensor) -> Tensor:
        """Take the best of all continuations by one token, of logits [B × W, V]; returns where each came from."""
        logs = logits.double().log_softmax(dim=-1)
        stay = torch.full_like(logs, float("-inf"))
        stay[:, self.pad_id] = 0
        logs = torch.where(self.ended[:, None], stay, logs)
        total = self.total.view(-1, 1) + logs  # [B × W, V]
        length = (self.length + ~self.ended)[:, None].double() ** self.length_penalty
        best = (total / length).view(self.rows, -1).topk(self.width, dim=1).indices  # [B, W]
        self.total = total.view(self.rows, -1).gather(1, best)
        came_from = torch.div(best, logs.shape[1], rounding_mode="floor")
        rows = (came_from + torch.arange(self.rows, device=best.device)[:, None] * self.width).view(-1)
        new = (best % logs.shape[1]).view(-1)
        self.ids = torch.cat([self.ids[rows], new[:, None]], dim=1)
        self.length = self.length[rows] + ~self.ended[rows]
        self.ended = self.ended[rows] | torch.isin(new, self.ends)
        return rows


def beam_search(
    continuation: Continuation, beams: Beams, *, max_new_tokens: int, score: Score, most: Callable[[int], int]
) -> Tensor:
    """The W best texts of each row, side by side, the best first: [B × W, at most max_new_tokens]."""
    for step in range(max_new_tokens):
        rows = beams.extend(score(continuation.logits, beams.ids))
        if step + 1 == max_new_tokens or not most(int(not beams.ended.all())):
            break
        continuation.go_on_from(rows)
        continuation.take(beams.ids[:, -1])
    return beams.ids

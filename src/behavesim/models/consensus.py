"""Which of several drawn texts the others agree with most."""

import torch
from torch import Tensor


def by_agreement(ids: Tensor, pad_id: int) -> Tensor:
    """Draws of each row, the one first that is nearest to all others of its row: [B, S, T] → [B, S, T].

    The nearest has the least expected distance to a text of the model's distribution, of which the others stand for
    draws: minimum Bayes risk (Kumar & Byrne 2004; Eikema & Aziz 2020). Near is the F-score of the longest common
    subsequence of tokens, as in ROUGE-L (Lin 2004). Among equals the first draw counts.
    """
    order = agreement(ids, pad_id).argsort(dim=1, descending=True, stable=True)
    return ids.gather(1, order[:, :, None].expand_as(ids))


def agreement(ids: Tensor, pad_id: int) -> Tensor:
    """Mean F-score of each draw with the others of its row: [B, S, T] → [B, S]; 0 where there is but one."""
    rows, samples, _ = ids.shape
    first, second = torch.triu_indices(samples, samples, offset=1, device=ids.device)  # pairs, P
    lengths = (ids != pad_id).sum(dim=2)
    common = common_length(ids[:, first].flatten(0, 1), ids[:, second].flatten(0, 1), pad_id).view(rows, -1)  # [B, P]
    scores = 2 * common / (lengths[:, first] + lengths[:, second]).clamp(min=1)
    total = torch.zeros(rows, samples, device=ids.device)
    total = total.index_add(1, first, scores).index_add(1, second, scores)
    return total / max(1, samples - 1)


def common_length(left: Tensor, right: Tensor, pad_id: int) -> Tensor:
    """Length of the longest common subsequence of each pair of texts: [N, T] twice → [N]; padding is in none."""
    longest = torch.zeros(right.shape, dtype=torch.int64, device=right.device)  # of left so far and right up to here
    for token in left.unbind(dim=1):
        met = (right == token[:, None]) & (right != pad_id)
        before = torch.nn.functional.pad(longest[:, :-1], (1, 0))
        longest = torch.maximum(longest, before + met).cummax(dim=1).values
    return longest[:, -1]

"""What a text goes on with where it goes on as another text did."""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

ORDER = 4  # tokens that are compared
FACTOR = 10.0  # by which each of them that agrees lets what followed count for more
BEFORE = -2  # stands before every text
SPAN = 2**32  # more than there are tokens


class Copying:
    """Mixes a model's next token with what followed the same last tokens in earlier texts: a cache of their n-grams.

    A small model cannot take from its prompt the words that an account repeats, such as its hashtags. Caches of words
    go back to Kuhn & De Mori (1990); here what followed n tokens that agree counts `FACTOR` to the n, up to `ORDER`.

    Args:
        texts: [B, E, L], ids of E earlier texts of each row, each with its end; negative behind it.
        share: of the next token's probability that is the cache's, wherever something followed the last token.
    """

    def __init__(self, texts: Tensor, share: float) -> None:
        self.share = share
        there = texts >= 0
        padded = F.pad(texts, (ORDER, 0), value=BEFORE)
        # Each of P tokens, and the one before it, the one before that, and so on: [P], [ORDER, P].
        following = texts[there]
        before = torch.stack([padded[..., ORDER - n : -n][there] for n in range(1, ORDER + 1)])
        rows = torch.arange(len(texts), device=texts.device)[:, None, None].expand_as(texts)[there]
        self.keys, order = _keys(rows, before[0]).sort(stable=True)
        self.following, self.before = following[order], before[:, order]

    def mixed(self, logits: Tensor, ids: Tensor, rows: Tensor) -> Tensor:
        """Log-probabilities [R, V] of what follows texts [R, t] that belong to `rows` [R], of the model's logits."""
        text, place, weights = self._found(F.pad(ids, (ORDER, 0), value=BEFORE), rows)
        total = torch.zeros(len(rows), device=ids.device, dtype=torch.float32).index_add(0, text, weights)
        likely = logits.float().softmax(dim=1) * (1 - self.share * (total > 0).float())[:, None]
        copied = text * likely.shape[1] + self.following[place]
        return likely.view(-1).index_add(0, copied, self.share * weights / total[text]).view_as(likely).log()

    def _found(self, ids: Tensor, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Where the last token of a text stands in its row: which text, which of P that follow, and its weight: [M]."""
        keys = _keys(rows, ids[:, -1])
        first, end = torch.searchsorted(self.keys, keys), torch.searchsorted(self.keys, keys, right=True)
        count = end - first
        text = torch.arange(len(rows), device=ids.device).repeat_interleave(count)
        place = torch.arange(len(text), device=ids.device) + (first - count.cumsum(0) + count)[text]
        agree = torch.ones_like(place, dtype=torch.bool)
        weights = torch.full(place.shape, FACTOR, device=ids.device, dtype=torch.float32)
        for n in range(2, ORDER + 1):
            agree = agree & (self.before[n - 1, place] == ids[text, -n])
            weights = torch.where(agree, FACTOR**n, weights)
        return text, place, weights


def _keys(rows: Tensor, tokens: Tensor) -> Tensor:
    """One number for a row and a token."""
    return rows * SPAN + tokens - BEFORE

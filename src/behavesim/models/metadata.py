"""A tweet's numbers and its account's past as prefix tokens."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from behavesim.models.members import MemberLinear


@dataclass(frozen=True)
class MetadataShape:
    """What the data decides: how many numbers there are of each kind."""

    observed: int  # of the tweet itself
    summary: int  # of its text, behind the observed ones
    statistics: int  # of its account's past


class MetadataReaders(nn.Module):
    """M small networks that read a tweet's numbers independently of each other (Lakshminarayanan et al. 2017).

    Args:
        shape: numbers of each kind.
        hidden_size: D.
        members: M.
        width: of the hidden layer.
        feature_dropout, summary_dropout: share of numbers hidden in training.
        dropout: share of hidden units.
    """

    def __init__(
        self,
        shape: MetadataShape,
        hidden_size: int,
        *,
        members: int,
        width: int,
        feature_dropout: float,
        summary_dropout: float,
        dropout: float,
    ) -> None:
        super().__init__()
        self.shape = shape
        self.members = members
        self.feature_dropout = feature_dropout
        self.summary_dropout = summary_dropout
        numbers = shape.observed + shape.summary + shape.statistics
        self.hidden = MemberLinear(members, numbers, width)
        self.dropout = nn.Dropout(dropout)
        self.out = MemberLinear(members, width, hidden_size)

    def forward(self, features: Tensor, statistics: Tensor) -> Tensor:
        """Features [B, F] and statistics [B, S] → tokens [B, M, D]."""
        observed, summary = features.split([self.shape.observed, self.shape.summary], dim=1)
        told = [
            self._dropped(observed, self.feature_dropout),
            self._dropped(summary, self.summary_dropout),
            self._dropped(statistics, self.feature_dropout),
        ]
        states = self.dropout(F.gelu(self.hidden(torch.cat(told, dim=2))))
        return self.out(states)

    def _dropped(self, numbers: Tensor, share: float) -> Tensor:
        """[B, F] → [B, M, F], where each member misses other numbers in training."""
        return F.dropout(numbers[:, None].expand(-1, self.members, -1), share, self.training)


class HistoryProjector(nn.Module):
    """Earlier posts of an account as prefix tokens: [B, K, T] → [B, K, D]."""

    def __init__(self, numbers: int, hidden_size: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(numbers, hidden_size), nn.GELU(), nn.Linear(hidden_size, hidden_size), nn.LayerNorm(hidden_size)
        )

    def forward(self, posts: Tensor) -> Tensor:
        """One token a post."""
        return self.layers(posts)

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
    accounts: int  # with a vector of their own
    companies: int
    rows: int  # training rows


class MetadataReaders(nn.Module):
    """M small networks that read a tweet's numbers independently of each other (Lakshminarayanan et al. 2017).

    Each has vectors of its own for accounts and companies: what the weights remember of them, beside what the history
    says. These are drawn towards zero as random effects are, by a penalty on their squares that weighs against the
    squared error of all training rows, so that an account with few tweets stays near to none.

    Args:
        shape: numbers of each kind.
        hidden_size: D.
        members: M.
        width: of the hidden layer.
        name_width: of a learned vector.
        name_penalty: pseudo-rows that draw a vector to zero.
        name_dropout: share of rows whose account is hidden in training, and in half of them the company.
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
        name_width: int,
        name_penalty: float,
        name_dropout: float,
        feature_dropout: float,
        summary_dropout: float,
        dropout: float,
    ) -> None:
        super().__init__()
        self.shape = shape
        self.members = members
        self.name_penalty = name_penalty
        self.name_dropout = name_dropout
        self.feature_dropout = feature_dropout
        self.summary_dropout = summary_dropout
        # Place 0 is whoever has none; it is learned from rows whose name is hidden.
        self.accounts = nn.Parameter(torch.randn(shape.accounts + 1, members, name_width) * 0.01)
        self.companies = nn.Parameter(torch.randn(shape.companies + 1, members, name_width) * 0.01)
        numbers = shape.observed + shape.summary + shape.statistics
        self.hidden = MemberLinear(members, numbers + 2 * name_width, width)
        self.dropout = nn.Dropout(dropout)
        self.out = MemberLinear(members, width, hidden_size)

    def forward(self, features: Tensor, statistics: Tensor, names: Tensor) -> Tensor:
        """Features [B, F], statistics [B, S] and numbers of account and company [B, 2] → tokens [B, M, D]."""
        observed, summary = features.split([self.shape.observed, self.shape.summary], dim=1)
        told = [
            self._dropped(observed, self.feature_dropout),
            self._dropped(summary, self.summary_dropout),
            self._dropped(statistics, self.feature_dropout),
            *self._remembered(names),
        ]
        states = self.dropout(F.gelu(self.hidden(torch.cat(told, dim=2))))
        return self.out(states)

    def _dropped(self, numbers: Tensor, share: float) -> Tensor:
        """[B, F] → [B, M, F], where each member misses other numbers in training."""
        return F.dropout(numbers[:, None].expand(-1, self.members, -1), share, self.training)

    def _remembered(self, names: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors of account and company, each [B, M, width]."""
        account, company = (column[:, None].expand(-1, self.members) for column in names.unbind(dim=1))
        if self.training and self.name_dropout > 0:
            drawn = torch.rand(account.shape, device=names.device)
            account = account * (drawn >= self.name_dropout)
            company = company * (drawn >= self.name_dropout / 2)
        places = torch.arange(self.members, device=names.device)
        return self.accounts[account, places], self.companies[company, places]

    def penalty(self) -> Tensor:
        """What the learned vectors cost a mean loss over rows: a scalar, the mean over members."""
        squares = self.accounts[1:].square().sum() + self.companies[1:].square().sum()
        return self.name_penalty * squares / (self.members * self.shape.rows)


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

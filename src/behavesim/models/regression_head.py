"""The regression head: log1p likes, smeared back to likes."""

import math

import torch
from torch import Tensor, nn

from behavesim.models.head import LEVELS, LikesHead, named_quantiles
from behavesim.models.members import MemberLinear

REMEMBERED = 1024  # residuals kept


class RegressionHead(LikesHead):
    """Squared error of log1p likes; the spread of recent training residuals turns it back into likes.

    Residuals are those of training steps, dropout and all: each of a row that the weights had not yet learned in that
    epoch, which keeps the spread from being too narrow.

    The mean of likes is not the exponential of a mean logarithm: every remembered residual is added to the
    prediction, and the results are averaged (Duan 1983, smearing). Quantiles come from the same sum.

    Args:
        hidden_size: D.
        members: M.
        limit: largest number of likes that an estimate counts with.
        dropout: share of the state that is hidden in training.
        text_dropout: see `LikesHead`.
    """

    def __init__(
        self, hidden_size: int, *, limit: float, members: int = 1, dropout: float = 0.0, text_dropout: float = 0.0
    ) -> None:
        super().__init__(hidden_size, members, text_dropout)
        self.limit = limit
        self.dropout = nn.Dropout(dropout)
        self.linear = MemberLinear(members, hidden_size, 1).zeroed()  # the first prediction is the prior
        self.register_buffer("residuals", torch.zeros(REMEMBERED))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, state: Tensor, prior: Tensor | None = None) -> Tensor:
        """Expected log1p likes [B, M, 1] of states [B, M, D]: the prior [B], 0 without one, plus what a layer adds."""
        logits = self.linear(self.dropout(state.to(self.linear.weight.dtype))).float()
        return logits if prior is None else logits + prior[:, None, None].float()

    def loss(self, logits: Tensor, likes: Tensor, prior: Tensor | None = None) -> Tensor:
        """Mean squared error of log1p likes; in training the residuals of the members' mean are remembered."""
        residuals = torch.log1p(likes.float())[:, None] - logits.squeeze(2)  # [B, M]
        if self.training:
            self._remember(residuals.mean(dim=1).detach())
        return residuals.square().mean()

    def _remember(self, residuals: Tensor) -> None:
        """Overwrite the oldest residuals."""
        residuals = residuals[-REMEMBERED:]
        places = (self.seen + torch.arange(len(residuals), device=residuals.device)) % REMEMBERED
        self.residuals[places] = residuals.to(self.residuals.dtype)
        self.seen += len(residuals)

    def estimates(self, logits: Tensor, prior: Tensor | None = None, doubt: Tensor | None = None) -> dict[str, Tensor]:
        """See `Head`; before any training the spread is zero."""
        residuals = self.residuals[: max(1, min(int(self.seen), REMEMBERED))]
        logs = (logits.mean(dim=1) + residuals).clamp(min=0, max=math.log1p(self.limit))  # [B, R]
        likes = torch.expm1(logs)
        found = {"mean": likes.mean(dim=1), "logmean": torch.expm1(logs.mean(dim=1))}
        found |= named_quantiles(likes.quantile(likes.new_tensor(LEVELS), dim=1).T)
        return {name: values.clamp(max=self.limit) for name, values in found.items()}  # rounding may pass it

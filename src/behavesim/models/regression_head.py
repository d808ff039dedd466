"""The regression head: log1p likes, smeared back to likes."""

import math

import torch
from torch import Tensor, nn

from behavesim.models.head import QUANTILES, LikesHead

REMEMBERED = 1024  # residuals kept


class RegressionHead(LikesHead):
    """Squared error of log1p likes; the spread of recent training residuals turns it back into likes.

    Residuals are those of training steps, dropout and all: each of a row that the weights had not yet learned in that
    epoch, which keeps the spread from being too narrow.

    The mean of likes is not the exponential of a mean logarithm: every remembered residual is added to the
    prediction, and the results are averaged (Duan 1983, smearing). Quantiles come from the same sum.

    Args:
        hidden_size: D.
        limit: largest number of likes that an estimate counts with.
        dropout: share of the state that is hidden in training.
    """

    def __init__(self, hidden_size: int, *, limit: float, dropout: float = 0.0) -> None:
        super().__init__()
        self.limit = limit
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(hidden_size, 1)
        nn.init.zeros_(self.linear.weight)  # the first prediction is the prior
        nn.init.zeros_(self.linear.bias)
        self.register_buffer("residuals", torch.zeros(REMEMBERED))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, state: Tensor, prior: Tensor | None = None) -> Tensor:
        """Expected log1p likes [B, 1] of states [B, D]: the prior [B], 0 without one, plus what the layer adds."""
        logits = self.linear(self.dropout(state.to(self.linear.weight.dtype))).float()
        return logits if prior is None else logits + prior[:, None].float()

    def loss(self, logits: Tensor, likes: Tensor) -> Tensor:
        """Mean squared error of log1p likes; in training the residuals are remembered."""
        residuals = torch.log1p(likes.float()) - logits.squeeze(1)
        if self.training:
            self._remember(residuals.detach())
        return residuals.square().mean()

    def _remember(self, residuals: Tensor) -> None:
        """Overwrite the oldest residuals."""
        residuals = residuals[-REMEMBERED:]
        places = (self.seen + torch.arange(len(residuals), device=residuals.device)) % REMEMBERED
        self.residuals[places] = residuals.to(self.residuals.dtype)
        self.seen += len(residuals)

    def estimates(self, logits: Tensor) -> dict[str, Tensor]:
        """See `Head`; before any training the spread is zero."""
        residuals = self.residuals[: max(1, min(int(self.seen), REMEMBERED))]
        logs = (logits + residuals).clamp(min=0, max=math.log1p(self.limit))  # [B, R]
        likes = torch.expm1(logs)
        found = {"mean": likes.mean(dim=1), "logmean": torch.expm1(logs.mean(dim=1))}
        found |= {name: likes.quantile(level, dim=1) for name, level in QUANTILES.items()}
        return {name: values.clamp(max=self.limit) for name, values in found.items()}  # rounding may pass it

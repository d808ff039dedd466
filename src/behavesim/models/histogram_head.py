"""The histogram head: a distribution over bins of likes."""

import math

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from behavesim.models.binning import LikesBins
from behavesim.models.head import QUANTILES, LikesHead


class HistogramHead(LikesHead):
    """Logits over bins of log1p(likes), trained with HL-Gauss (Imani & White 2018; Farebrother et al. 2024).

    A row may bring a prior, the log1p likes that its account's past suggests. It enters as the logits of a normal
    density around it, so that the layer learns the deviation from the past: adding a linear function of the bin
    centre to those logits shifts the distribution by the same amount wherever the prior lies.

    Args:
        hidden_size: D.
        bins: support of the distribution, K bins.
        dropout: share of the state that is hidden in training.
        smoothing: standard deviation of the smoothed target, in bin widths.
        prior_sigma: standard deviation of log1p likes around the prior at the start of training; it is learned.
    """

    def __init__(
        self,
        hidden_size: int,
        bins: LikesBins,
        *,
        dropout: float = 0.0,
        smoothing: float = 1.0,
        prior_sigma: float = 1.0,
    ) -> None:
        super().__init__()
        edges = torch.tensor(bins.edges)
        self.smoothing = smoothing
        # Not persistent: the artifact stores the bins once, as readable JSON.
        self.register_buffer("edges", edges, persistent=False)  # [K + 1]
        self.register_buffer("centres", (edges[:-1] + edges[1:]) / 2, persistent=False)  # [K]
        self.register_buffer("likes", torch.tensor(bins.likes), persistent=False)  # [K]
        self.register_buffer("log_likes", torch.tensor(bins.log_likes), persistent=False)  # [K]
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(hidden_size, len(bins.likes))
        nn.init.zeros_(self.linear.weight)  # the first prediction is the prior, or uniform without one
        nn.init.zeros_(self.linear.bias)
        self.log_sigma = nn.Parameter(torch.tensor([math.log(prior_sigma)]))  # [1]: DeepSpeed knows no scalars

    def forward(self, state: Tensor, prior: Tensor | None = None) -> Tensor:
        """State [B, D] and prior [B] in log1p likes (or None) → logits [B, K] in fp32."""
        logits = self.linear(self.dropout(state.to(self.linear.weight.dtype))).float()
        if prior is not None:
            logits = logits - ((self.centres - prior[:, None].float()) / self.log_sigma.exp()).square() / 2
        return logits

    def target(self, likes: Tensor) -> Tensor:
        """Smoothed target distribution [B, K]: a normal around log1p(likes), cut at the ends and renormalised."""
        sigma = self.smoothing * (self.edges[1] - self.edges[0])
        # Far above every bin no mass would be left, and such a tweet would cost nothing: it counts as the last bin's.
        logs = torch.log1p(likes.float()).clamp(max=self.centres[-1])
        cdf = torch.special.ndtr((self.edges - logs[:, None]) / sigma)  # [B, K + 1]
        mass = cdf.diff(dim=1)
        return mass / mass.sum(dim=1, keepdim=True).clamp(min=1e-9)

    def loss(self, logits: Tensor, likes: Tensor) -> Tensor:
        """Mean cross-entropy of logits [B, K] against the smoothed target of likes [B]."""
        return F.cross_entropy(logits, self.target(likes))

    def estimates(self, logits: Tensor) -> dict[str, Tensor]:
        """What each score rewards, in likes, each [B]: `mean`, `logmean`, `median`, `p10`, `p90`.

        `mean` is E[likes]; `logmean` is expm1(E[log1p likes]); the others are quantiles.
        """
        probabilities = logits.softmax(dim=1)
        estimates = {
            "mean": probabilities @ self.likes,
            "logmean": torch.expm1(probabilities @ self.log_likes),
        }
        for name, level in QUANTILES.items():
            estimates[name] = self.quantile(probabilities, level)
        return estimates

    def quantile(self, probabilities: Tensor, level: float) -> Tensor:
        """Quantile in likes [B] of probabilities [B, K], linear inside a bin on the log1p axis."""
        cdf = probabilities.cumsum(dim=1)
        index = torch.searchsorted(cdf, torch.full_like(cdf[:, :1], level)).clamp(max=cdf.shape[1] - 1)  # [B, 1]
        inside = probabilities.gather(1, index)
        below = cdf.gather(1, index) - inside
        share = ((level - below) / inside.clamp(min=1e-12)).clamp(0, 1)
        width = self.edges[1] - self.edges[0]
        log_value = self.edges[index] + share * width
        return torch.expm1(log_value.squeeze(1)).clamp(min=0)

"""The histogram head: a distribution over bins of what likes deviate from the prior by."""

import math

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from behavesim.models.binning import LikesBins
from behavesim.models.head import LEVELS, LikesHead, named_quantiles
from behavesim.models.members import MemberLinear


class HistogramHead(LikesHead):
    """Logits over bins of log1p likes less a prior, trained with HL-Gauss.

    Imani & White 2018; Farebrother et al. 2024. The prior is the log1p likes that a row's own content and its account's
    past suggest. To the cross-entropy comes the squared error of the distribution's mean, which is what RMSLE scores.
    M members give a distribution each, and the prediction is their mixture.

    Args:
        hidden_size: D.
        bins: support of the distribution, K bins, and the limits of likes.
        members: M.
        dropout: share of the state that is hidden in training.
        text_dropout: see `LikesHead`.
        smoothing: standard deviation of the smoothed target, in bin widths.
        squared: weight of the squared error.
        prior_sigma: standard deviation of log1p likes around the prior at the start of training; it is learned.
    """

    def __init__(
        self,
        hidden_size: int,
        bins: LikesBins,
        *,
        members: int = 1,
        dropout: float = 0.0,
        text_dropout: float = 0.0,
        smoothing: float = 1.0,
        squared: float = 1.0,
        prior_sigma: float = 1.0,
    ) -> None:
        super().__init__(hidden_size, members, text_dropout)
        edges = torch.tensor(bins.edges)
        self.smoothing = smoothing
        self.squared = squared
        self.limit = bins.limit
        # Not persistent: the artifact stores the bins once, as readable JSON.
        self.register_buffer("edges", edges, persistent=False)  # [K + 1]
        self.register_buffer("centres", (edges[:-1] + edges[1:]) / 2, persistent=False)  # [K]
        # Where the distribution is read for the quantiles of `LEVELS`; `calibrate` moves them.
        self.register_buffer("levels", torch.tensor(LEVELS))  # [Q]
        self.register_buffer("mean_scale", torch.ones(1))
        self.register_buffer("trust", torch.ones(1))  # share of a distribution's distance from the prior that counts
        self.dropout = nn.Dropout(dropout)
        self.linear = MemberLinear(members, hidden_size, len(self.centres)).zeroed()  # the first prediction: the prior
        self.log_sigma = nn.Parameter(torch.tensor([math.log(prior_sigma)]))  # [1]: DeepSpeed knows no scalars

    def forward(self, state: Tensor, prior: Tensor | None = None) -> Tensor:
        """States [B, M, D] → logits [B, M, K] of deviations in fp32; the prior is added where likes are read."""
        logits = self.linear(self.dropout(state.to(self.linear.weight.dtype))).float()
        return logits - (self.centres / self.log_sigma.exp()).square() / 2

    def target(self, deviations: Tensor) -> Tensor:
        """Smoothed target [B, K] of deviations [B]: a normal around each, cut at the ends and renormalised."""
        sigma = self.smoothing * (self.edges[1] - self.edges[0])
        # Far outside every bin no mass would be left, and such a tweet would cost nothing: it counts as the last bin's.
        inside = deviations.float().clamp(self.centres[0], self.centres[-1])
        mass = torch.special.ndtr((self.edges - inside[:, None]) / sigma).diff(dim=1)
        return mass / mass.sum(dim=1, keepdim=True).clamp(min=1e-9)

    def loss(self, logits: Tensor, likes: Tensor, prior: Tensor | None) -> Tensor:
        """Mean cross-entropy of logits [B, M, K] against the smoothed target of likes [B], and the squared error."""
        logs = torch.log1p(likes.float())
        support = self._support(prior, len(likes))
        target = self.target(logs if prior is None else logs - prior.float())
        entropy = -(target[:, None] * logits.log_softmax(dim=2)).sum(dim=2).mean()
        expected = (logits.softmax(dim=2) * support[:, None]).sum(dim=2)
        return entropy + self.squared * (expected - logs[:, None]).square().mean()

    def _support(self, prior: Tensor | None, rows: int) -> Tensor:
        """log1p likes that each bin stands for: [B, K]."""
        shift = self.centres.new_zeros(rows) if prior is None else prior.float()
        return (shift[:, None] + self.centres).clamp(0, self.limit)

    def estimates(self, logits: Tensor, prior: Tensor | None) -> dict[str, Tensor]:
        """What each score rewards, of the members' mixture; see `Head`."""
        probabilities, start = self._mixture(logits, prior)  # [B, K], [B]
        support = self._support(start, len(logits))
        mean = (probabilities * torch.expm1(support)).sum(dim=1) * self.mean_scale
        found = {
            "mean": mean.clamp(max=math.expm1(self.limit)),
            "logmean": torch.expm1((probabilities * support).sum(dim=1)),
        }
        quantiles = self.quantiles(probabilities) + start[:, None]
        return found | named_quantiles(torch.expm1(quantiles.clamp(0, self.limit)))

    def _mixture(self, logits: Tensor, prior: Tensor | None) -> tuple[Tensor, Tensor]:
        """Probabilities of deviations [B, K], and the log1p likes from which they deviate [B].

        These are the prior, moved so that the whole distribution stands as far from it as it is trusted.
        """
        probabilities = logits.softmax(dim=2).mean(dim=1)
        start = self.centres.new_zeros(len(logits)) if prior is None else prior.float()
        return probabilities, start + (self.trust - 1) * (probabilities @ self.centres)

    def quantiles(self, probabilities: Tensor) -> Tensor:
        """Deviations [B, Q] at `levels` of probabilities [B, K], linear inside a bin."""
        cdf = probabilities.cumsum(dim=1)
        levels = self.levels.expand(len(cdf), -1).contiguous()
        index = torch.searchsorted(cdf, levels).clamp(max=cdf.shape[1] - 1)  # [B, Q]
        inside = probabilities.gather(1, index)
        share = ((levels - cdf.gather(1, index) + inside) / inside.clamp(min=1e-12)).clamp(0, 1)
        return self.edges[index] + share * (self.edges[1] - self.edges[0])

    def ranks(self, logits: Tensor, prior: Tensor, likes: Tensor) -> dict[str, Tensor]:
        """Likes are whole numbers: each stands for the half on both sides. With them goes the prior."""
        mixture = self._mixture(logits, prior)
        sides = {"below": likes - 0.5, "up_to": likes + 0.5}
        return {name: self._cdf(*mixture, side) for name, side in sides.items()} | {"prior": prior.float()}

    def _cdf(self, probabilities: Tensor, start: Tensor, likes: Tensor) -> Tensor:
        """Share of the mixture at or below likes [B]: [B], linear inside a bin."""
        width = self.edges[1] - self.edges[0]
        places = ((torch.log1p(likes.clamp(min=0).float()) - start - self.edges[0]) / width).clamp(0, len(self.centres))
        index = places.long().clamp(max=len(self.centres) - 1)[:, None]
        below = F.pad(probabilities.cumsum(dim=1), (1, 0)).gather(1, index)
        share = below + probabilities.gather(1, index) * (places[:, None] - index)
        return torch.where(likes < 0, 0.0, share.squeeze(1))  # all mass below zero likes is zero likes

    def believe(self, trust: float) -> None:
        """Move distributions towards the prior: the mean keeps this share of its distance, in [0, 1]."""
        self.trust.fill_(trust)

    def calibrate(self, levels: Tensor, mean_scale: float) -> None:
        """Read the quantiles of `LEVELS` at other levels [Q] of the distribution, ascending and in (0, 1).

        `mean_scale` multiplies E[likes], which hangs on a tail that few training rows have shown.
        """
        self.levels.copy_(levels)
        self.mean_scale.fill_(mean_scale)

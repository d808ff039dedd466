"""The histogram head: a distribution over bins of what likes deviate from the prior by."""

import math

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from behavesim.models.binning import LikesBins
from behavesim.models.head import LEVELS, LikesHead, Targets, named_quantiles
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
        # What validation rows say, first of accounts that are known, then of strangers. A row lies between them, by the
        # share of its account's variance that is in doubt; these shares of the two are:
        self.register_buffer("anchors", torch.tensor([0.0, 1.0]))
        # Where the distribution is read for the quantiles of `LEVELS`:
        self.register_buffer("levels", torch.tensor(LEVELS).repeat(2, 1))  # [2, Q]
        # A factor of E[likes], which hangs on a tail that few training rows have shown:
        self.register_buffer("mean_scale", torch.ones(2))
        # Share of a distribution's distance from the prior that counts:
        self.register_buffer("trust", torch.ones(2))
        self.calibrating = False  # whether scores bring whole distributions
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

    def estimates(self, logits: Tensor, prior: Tensor | None, doubt: Tensor | None = None) -> dict[str, Tensor]:
        """What each score rewards, of the members' mixture; see `Head`."""
        return self.read(_mixture(logits), prior, doubt)

    def read(self, probabilities: Tensor, prior: Tensor | None, doubt: Tensor | None = None) -> dict[str, Tensor]:
        """`estimates` of probabilities of deviations [B, K]."""
        start = self._start(probabilities, prior, doubt)
        support = self._support(start, len(probabilities))
        mean = (probabilities * torch.expm1(support)).sum(dim=1) * self._of(self.mean_scale, probabilities, doubt)
        found = {
            "mean": mean.clamp(max=math.expm1(self.limit)),
            "logmean": torch.expm1((probabilities * support).sum(dim=1)),
        }
        levels = self._of(self.levels, probabilities, doubt).contiguous()
        quantiles = self.quantiles(probabilities, levels) + start[:, None]
        return found | named_quantiles(torch.expm1(quantiles.clamp(0, self.limit)))

    def _of(self, setting: Tensor, probabilities: Tensor, doubt: Tensor | None) -> Tensor:
        """A setting [2, …] for each row [B, …], between the known account's and the stranger's."""
        known, stranger = setting
        if doubt is None:
            return known.expand(len(probabilities), *known.shape)
        share = self.strangeness(doubt).view(-1, *(1 for _ in known.shape))
        return known + share * (stranger - known)

    def strangeness(self, doubt: Tensor) -> Tensor:
        """Between a known account, 0, and a stranger, 1: doubt [B] → [B]."""
        known, stranger = self.anchors
        return ((doubt.to(known.dtype).square() - known) / (stranger - known)).clamp(0, 1)

    def _start(self, probabilities: Tensor, prior: Tensor | None, doubt: Tensor | None) -> Tensor:
        """log1p likes [B] from which probabilities [B, K] deviate.

        These are the prior, moved so that the whole distribution stands as far from it as it is trusted.
        """
        start = self.centres.new_zeros(len(probabilities)) if prior is None else prior.float()
        return start + (self._of(self.trust, probabilities, doubt) - 1) * (probabilities @ self.centres)

    def quantiles(self, probabilities: Tensor, levels: Tensor) -> Tensor:
        """Deviations [B, Q] at levels [B, Q] of probabilities [B, K], linear inside a bin."""
        cdf = probabilities.cumsum(dim=1)
        index = torch.searchsorted(cdf, levels).clamp(max=cdf.shape[1] - 1)  # [B, Q]
        inside = probabilities.gather(1, index)
        share = ((levels - cdf.gather(1, index) + inside) / inside.clamp(min=1e-12)).clamp(0, 1)
        return self.edges[index] + share * (self.edges[1] - self.edges[0])

    def to_calibrate(self, logits: Tensor, targets: Targets) -> dict[str, Tensor]:
        """While `calibrating`: the mixture's `probabilities` [B, K], `prior` and `doubt` [B]."""
        if not self.calibrating:
            return {}
        doubt = torch.zeros_like(targets.prior) if targets.doubt is None else targets.doubt
        return {"probabilities": _mixture(logits), "prior": targets.prior, "doubt": doubt}

    def places(self, probabilities: Tensor, prior: Tensor, doubt: Tensor, likes: Tensor) -> tuple[Tensor, Tensor]:
        """Shares of distributions [B, K] below likes [B] and up to them: [B] each.

        Likes are whole numbers: each stands for the half on both sides.
        """
        start = self._start(probabilities, prior, doubt)
        return self._cdf(probabilities, start, likes - 0.5), self._cdf(probabilities, start, likes + 0.5)

    def _cdf(self, probabilities: Tensor, start: Tensor, likes: Tensor) -> Tensor:
        """Share of the mixture at or below likes [B]: [B], linear inside a bin."""
        width = self.edges[1] - self.edges[0]
        places = ((torch.log1p(likes.clamp(min=0).float()) - start - self.edges[0]) / width).clamp(0, len(self.centres))
        index = places.long().clamp(max=len(self.centres) - 1)[:, None]
        below = F.pad(probabilities.cumsum(dim=1), (1, 0)).gather(1, index)
        share = below + probabilities.gather(1, index) * (places[:, None] - index)
        return torch.where(likes < 0, 0.0, share.squeeze(1))  # all mass below zero likes is zero likes


def _mixture(logits: Tensor) -> Tensor:
    """Probabilities of deviations: logits of members [B, M, K] → [B, K]."""
    return logits.softmax(dim=2).mean(dim=1)

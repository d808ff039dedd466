"""The Gaussian process: fitted on training rows, asked about any tweet."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl
import torch
from torch import Tensor

from behavesim.data.gp.conditioning import Asked, Known, conditioned, pieces, windows
from behavesim.data.gp.fitting import fit_kernel
from behavesim.data.gp.groups import groups_of, reached, rows_of
from behavesim.data.gp.kernel import Kernel, Points

INDUCING = 512  # training rows through which all tweets share something
# Of the inducing points' own variance: their covariance may be of low rank.
JITTER = 1e-4


@dataclass(frozen=True)
class Expected:
    """Of N tweets, in standard deviations of log1p likes from their mean."""

    mean: Tensor  # [N] float64
    shared: Tensor  # [N] float64, the part of the mean that does not hang on who posts
    variance: Tensor  # [N] float64, of what is not known of the account


@dataclass(frozen=True, eq=False)
class GaussianProcess:
    """What a company or an account shares is exact; what all tweets share passes through inducing points.

    The latter is the deterministic training conditional of Quiñonero-Candela & Rasmussen (2005). Time grows with the
    number of groups, see `groups_of`.
    """

    kernel: Kernel
    centre: float  # mean of log1p likes in training
    scale: float  # their standard deviation
    inducing: Points
    weights: Tensor  # [m] float64, of the covariance with inducing points
    # The weights had a company's group not been there, by its code: training looks at each row as at one of a new one.
    without: Mapping[int, Tensor] = field(default_factory=dict)

    @classmethod
    def fit(cls, points: Points, logs: np.ndarray, *, drifts: bool = True) -> "GaussianProcess":
        """Of training rows and their log1p likes [N]; `drifts`: whether anything drifts in time."""
        centre, scale = float(logs.mean()), max(float(logs.std()), 1e-3)
        values = torch.from_numpy((logs - centre) / scale)
        groups = list(rows_of(groups_of(points)).values())
        kernel = fit_kernel(points, values.float(), groups, drifts=drifts)
        chosen = np.random.default_rng(0).permutation(len(points))[:INDUCING]
        inducing = points[torch.from_numpy(np.sort(chosen))]
        process = cls(kernel, centre, scale, inducing, torch.zeros(len(inducing), dtype=torch.float64))
        return process._taught(points, values, groups)

    def _taught(self, points: Points, values: Tensor, groups: list[Tensor]) -> "GaussianProcess":
        """With weights for the values [N] of training rows, of which the groups are given."""
        inducing = self.inducing.double()
        covariance = self.kernel.shared(inducing, inducing)
        jitter = JITTER * covariance.diagonal().mean()
        lower = torch.linalg.cholesky(covariance + jitter * torch.eye(len(covariance), dtype=torch.float64))

        def evidence() -> Iterator[tuple[Tensor, Tensor, Tensor]]:
            # Made twice: to keep it for every group would take a matrix each.
            for rows in groups:
                yield points.company[rows].unique(), *self._evidence(points[rows], values[rows], lower)

        def weights(precision: Tensor, weighted: Tensor) -> Tensor:
            solved = torch.cholesky_solve(weighted[:, None], torch.linalg.cholesky(precision))
            return torch.linalg.solve_triangular(lower.T, solved, upper=True)[:, 0]

        precision, weighted = torch.eye(len(lower), dtype=torch.float64), torch.zeros(len(lower), dtype=torch.float64)
        for _, part, of_values in evidence():
            precision, weighted = precision + part, weighted + of_values
        without: dict[int, Tensor] = {}
        for companies, part, of_values in evidence():
            without |= dict.fromkeys(companies.tolist(), weights(precision - part, weighted - of_values))
        return replace(self, weights=weights(precision, weighted), without=without)

    def _evidence(self, points: Points, values: Tensor, lower: Tensor) -> tuple[Tensor, Tensor]:
        """What rows of one group say of the weights: [m, m] and [m]."""
        precision, weighted = 0.0, 0.0
        for rows in pieces(points):
            part, inducing = points[torch.from_numpy(rows)].double(), self.inducing.double()
            own = self.kernel.own(part, part) + self.kernel.noise.double() * torch.eye(len(rows))
            shared = torch.linalg.solve_triangular(lower, self.kernel.shared(inducing, part), upper=False).T  # [N, m]
            solved = torch.cholesky_solve(shared, torch.linalg.cholesky(own))
            precision = precision + shared.T @ solved
            weighted = weighted + solved.T @ values[torch.from_numpy(rows)]
        return precision, weighted

    def points(self, frame: pl.DataFrame, numbers: np.ndarray) -> Points:
        """Rows of a frame with their numbers [N, F + D]."""
        return Points.of(frame, numbers, self.inducing.shown.shape[1])

    def values(self, logs: np.ndarray) -> Tensor:
        """log1p likes in the units of `Expected`: [N] float64."""
        return torch.from_numpy((logs - self.centre) / self.scale)

    def logs(self, values: Tensor) -> np.ndarray:
        """The inverse of `values`, in float32."""
        return (values * self.scale + self.centre).float().numpy()

    def expect(self, known: Known | None, asked: Asked, *, new: bool = False) -> Expected:
        """What is expected of tweets.

        Args:
            known: labelled posts with `values` of `GaussianProcess.values`; None: there are none.
            asked: the tweets.
            new: forget what the group of the tweet's company taught the weights.
        """
        if known is None:
            known = Known(asked.points[:0], torch.zeros(0).double(), asked.times[:0], asked.times[:0] > 0)
        groups = groups_of(known.points)
        posts = rows_of(groups)
        shared = torch.zeros(len(asked.times), dtype=torch.float64)
        mean, variance = shared.clone(), torch.full_like(shared, float(self.kernel.own_variance))
        for home, other, rows in reached(groups, known.points, asked.points):
            weights = self.without.get(home, self.weights) if new else self.weights
            shared[rows] = self._shared(asked.points[rows], weights)
            seen = [posts[name].numpy() for name in sorted({home, other}) if name in posts]
            if seen:
                own = known[np.sort(np.concatenate(seen))]
                own = replace(own, values=own.values - self._shared(own.points, weights))
                for some, tweets in windows(own, asked[rows.numpy()]):
                    at = rows[torch.from_numpy(tweets)]
                    mean[at], variance[at] = conditioned(self.kernel, own[some], asked[at.numpy()])
        return Expected(shared + mean, shared, variance)

    def _shared(self, points: Points, weights: Tensor) -> Tensor:
        return self.kernel.shared(points.double(), self.inducing.double()) @ weights

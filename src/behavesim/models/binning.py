"""Bins of log1p(likes): the support of the predicted distribution."""

from dataclasses import asdict, dataclass

import numpy as np


@dataclass(frozen=True)
class LikesBins:
    """Equal bins on the log1p axis and what a bin stands for on the likes axis.

    `likes` holds the mean of the raw training likes in each bin rather than expm1 of the bin's centre: the mean of
    the distribution must be a mean of likes, and within a bin the mean lies above the exponential of the mean log.
    """

    edges: tuple[float, ...]  # [K + 1], log1p likes
    likes: tuple[float, ...]  # [K], likes
    log_likes: tuple[float, ...]  # [K], log1p likes

    @classmethod
    def fit(cls, likes: np.ndarray, count: int) -> "LikesBins":
        """Bins for training likes [N]; the first is centred on zero likes, the last lies above the largest."""
        logs = np.log1p(likes.astype(np.float64))
        top = logs.max() + 0.5  # room above the largest value seen
        width = top / (count - 1)
        edges = (np.arange(count + 1) - 0.5) * width
        centres = (edges[:-1] + edges[1:]) / 2
        index = np.clip(np.digitize(logs, edges) - 1, 0, count - 1)
        rows = np.bincount(index, minlength=count)
        filled = rows > 0
        means = np.expm1(centres)
        log_means = centres.copy()
        means[filled] = np.bincount(index, weights=likes, minlength=count)[filled] / rows[filled]
        log_means[filled] = np.bincount(index, weights=logs, minlength=count)[filled] / rows[filled]
        return cls(tuple(edges.tolist()), tuple(means.tolist()), tuple(log_means.tolist()))

    def to_dict(self) -> dict[str, list[float]]:
        """Plain lists, for JSON."""
        return {key: list(value) for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict[str, list[float]]) -> "LikesBins":
        """The inverse of `to_dict`."""
        return cls(**{key: tuple(value) for key, value in values.items()})

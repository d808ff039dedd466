"""Bins of deviations: the support of the predicted distribution."""

from dataclasses import asdict, dataclass

import numpy as np

ROOM = 0.5  # log1p likes beyond the farthest value seen


@dataclass(frozen=True)
class LikesBins:
    """Equal bins of log1p likes less the prior, and the range that likes keep to.

    Bins of likes themselves would tie what is learned to levels that training saw: an account that is far more popular
    than all of them has a prior beyond, and its deviations are like anybody's.
    """

    edges: tuple[float, ...]  # [K + 1], symmetric around 0
    limit: float  # largest log1p likes that an estimate counts with
    rows: int  # training rows that they were fitted on

    @classmethod
    def fit(cls, likes: np.ndarray, count: int) -> "LikesBins":
        """Bins for training likes [N]: as wide as the likes lie apart, since a prior may be as wrong as a constant."""
        logs = np.log1p(likes.astype(np.float64))
        half = float(np.abs(logs - logs.mean()).max()) + ROOM
        return cls(tuple(np.linspace(-half, half, count + 1).tolist()), float(logs.max()) + ROOM, len(likes))

    def to_dict(self) -> dict[str, float | list[float]]:
        """Plain values, for JSON."""
        return asdict(self) | {"edges": list(self.edges)}

    @classmethod
    def from_dict(cls, values: dict[str, float | list[float]]) -> "LikesBins":
        """The inverse of `to_dict`."""
        return cls(**{**values, "edges": tuple(values["edges"])})

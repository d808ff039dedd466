"""How alike two tweets are: a covariance of what they show, what they say, when and by whom they are posted."""

from dataclasses import dataclass, fields, replace
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

LEVELS = ("all", "company", "account")  # who shares something: everyone, one company, one account
ASPECTS = ("same", "time", "shown", "text")  # in what two tweets of a level are alike
# Where a fit starts, about what it finds on the published table; amplitudes and noise are shares of the variance.
AMPLITUDES = ((0.1, 0.01, 0.018, 0.002), (0.44, 0.001, 0.017, 0.011), (0.058, 0.0075, 0.063, 0.028))
MEMORIES = (25.0, 10.0, 2.7)  # years in which what a level shares is forgotten
REACHES = (8.0, 3.6, 7.5)  # distance of what is shown at which likeness ends
TEXT_REACH = 1.0
NEVER = 1e-12  # an amplitude that no likelihood moves
NOISE = 0.07
YEAR = 365.25 * 86_400_000_000  # microseconds
EPOCH = 1.45e15  # microseconds since 1970 near which times are counted, so that float32 tells minutes


@dataclass(frozen=True)
class Points:
    """N tweets as the kernel sees them."""

    shown: Tensor  # [N, F], standardised
    text: Tensor  # [N, D], of about unit length
    time: Tensor  # [N], years
    company: Tensor  # [N] int64, equal for equal names
    account: Tensor  # [N] int64

    @classmethod
    def of(cls, frame: pl.DataFrame, numbers: np.ndarray, shown: int) -> "Points":
        """Rows of `frame` with their numbers [N, F + D], of which the first `shown` are F."""
        told = torch.from_numpy(np.array(numbers, dtype=np.float32))
        years = (frame["date"].dt.epoch("us").to_numpy() - EPOCH) / YEAR
        text = told[:, shown:] / max(1, told.shape[1] - shown) ** 0.5
        who = [torch.from_numpy(codes(frame[name])) for name in ("company", "username")]
        return cls(told[:, :shown], text, torch.from_numpy(years).float(), *who)

    def __len__(self) -> int:
        return len(self.time)

    def __getitem__(self, rows: Tensor) -> "Points":
        return Points(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def double(self) -> "Points":
        """In float64, where a covariance does not tell to the last bits of float32 how many others were computed."""
        return replace(self, shown=self.shown.double(), text=self.text.double(), time=self.time.double())


def codes(names: pl.Series) -> np.ndarray:
    """Numbers of names, [N] int64, equal where names are."""
    found = names.fill_null("")
    known = {name: blake2b(name.encode(), digest_size=8).digest() for name in found.unique()}
    numbers = {name: int.from_bytes(digest, "little", signed=True) for name, digest in known.items()}
    return np.array([numbers[name] for name in found], dtype=np.int64)


class _Likeness(NamedTuple):
    """Of N tweets with M others, each [N, M]."""

    years: Tensor  # between them
    shown: Tensor  # squared distance
    text: Tensor  # in (0, 1]


class Kernel(nn.Module):
    """Covariance of log1p likes, in shares of their variance: for each level a sum over aspects.

    An additive kernel (Duvenaud, Nickisch & Rasmussen 2011). What a level shares is a constant, a drift in time
    (Ornstein & Uhlenbeck 1930), and functions of what is shown and what is said that bend with distance. Columns of
    what is shown count by their learned relevance (MacKay 1992).

    Args:
        columns: of what is shown, F.
        drifts: whether anything drifts in time.
    """

    def __init__(self, columns: int, *, drifts: bool = True) -> None:
        super().__init__()
        amplitudes = [[same, time if drifts else NEVER, *others] for same, time, *others in AMPLITUDES]
        start = {
            "amplitudes": amplitudes,
            "memories": MEMORIES,
            "reaches": REACHES,
            "text_reach": [TEXT_REACH],
            "relevance": [1.0] * columns,
            "noise": [NOISE],
        }
        for name, values in start.items():
            self.register_parameter(f"log_{name}", nn.Parameter(torch.tensor(values).log()))

    @property
    def noise(self) -> Tensor:
        """Variance of a tweet around what its likes have to be: [1]."""
        return self.log_noise.exp()

    @property
    def own_variance(self) -> Tensor:
        """What is not known of a tweet whose company was never seen, beyond the noise: a scalar."""
        return self.log_amplitudes[1:].exp().sum()

    def shared(self, a: Points, b: Points) -> Tensor:
        """Covariance by what all tweets share: [N, M]."""
        return self._level(0, self._likeness(a, b))

    def own(self, a: Points, b: Points) -> Tensor:
        """Covariance by company and account: [N, M]."""
        likeness = self._likeness(a, b)
        company, account = (a.company[:, None] == b.company), (a.account[:, None] == b.account)
        return self._level(1, likeness) * company + self._level(2, likeness) * account

    def forward(self, a: Points, b: Points) -> Tensor:
        """Both: [N, M]."""
        return self.shared(a, b) + self.own(a, b)

    def _level(self, level: int, likeness: _Likeness) -> Tensor:
        same, time, shown, text = self.log_amplitudes[level].exp()
        fading = torch.exp(-likeness.years / self.log_memories[level].exp())
        near = torch.exp(-likeness.shown / (2 * self.log_reaches[level].exp() ** 2))
        return same + time * fading + shown * near + text * likeness.text

    def _likeness(self, a: Points, b: Points) -> _Likeness:
        relevance = self.log_relevance.exp()
        said = _squared_distance(a.text, b.text) / (2 * self.log_text_reach.exp() ** 2)
        return _Likeness(
            (a.time[:, None] - b.time).abs(),
            _squared_distance(a.shown * relevance, b.shown * relevance),
            torch.exp(-said),
        )


def _squared_distance(a: Tensor, b: Tensor) -> Tensor:
    """[N, F] and [M, F] → [N, M]."""
    return (a.square().sum(dim=1)[:, None] + b.square().sum(dim=1) - 2 * a @ b.T).clamp(min=0)

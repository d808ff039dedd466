"""What labelled posts of a company say of its other tweets, each looking back on those that it may know."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from behavesim.data.gp.kernel import Kernel, Points

# Posts of a company that are looked at together; of a larger one those that stand near an account in its list.
LARGEST = 1024
FOREVER = np.iinfo(np.int64).max  # a time after all
ROOM = 20_000_000  # numbers that are held at a time where posts are taken out again


@dataclass(frozen=True)
class Known:
    """P labelled posts.

    Those that stand may be known at any time `until` one, but at their own instant; the others only strictly later.
    """

    points: Points
    values: Tensor  # [P] float64, what is known of each beyond what all tweets share
    times: np.ndarray  # [P] int64
    standing: np.ndarray  # [P] bool
    until: np.ndarray  # [P] int64, the last time of tweets that may know a post

    def __getitem__(self, rows: np.ndarray) -> "Known":
        at = torch.from_numpy(rows)
        return Known(self.points[at], self.values[at], self.times[rows], self.standing[rows], self.until[rows])


@dataclass(frozen=True)
class Asked:
    """N tweets."""

    points: Points
    times: np.ndarray  # [N] int64

    def __getitem__(self, rows: np.ndarray) -> "Asked":
        return Asked(self.points[torch.from_numpy(rows)], self.times[rows])


def conditioned(kernel: Kernel, known: Known, asked: Asked) -> tuple[Tensor, Tensor]:
    """Mean and variance of tweets of one company given its posts: [N] each, float64.

    The Cholesky factor of posts in the order of time holds the prediction of each from all before it, so that one
    factorisation serves tweets of every instant. What a tweet may not know although it stands is taken out again.
    """
    order = np.lexsort((known.times, ~known.standing))
    known = known[order]
    posts, tweets = known.points.double(), asked.points.double()
    identity = torch.eye(len(order), dtype=torch.float64)
    covariance = kernel.own(posts, posts) + kernel.noise.double() * identity
    inverse = torch.linalg.solve_triangular(torch.linalg.cholesky(covariance), identity, upper=False)
    standing = int(known.standing.sum())
    # Posts up to here are known to a tweet.
    ends = torch.from_numpy(standing + np.searchsorted(known.times[standing:], asked.times))
    seen = torch.arange(len(order))[:, None] < ends  # [P, N]
    white = inverse @ known.values  # [P]
    links = inverse @ kernel.own(posts, tweets) * seen  # [P, N]
    mean, variance = white @ links, kernel.own_variance.double() - links.square().sum(dim=0)
    first, last = (np.searchsorted(known.times[:standing], asked.times, side) for side in ("left", "right"))
    ties = last - first
    rows = np.argsort(ties, kind="stable")[(ties == 0).sum() :]
    for some in np.array_split(rows, 1 + len(order) * len(rows) * ties.max(initial=0) // ROOM):
        if len(some):
            at = torch.from_numpy(some)
            off, wider = _without(inverse, white, seen[:, at], links[:, at], first[some], last[some])
            mean[at], variance[at] = mean[at] - off, variance[at] + wider
    return mean, variance.clamp(min=0)


def ages(known: Known, asked: Asked) -> list[tuple[np.ndarray, np.ndarray]]:
    """Places of tweets, parted so that no post is known to some of a part alone because of `until`; and its posts."""
    age = np.searchsorted(np.unique(known.until), asked.times)
    parts = [np.flatnonzero(age == number) for number in np.unique(age)]
    return [(np.flatnonzero(known.until >= asked.times[tweets].max()), tweets) for tweets in parts]


def _without(
    inverse: Tensor, white: Tensor, seen: Tensor, links: Tensor, first: np.ndarray, last: np.ndarray
) -> tuple[Tensor, Tensor]:
    """What posts from `first` up to `last` gave to the mean, and how much less is known without them: [N] each."""
    places = torch.from_numpy(first[:, None] + np.arange((last - first).max()))  # [N, E]
    valid = places < torch.from_numpy(last)[:, None]
    columns = inverse[:, places.clamp(max=len(inverse) - 1)] * (seen[:, :, None] & valid)  # [P, N, E]
    gram = torch.einsum("pne,pnf->nef", columns, columns) + torch.diag_embed((~valid).double())
    weights = torch.einsum("pne,p->ne", columns, white)
    shares = torch.einsum("pne,pn->ne", columns, links)
    solved = torch.linalg.solve(gram, shares)
    return (solved * weights).sum(dim=1), (solved * shares).sum(dim=1)


def blocks(known: Known | Asked, asked: Asked) -> list[tuple[np.ndarray, np.ndarray]]:
    """Places of posts of one company and of the tweets that look at them, in blocks of at most `LARGEST` posts."""
    if len(known.times) <= LARGEST:
        return [(np.arange(len(known.times)), np.arange(len(asked.times)))]
    accounts, moments = np.unique(known.points.account.numpy()), np.unique(known.times)

    def key(points: Points, times: np.ndarray) -> np.ndarray:
        """Sorts by account and then by time."""
        return np.searchsorted(accounts, points.account.numpy()) * (len(moments) + 1) + np.searchsorted(moments, times)

    keys, own = key(known.points, known.times), np.searchsorted(accounts, known.points.account.numpy())
    order = np.argsort(keys, kind="stable")
    # A tweet stands with the post before it, or with the first of its account.
    before = np.searchsorted(keys[order], key(asked.points, asked.times)) - 1
    first = np.searchsorted(own[order], np.searchsorted(accounts, asked.points.account.numpy()))
    at = np.maximum(before, first).clip(max=len(order) - 1) // LARGEST
    posts = np.split(order, range(LARGEST, len(order), LARGEST))
    return [(np.sort(some), np.flatnonzero(at == number)) for number, some in enumerate(posts)]

"""What labelled posts of a group say of its other tweets, each looking back on those that it may know."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from behavesim.data.gp.groups import looked_up
from behavesim.data.gp.kernel import Kernel, Points

# Posts of a group that are looked at together; of a larger one those that stand near a tweet in its list.
LARGEST = 1024
ROOM = 20_000_000  # numbers that are held at a time where posts are taken out again


@dataclass(frozen=True)
class Known:
    """P labelled posts.

    Those that stand may be known at any time but their own instant, the others only strictly later.
    """

    points: Points
    values: Tensor  # [P] float64, what is known of each beyond what all tweets share
    times: np.ndarray  # [P] int64
    standing: np.ndarray  # [P] bool

    def __getitem__(self, rows: np.ndarray) -> "Known":
        at = torch.from_numpy(rows)
        return Known(self.points[at], self.values[at], self.times[rows], self.standing[rows])


@dataclass(frozen=True)
class Asked:
    """N tweets."""

    points: Points
    times: np.ndarray  # [N] int64

    def __getitem__(self, rows: np.ndarray) -> "Asked":
        return Asked(self.points[torch.from_numpy(rows)], self.times[rows])


def conditioned(kernel: Kernel, known: Known, asked: Asked) -> tuple[Tensor, Tensor]:
    """Mean and variance of tweets of one group given its posts: [N] each, float64.

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


def windows(known: Known, asked: Asked) -> list[tuple[np.ndarray, np.ndarray]]:
    """Places of posts of one group and of the tweets that look at them, in windows of at most `LARGEST` posts.

    Windows that follow each other have half of their posts in common. So a tweet always looks at half a window of posts
    that stand before it, or at all where there are fewer; with windows side by side it would see one behind a border.
    """
    if len(known.times) <= LARGEST:
        return [(np.arange(len(known.times)), np.arange(len(asked.times)))]
    stride = LARGEST // 2
    order, before = _listed(known, asked)
    last = math.ceil((len(order) - LARGEST) / stride)
    at = (before // stride - 1).clip(0, last)
    return [
        (np.sort(order[number * stride :][:LARGEST]), np.flatnonzero(at == number)) for number in np.unique(at).tolist()
    ]


def pieces(points: Points) -> list[np.ndarray]:
    """Places of tweets of one group in pieces of about one size, at most `LARGEST`, each place in one of them."""
    order = np.lexsort((points.time.numpy(), points.account.numpy(), _homes(points, points)))
    return [np.sort(piece) for piece in np.array_split(order, math.ceil(len(order) / LARGEST))]


def _listed(known: Known, asked: Asked) -> tuple[np.ndarray, np.ndarray]:
    """Places of posts by account and time, [P]; and how many of them stand before each tweet, [N]."""
    posts = np.repeat([True, False], [len(known.times), len(asked.times)])
    pairs = (known.points, known.points), (known.points, asked.points)
    home = np.concatenate([_homes(*pair) for pair in pairs])
    account = np.concatenate([points.account.numpy() for _, points in pairs])
    # Posts of its own instant stand behind a tweet.
    order = np.lexsort((posts, np.concatenate([known.times, asked.times]), account, home))
    before = np.empty_like(order)
    before[order] = np.cumsum(posts[order])
    return order[posts[order]], before[~posts]


def _homes(known: Points, asked: Points) -> np.ndarray:
    """The company of most posts of each tweet's account, else its own: [N]; accounts of one stand together."""
    pairs, counts = np.unique(np.stack([known.account.numpy(), known.company.numpy()]), axis=1, return_counts=True)
    accounts, companies = pairs[:, np.argsort(counts, kind="stable")]
    return looked_up(accounts, companies, asked.account.numpy(), asked.company.numpy())

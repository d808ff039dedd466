"""Groups of tweets that say something of each other: those of a company, those of an account, and what these link."""

import numpy as np
import torch
from torch import Tensor

from behavesim.data.gp.kernel import Points


def groups_of(points: Points) -> np.ndarray:
    """The group of each tweet, named by the smallest code of its companies: [N] int64.

    Tweets of one company are of one group, and tweets of one account too, whatever company is said to be theirs: that
    is inferred, and one may be spelled in two ways. So no tweet is alike in who posts to one of another group.
    """
    companies, company = np.unique(points.company.numpy(), return_inverse=True)
    accounts, account = np.unique(points.account.numpy(), return_inverse=True)
    found, before = np.arange(len(companies)), None
    while not np.array_equal(found, before):
        before, least = found, np.full(len(accounts), len(companies))
        np.minimum.at(least, account, before[company])
        found = before.copy()
        np.minimum.at(found, company, least[account])
        found = found[found]  # long chains take few rounds
    return companies[found[company]]


def rows_of(names: np.ndarray) -> dict[int, Tensor]:
    """Rows of each of the names [N], ascending, in the order in which names come."""
    found, first, inverse = np.unique(names, return_index=True, return_inverse=True)
    order = np.argsort(inverse, kind="stable")
    ends = np.cumsum(np.bincount(inverse, minlength=len(found)))[:-1]
    rows = np.split(order, ends) if len(found) else []
    return {int(found[at]): torch.from_numpy(rows[at]) for at in np.argsort(first)}


def reached(groups: np.ndarray, known: Points, asked: Points) -> list[tuple[int, int, Tensor]]:
    """Tweets parted by the groups of known posts that they look at: name of the company's, of the account's, and rows.

    A company without posts has a group of its own, and an account without posts is of its company's. What a tweet looks
    at does not hang on other tweets: those have no likes, and link nothing.

    Args:
        groups: of known posts, [P], see `groups_of`.
        known: the posts.
        asked: N tweets.
    """
    own = asked.company.numpy()
    home = looked_up(known.company.numpy(), groups, own, own)
    other = looked_up(known.account.numpy(), groups, asked.account.numpy(), home)
    pairs, inverse = np.unique(np.stack([home, other]), axis=1, return_inverse=True)
    return [(*pairs[:, place].tolist(), rows) for place, rows in rows_of(inverse.ravel()).items()]


def looked_up(keys: np.ndarray, values: np.ndarray, asked: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
    """The value of each asked key, that of the last of equal keys; `otherwise` where there is none: [N]."""
    order = np.argsort(keys, kind="stable")
    found, there = otherwise.copy(), np.isin(asked, keys)
    found[there] = values[order[np.searchsorted(keys[order], asked[there], side="right") - 1]]
    return found

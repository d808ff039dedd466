"""What is known of a tweet's account when it is posted: what to expect, how sure that is, and its latest posts."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
import torch

from behavesim.data.gp.conditioning import Asked, Known
from behavesim.data.gp.process import GaussianProcess
from behavesim.data.history import MEDIA_KINDS, History

# In standard deviations of log1p likes: what is expected of such a tweet by whomever, and what its account adds. Then
# the standard deviation of what is not known of the account, as a share of that of a stranger: from 0 to 1.
STATISTICS = ("anybody", "own", "doubt")
TRAINING_VIEWS = 4  # see `training_views`
TOKEN_NAMES = ("likes", "age", *(f"media_{kind}" for kind in MEDIA_KINDS))


@dataclass(frozen=True)
class Told:
    """Of N tweets."""

    prior: np.ndarray  # [N] float32, expected log1p likes
    statistics: np.ndarray  # [N, 3] float32, see `STATISTICS`


@dataclass(frozen=True, eq=False)
class View:
    """What a tweet may look back on.

    Where the history has newer likes of a remembered post, they take its place: they are known strictly later alone, as
    all of the history is, and the old ones are forgotten.

    Args:
        process: fitted on training rows.
        history: labelled posts, of which those strictly earlier than the tweet are known.
        memory: training posts, which weights remember: known at any time but the tweet's own instant.
        new: whether a tweet counts as one of a company that training never saw.
    """

    process: GaussianProcess
    history: History
    memory: History
    new: bool = False

    @cached_property
    def _posts(self) -> Known:
        newer = self.history.without(self.memory)
        replaced = pl.col("identity").is_in(newer.posts["identity"].implode())
        memory = History(self.memory.posts.filter(~replaced), self.memory.mirrored)
        frame = pl.concat([memory.posts, newer.posts])
        return Known(
            self.process.points(frame, np.concatenate([part.numbers for part in (memory, newer) if len(part)])),
            self.process.values(np.concatenate([memory.logs, newer.logs])),
            np.concatenate([memory.times, newer.times]),
            np.arange(frame.height) < len(memory),
        )

    def told(self, frame: pl.DataFrame, numbers: np.ndarray) -> Told:
        """Of rows of a frame with their numbers [N, W], see `TweetEncoder.numbers`."""
        asked = Asked(self.process.points(frame, numbers), self.history.time_of(frame))
        known = self._posts if len(self.history) or len(self.memory) else None
        found = self.process.expect(known, asked, new=self.new)
        doubt = (found.variance / self.process.kernel.own_variance).sqrt().clamp(max=1)
        columns = [found.shared, found.mean - found.shared, doubt]
        return Told(self.process.logs(found.mean), torch.stack(columns, dim=1).float().numpy())


@dataclass(frozen=True, eq=False)
class TrainingView:
    """A view of the training rows themselves, which it looks at all together, once."""

    view: View
    rows: History

    @property
    def history(self) -> History:
        """See `View`."""
        return self.view.history

    @cached_property
    def _told(self) -> tuple[np.ndarray, np.ndarray, Told]:
        identities = self.rows.posts["identity"].to_numpy()
        order = np.argsort(identities)
        return identities[order], order, self.view.told(self.rows.posts, self.rows.numbers)

    def told(self, frame: pl.DataFrame, _numbers: np.ndarray) -> Told:
        """See `View`; rows of `frame` are among `rows`."""
        identities, order, found = self._told
        at = order[np.searchsorted(identities, frame["identity"].to_numpy())]
        return Told(found.prior[at], found.statistics[at])


def training_views(process: GaussianProcess, rows: History) -> list[TrainingView]:
    """What training rows are told in turn: all others, earlier ones, later ones, nothing.

    Each counts as a row of a company that the weights never saw: what these know of it holds its own likes.
    """
    nothing = History.of([])
    seen = [(rows, rows), (rows, nothing), (rows.mirror(), nothing), (nothing, nothing)]
    return [TrainingView(View(process, history, memory, new=True), rows) for history, memory in seen]


def latest_posts(
    history: History, frame: pl.DataFrame, count: int, process: GaussianProcess, columns: slice
) -> tuple[np.ndarray, np.ndarray]:
    """The account's latest posts before each row of `frame`, the latest first.

    Args:
        history: labelled posts.
        frame: N tweets.
        count: K.
        process: whose units the likes have.
        columns: which of a post's numbers are told, T of them.

    Returns:
        [N, K, `TOKEN_NAMES` and T] float32, and where there is one [N, K].
    """
    places = history.earlier(frame, count).recent
    found = places >= 0
    if not found.any():
        return np.zeros((*places.shape, len(TOKEN_NAMES) + columns.stop - columns.start), np.float32), found
    likes = process.values(history.logs).numpy()[places]
    age = np.log1p(history.age(frame, places)) / np.log1p(365)
    kinds = np.eye(len(MEDIA_KINDS))[history.media[places]]
    tokens = np.concatenate([np.stack([likes, age], axis=2), kinds, history.numbers[:, columns][places]], axis=2)
    # Not by a product: the sign of its zeros would be that of some other post.
    return np.where(found[:, :, None], tokens, 0.0).astype(np.float32), found

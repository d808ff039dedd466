"""Task 2: what does the tweet say?"""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from behavesim.data.features import GROUPS
from behavesim.data.task import NOTHING, Prompt, Told, described
from behavesim.data.tweets import Tweet

SEPARATOR = "\n--\n"  # after an example
LEVELS = ("lowest", "low", "middle", "high", "highest")  # fifths of an account's own likes
FEWEST = 5  # posts that make an account's own levels; with fewer, those of all accounts count


@dataclass(frozen=True)
class ContentTask:
    """The tweet's text, from who posts it, when and with what media.

    Earlier tweets of the account may stand before, as a marketer would show them: what does not fit is cut from the
    oldest on. `told.level` is the level of likes that is aimed at. The other settings are those of `described`.
    """

    first: datetime | None = None
    last: datetime | None = None
    names: bool = True
    shows: tuple[str, ...] = GROUPS

    def prompt(self, tweet: Tweet, told: Told = NOTHING) -> Prompt:
        """See `Task`; `tweet.content` is never read."""
        said = described(tweet, self.first, self.last, names=self.names, shows=self.shows)
        said += [f"{told.level} likes"] if told.level else []
        return Prompt("", "".join(f"{text}{SEPARATOR}" for text in told.examples), f"{', '.join(said)}:\n")

    def target(self, tweet: Tweet, _likes: float) -> str:
        """See `Task`."""
        return tweet.content

    def parse(self, text: str) -> str:
        """The text, without anything that a model may add in the form of its prompt."""
        return text.split(SEPARATOR)[0].strip() or text.replace(SEPARATOR, " ").strip()


def levels(frame: pl.DataFrame, known: pl.DataFrame) -> list[str | None]:
    """Which of `LEVELS` the likes of each row are among the known ones of its account; None where it has no likes.

    Both frames have `username` and `likes`. Accounts with few known posts are seen among all posts.
    """
    own = known.group_by("username").agg(pl.col("likes").sort()).filter(pl.col("likes").list.len() >= FEWEST)
    of_account = {name: np.array(likes) for name, likes in own.iter_rows()}
    everyone = known["likes"].sort().to_numpy()
    rows = frame.select("username", pl.col("likes").cast(pl.Float64)).iter_rows()
    return [None if likes is None else _level(likes, of_account.get(name, everyone)) for name, likes in rows]


def _level(likes: float, among: np.ndarray) -> str:
    # The middle of its ties: of an account with equal likes throughout, every tweet is in the middle.
    place = (among.searchsorted(likes, "left") + among.searchsorted(likes, "right")) / 2 / max(1, len(among))
    return LEVELS[min(int(place * len(LEVELS)), len(LEVELS) - 1)]

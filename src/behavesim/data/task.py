"""Tasks: what a model is told of a tweet, what it must answer, and how its answer is read."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from behavesim.data.features import GROUPS
from behavesim.data.tweets import Tweet

WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
MEDIA_WORDS = {"none": "no media", "mixed": "media"}
# The published prompt, word for word: checkpoints of the reference know no other.
REFERENCE_BEFORE = "##Instruction: Below is the context about twitter posted by {username} belonging to {company}: "
REFERENCE_AFTER = (
    " You have to answer the question given to you accurately."
    " ##Question: How many likes must this tweet would have earned ? ##Answer:"
)
NUMBER = re.compile(r"\s*(\d+)")


@dataclass(frozen=True)
class Prompt:
    """A prompt in three parts, of which only `content` may be cut to fit a length."""

    before: str
    content: str
    after: str

    @property
    def text(self) -> str:
        """The whole prompt."""
        return self.before + self.content + self.after


@dataclass(frozen=True)
class BehaviourTask:
    """Task 1: how many likes will this tweet get?

    Args:
        style: `ours`, or `reference` for the published prompt, which knows neither date nor media.
        first, last: the training period, which `ours` needs. The year is held inside it, so that a later tweet's
            prompt holds no year that the model never saw; hour, weekday and month recur and stay as they are.
        names: whether `ours` holds account and company. A small model learns the likes of names by heart and is lost
            where it meets new ones; a pretrained one may know them.
        shows: whether `ours` holds date and media, see `data/features.py`.
    """

    style: Literal["ours", "reference"] = "ours"
    first: datetime | None = None
    last: datetime | None = None
    names: bool = False
    shows: tuple[str, ...] = GROUPS

    def prompt(self, tweet: Tweet) -> Prompt:
        """What the model reads."""
        if self.style == "reference":
            before = REFERENCE_BEFORE.format(username=tweet.username, company=tweet.company)
            return Prompt(before, tweet.content, REFERENCE_AFTER)
        told = [f"{tweet.username} of {tweet.company}"] if self.names else []
        told += [self._when(tweet.date)] if "time" in self.shows else []
        told += [_media(tweet)] if "media" in self.shows else []
        return Prompt(f"{', '.join(told)}:\n" if told else "", tweet.content, "\nlikes:")

    def _when(self, date: datetime) -> str:
        year = min(max(date.year, self.first.year), self.last.year)
        return f"{WEEKDAYS[date.weekday()]} {date.hour}h {MONTHS[date.month - 1]} {year}"

    def target(self, likes: float) -> str:
        """What the model should write after the prompt."""
        return f" {likes:.0f}"

    def parse(self, text: str) -> float | None:
        """The likes that an answer begins with; None where it begins with no number."""
        match = NUMBER.match(text)
        return float(match[1]) if match else None


def _media(tweet: Tweet) -> str:
    media = MEDIA_WORDS.get(tweet.media_kind, tweet.media_kind)
    return f"{tweet.media_count} {media}" if tweet.media_count else media

"""Tasks: what a model is told of a tweet, what it must answer, and how its answer is read."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

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
class Told:
    """What a prompt may hold beside the tweet itself."""

    examples: tuple[str, ...] = ()  # earlier tweets of the account, the latest first
    level: str | None = None  # of likes that are aimed at


NOTHING = Told()


class Task(Protocol):
    """A question on a tweet, and its answer."""

    def prompt(self, tweet: Tweet, told: Told = NOTHING) -> Prompt:
        """What the model reads; nothing of the answer is in it."""

    def target(self, tweet: Tweet, likes: float) -> str:
        """What the model should write after the prompt; empty where that is not known."""

    def parse(self, text: str) -> float | str | None:
        """What an answer says."""


def described(
    tweet: Tweet, first: datetime | None, last: datetime | None, *, names: bool, shows: tuple[str, ...]
) -> list[str]:
    """A tweet without its text in words: who, when and with what media.

    Args:
        tweet: of which `content` is never read.
        first, last: the training period. The year is held inside it, so that a later tweet's prompt holds no year that
            the model never saw; hour, weekday and month recur and stay as they are.
        names: whether account and company are told.
        shows: whether date and media are, see `data/features.py`.
    """
    told = [f"{tweet.username} of {tweet.company}"] if names else []
    told += [_when(tweet.date, first, last)] if "time" in shows else []
    return told + ([_media(tweet)] if "media" in shows else [])


def _when(date: datetime, first: datetime, last: datetime) -> str:
    year = min(max(date.year, first.year), last.year)
    return f"{WEEKDAYS[date.weekday()]} {date.hour}h {MONTHS[date.month - 1]} {year}"


def _media(tweet: Tweet) -> str:
    media = MEDIA_WORDS.get(tweet.media_kind, tweet.media_kind)
    return f"{tweet.media_count} {media}" if tweet.media_count else media


@dataclass(frozen=True)
class BehaviourTask:
    """Task 1: how many likes will this tweet get?

    Args:
        style: `ours`, or `reference` for the published prompt, which knows neither date nor media.
        first, last, names, shows: what `ours` holds besides, see `described`. A small model learns the likes of names
            by heart and is lost where it meets new ones; a pretrained one may know them.
    """

    style: Literal["ours", "reference"] = "ours"
    first: datetime | None = None
    last: datetime | None = None
    names: bool = False
    shows: tuple[str, ...] = GROUPS

    def prompt(self, tweet: Tweet, _told: Told = NOTHING) -> Prompt:
        """See `Task`."""
        if self.style == "reference":
            before = REFERENCE_BEFORE.format(username=tweet.username, company=tweet.company)
            return Prompt(before, tweet.content, REFERENCE_AFTER)
        told = described(tweet, self.first, self.last, names=self.names, shows=self.shows)
        return Prompt(f"{', '.join(told)}:\n" if told else "", tweet.content, "\nlikes:")

    def target(self, _tweet: Tweet, likes: float) -> str:
        """See `Task`."""
        return "" if likes != likes else f" {likes:.0f}"

    def parse(self, text: str) -> float | None:
        """The likes that an answer begins with; None where it begins with no number."""
        match = NUMBER.match(text)
        return float(match[1]) if match else None

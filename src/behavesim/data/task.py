"""Tasks: what a model is told of a tweet and what it must answer."""

from dataclasses import dataclass
from datetime import datetime

from behavesim.data.tweets import Tweet

WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
MEDIA_WORDS = {"none": "no media", "mixed": "media"}


@dataclass(frozen=True)
class Prompt:
    """A prompt in three parts, of which only `content` may be cut to fit a length."""

    before: str
    content: str
    after: str


@dataclass(frozen=True)
class BehaviourTask:
    """Task 1: how many likes will this tweet get?

    Args:
        first, last: the training period. The year is held inside it, so that a later tweet's prompt holds no year
            that the model never saw; hour, weekday and month recur and stay as they are.
    """

    first: datetime
    last: datetime

    def prompt(self, tweet: Tweet) -> Prompt:
        """The one template."""
        year = min(max(tweet.date.year, self.first.year), self.last.year)
        when = f"{WEEKDAYS[tweet.date.weekday()]} {tweet.date.hour}h {MONTHS[tweet.date.month - 1]} {year}"
        media = MEDIA_WORDS.get(tweet.media_kind, tweet.media_kind)
        media = f"{tweet.media_count} {media}" if tweet.media_count else media
        return Prompt(f"{tweet.username} of {tweet.company}, {when}, {media}:\n", tweet.content, "\nlikes:")

"""Which of several texts is nearest to others."""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

WORD = re.compile(r"<\w+>|\w+")  # markers as they are


def by_agreement(texts: Sequence[str], references: Sequence[str]) -> list[str]:
    """The texts, the one first that is nearest to all references, or to one another where there are none.

    Where references stand for what might have been posted, the nearest is the text of least expected distance to that:
    minimum Bayes risk (Kumar & Byrne 2004; Eikema & Aziz 2020). Among equals the first counts.
    """
    own = [_parts(text) for text in texts]
    others = [_parts(text) for text in references] or own
    scores = [sum(_overlap(one, other) for other in others) for one in own]
    return [texts[place] for place in sorted(range(len(texts)), key=lambda place: -scores[place])]


def _parts(text: str) -> Counter:
    """How often each word occurs, and each pair of neighbours, in lower case."""
    words = WORD.findall(text.lower())
    return Counter(words) + Counter(pairwise(words))


def _overlap(one: Counter, other: Counter) -> float:
    """F-score of what both have: between 0 and 1."""
    return 2 * (one & other).total() / max(1, one.total() + other.total())

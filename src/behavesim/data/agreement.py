"""Which of several texts is nearest to others."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

WORD = re.compile(r"<\w+>|\w+")  # markers as they are
SPREAD = 12  # words by which lengths may differ before it counts for much


def by_agreement(texts: Sequence[str], references: Sequence[str]) -> list[str]:
    """The texts, the one first that is nearest to all references, or to one another where there are none.

    Where references stand for what might have been posted, the nearest is the text of least expected distance to that:
    minimum Bayes risk (Kumar & Byrne 2004; Eikema & Aziz 2020). Near is the F-score of common words and pairs of
    neighbours, less where lengths differ, as in CIDEr-D (Vedantam et al. 2015). Among equals the first counts.
    """
    own = [_words(text) for text in texts]
    others = [_words(text) for text in references] or own
    scores = [sum(_nearness(one, other) for other in others) for one in own]
    return [texts[place] for place in sorted(range(len(texts)), key=lambda place: -scores[place])]


def _words(text: str) -> list[str]:
    return WORD.findall(text.lower())


def _nearness(one: Sequence[str], other: Sequence[str]) -> float:
    """Between 0 and 1."""
    parts = [Counter(words) + Counter(pairwise(words)) for words in (one, other)]
    common = 2 * (parts[0] & parts[1]).total() / max(1, parts[0].total() + parts[1].total())
    return common * math.exp(-((len(one) - len(other)) ** 2) / (2 * SPREAD**2))

"""Which of several texts has most in common with others."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

WORD = re.compile(r"<\w+>|\w+")  # markers as they are
SPREAD = 12  # words by which lengths may differ before it counts for much


def by_agreement(texts: Sequence[str], references: Sequence[str]) -> list[int]:
    """Places of the texts, first of the one nearest to the references, or to one another where there are none.

    Where references stand for what might have been posted, the nearest is the text of least expected distance to that:
    minimum Bayes risk (Kumar & Byrne 2004; Eikema & Aziz 2020). Of several references the one that a text is nearest to
    does not count for it: it may be what was copied, or the text itself. Near is the F-score of common words and pairs
    of neighbours, less where lengths differ, as in CIDEr-D (Vedantam et al. 2015). Among equals the first counts.
    """
    own = [_Words.of(text) for text in texts]
    others = [_Words.of(text) for text in references] or own
    scores = []
    for one in own:
        found = sorted(one.nearness(other) for other in others)
        scores.append(sum(found[:-1] or found))
    return sorted(range(len(texts)), key=lambda place: -scores[place])


@dataclass(frozen=True)
class _Words:
    """Words and pairs of neighbours, how often each occurs, and the numbers of both."""

    found: Counter
    total: int
    length: int

    @classmethod
    def of(cls, text: str) -> "_Words":
        words = WORD.findall(text.lower())
        return cls(Counter(words) + Counter(pairwise(words)), max(0, 2 * len(words) - 1), len(words))

    def nearness(self, other: "_Words") -> float:
        """Between 0 and 1."""
        fewer, more = sorted((self.found, other.found), key=len)
        common = sum(min(count, more[part]) for part, count in fewer.items() if part in more)
        score = 2 * common / max(1, self.total + other.total)
        return score * math.exp(-((self.length - other.length) ** 2) / (2 * SPREAD**2))

"""CIDEr-D: does a text share with its references what is rare among all references?"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

ORDERS = 4  # 1-grams up to 4-grams
SIGMA = 6.0  # tokens of difference in length that are forgiven

Tokens = Sequence[str]
Grams = Counter[tuple[str, ...]]


def cider_d(texts: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> np.ndarray:
    """Of each of N texts, 0 to 10: [N] float64; the corpus score is their mean.

    Vedantam, Zitnick & Parikh 2015 (arXiv:1411.5726), equations 1, 2 and 9, as the authors' program counts: the length
    of a text is its number of 2-grams, and n-grams that all texts share weigh nothing, so that a single text scores 0.

    Args:
        texts: tokens of each.
        references: of each text, at least one.
    """
    if len(texts) != len(references) or not all(references):
        raise ValueError(f"found {len(texts)} texts and {len(references)} references; each text needs some")
    found = [_grams(text) for text in texts]
    wanted = [[_grams(reference) for reference in of_text] for of_text in references]
    weights = _Weights(wanted)
    return np.array([weights.likeness(text, of_text) for text, of_text in zip(found, wanted, strict=True)])


def _grams(tokens: Tokens) -> list[Grams]:
    """How often each n-gram occurs, by order."""
    return [Counter(zip(*(tokens[start:] for start in range(order)), strict=False)) for order in range(1, ORDERS + 1)]


class _Weights:
    """How rare n-grams are among references."""

    def __init__(self, references: Iterable[Sequence[Sequence[Grams]]]) -> None:
        self.documents = Counter()
        count = 0
        for count, of_text in enumerate(references, 1):  # noqa: B007
            self.documents.update({gram for reference in of_text for grams in reference for gram in grams})
        self.whole = math.log(count) if count else 0.0

    def likeness(self, text: Sequence[Grams], references: Sequence[Sequence[Grams]]) -> float:
        """Of one text with its references, 0 to 10."""
        own = [self._vector(grams) for grams in text]
        total = 0.0
        for reference in references:
            longer = text[1].total() - reference[1].total()
            cosines = (_clipped_cosine(mine, self._vector(grams)) for mine, grams in zip(own, reference, strict=True))
            total += math.fsum(cosines) * math.exp(-(longer**2) / (2 * SIGMA**2))
        return 10 * total / (ORDERS * len(references))

    def _vector(self, grams: Grams) -> dict[tuple[str, ...], float]:
        """n-grams by frequency times rarity."""
        return {gram: times * (self.whole - math.log(max(1, self.documents[gram]))) for gram, times in grams.items()}


def _clipped_cosine(text: dict[tuple[str, ...], float], reference: dict[tuple[str, ...], float]) -> float:
    """Cosine in which a text gains nothing by more of an n-gram than the reference has."""
    lengths = math.sqrt(math.fsum(value**2 for value in text.values()))
    lengths *= math.sqrt(math.fsum(value**2 for value in reference.values()))
    shared = ((value, reference[gram]) for gram, value in text.items() if gram in reference)
    return math.fsum(min(mine, theirs) * theirs for mine, theirs in shared) / lengths if lengths else 0.0

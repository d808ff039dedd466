"""Written tweets, scored against the tweets that were posted."""

import math
import re
import sys
from collections.abc import Iterable, Sequence

from absl import logging as absl_logging
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU, CHRF

from behavesim.metrics.cider import cider_d

# Split in three pieces a marker would be a 3-gram that every text gets right.
MARKERS = ("<hyperlink>", "<mention>")
TOKENS = re.compile(rf"{'|'.join(MARKERS)}|\w+(?:['’]\w+)*|[^\w\s]")
ROUGES = ("rouge1", "rouge2", "rougeL")
# rouge-score brings a log handler, which closes what stood for stderr when it was imported as soon as logging is set up
# anew, as Hydra does. The process's own stderr it leaves alone.
absl_logging.get_absl_handler().python_handler.stream = sys.__stderr__


def text_metrics(texts: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """All metrics over N tweets, each with the one that was posted; between 0 and 1 but for `cider`, 0 to 10.

    Case never counts and a marker of `MARKERS` is one token, see `tokens`.

    - `bleu_1` … `bleu_4`: of the corpus, n-grams up to that order, with the penalty for short texts and exponential
      smoothing (Papineni et al. 2002; sacrebleu). Punctuation marks are tokens.
    - `rouge_1`, `rouge_2`, `rouge_l`: mean F-score of words, pairs of words, and the longest common subsequence
      (Lin 2004; rouge-score without stemming). Words and markers alone.
    - `cider`: mean CIDEr-D of words and markers, see `cider_d`; its rarities are those of these references.
    - `chrf`: of the corpus, 1- to 6-grams of characters (Popović 2015; sacrebleu). A marker is one character.
    - `distinct_texts`: share that differ from all before them; `empty_texts`: share without a word or a mark;
      `length_ratio`: tokens of all texts for each token of the references. `n` counts the rows.

    The order of the rows changes no digit. ValueError for no rows, or lengths that differ.
    """
    if len(texts) != len(references) or not len(texts):
        raise ValueError(f"found {len(texts)} texts and {len(references)} references; accepted: as many, at least one")
    marked, posted = [tokens(text) for text in texts], [tokens(text) for text in references]
    words, wanted = [_words(each) for each in marked], [[_words(each)] for each in posted]
    return {
        **_bleu(marked, posted),
        **_rouge(words, [of_text[0] for of_text in wanted]),
        "cider": _mean(cider_d(words, wanted)),
        "chrf": _chrf(texts, references),
        "distinct_texts": len(set(texts)) / len(texts),
        "empty_texts": _mean(not each for each in marked),
        "length_ratio": sum(map(len, marked)) / max(1, sum(map(len, posted))),
        "n": len(texts),
    }


def tokens(text: str) -> list[str]:
    """Lower-case words, punctuation marks one by one, and markers as they are."""
    return TOKENS.findall(text.lower())


def _words(tokens: Iterable[str]) -> list[str]:
    return [token for token in tokens if token in MARKERS or token[0].isalnum() or token[0] == "_"]


def _bleu(texts: Sequence[Sequence[str]], references: Sequence[Sequence[str]]) -> dict[str, float]:
    found, wanted = ([" ".join(each) for each in side] for side in (texts, references))
    scores = {}
    for order in range(1, 5):
        # Tokens are tokens already, whatever they look like.
        metric = BLEU(tokenize="none", max_ngram_order=order, force=True)
        scores[f"bleu_{order}"] = metric.corpus_score(found, [wanted]).score / 100
    return scores


class _Split:
    """Words that were joined by spaces, for rouge-score."""

    def tokenize(self, text: str) -> list[str]:
        return text.split(" ") if text else []


def _rouge(texts: Sequence[Sequence[str]], references: Sequence[Sequence[str]]) -> dict[str, float]:
    scorer = RougeScorer(ROUGES, tokenizer=_Split())
    scores = [
        scorer.score(target=" ".join(wanted), prediction=" ".join(found))
        for found, wanted in zip(texts, references, strict=True)
    ]
    return {f"rouge_{name[-1].lower()}": _mean(score[name].fmeasure for score in scores) for name in ROUGES}


def _chrf(texts: Sequence[str], references: Sequence[str]) -> float:
    found, wanted = ([_marks(text) for text in side] for side in (texts, references))
    return CHRF().corpus_score(found, [wanted]).score / 100


def _marks(text: str) -> str:
    """Lower case, each marker a character that no tweet holds."""
    text = text.lower()
    for place, marker in enumerate(MARKERS):
        text = text.replace(marker, chr(0xE000 + place))
    return text


def _mean(values: Iterable[float]) -> float:
    """In which no digit hangs on the order."""
    found = [float(value) for value in values]
    return math.fsum(found) / len(found)

"""A tweet as the columns of a tree: words, what it shows, and what its account and company did before."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from behavesim.data.accounts import NAMES, FoldStatistics
from behavesim.data.features import observed_columns
from behavesim.data.prepared import TweetRows
from behavesim.log import log

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import TfidfVectorizer

READ = ("date", "content", "media_kind", "media_count", "duration", "username", "company", "likes")
FEWEST_TWEETS = 5  # that hold a term; with fewer it says little and is likely to be chance
TERMS = 3000  # at most, the most frequent ones


@dataclass(frozen=True)
class TweetColumns:
    """Fitted on the training rows of a split."""

    first: datetime
    last: datetime
    terms: "TfidfVectorizer | None"  # None where no term is frequent enough
    statistics: FoldStatistics

    @classmethod
    def fit(cls, frame: pl.DataFrame, seed: int) -> "TweetColumns":
        """From training rows with the columns of `READ`; `seed` draws the folds of the account statistics."""
        statistics = FoldStatistics.fit([frame], frame.height, seed)
        return cls(frame["date"].min(), frame["date"].max(), _terms(frame["content"]), statistics)

    def training(self, frame: pl.DataFrame) -> "csr_matrix":
        """The rows that it was fitted on, account statistics from the other folds: [N, columns]."""
        return self._matrix(frame, self.statistics.out_of_fold(frame, 0))

    def held_out(self, frame: pl.DataFrame) -> "csr_matrix":
        """Any other rows, account statistics of all training rows: [N, columns]."""
        return self._matrix(frame, self.statistics.overall_statistics().lookup(frame))

    def _matrix(self, frame: pl.DataFrame, accounts: np.ndarray) -> "csr_matrix":
        from scipy.sparse import csr_matrix, hstack

        account, company = (accounts[:, NAMES.index(name)] for name in ("account_mean", "company_mean"))
        observed = frame.select(observed_columns(self.first, self.last)).to_numpy()
        dense = csr_matrix(np.column_stack([observed, accounts, account - company]))
        if self.terms is None:
            return dense
        return hstack([self.terms.transform(frame["content"]), dense], format="csr", dtype=np.float64)


def frame_of(rows: TweetRows) -> pl.DataFrame:
    """The columns of some labelled rows that are read here."""
    return rows.frame(*READ)


def _terms(texts: pl.Series) -> "TfidfVectorizer | None":
    from sklearn.feature_extraction.text import TfidfVectorizer

    terms = TfidfVectorizer(
        ngram_range=(1, 2), min_df=min(FEWEST_TWEETS, len(texts)), sublinear_tf=True, max_features=TERMS
    )
    try:
        return terms.fit(texts)
    except ValueError:  # scikit-learn's word for an empty vocabulary
        log.info("no word stands in %s training tweets: LightGBM reads no text", FEWEST_TWEETS)
        return None

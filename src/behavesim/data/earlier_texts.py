"""What accounts posted before the tweets that are written, as token ids."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from behavesim.data.history import History

NOTHING = -1  # behind a text


@dataclass(frozen=True)
class EarlierTexts:
    """Of each of N tweets the latest texts of its account that are strictly earlier.

    Args:
        ids: of each text, its end included.
        places: [N, E] int64, of texts in `ids`, the latest first; -1: there is none.
    """

    ids: Sequence[np.ndarray]
    places: np.ndarray

    @classmethod
    def of(cls, frame: pl.DataFrame, past: History, count: int, tokenizer: PreTrainedTokenizerBase) -> "EarlierTexts":
        """The latest `count` of the posts in `past` whose text is known, for each row of `frame`."""
        told = History(past.posts.filter(pl.col("content").is_not_null() & (pl.col("content") != "")))
        recent = told.earlier(frame, count).recent
        used, places = np.unique(recent, return_inverse=True)
        first = int(NOTHING in used)
        texts = told.posts["content"].gather(used[first:]).to_list()
        ids = tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []
        return cls([np.array([*row, tokenizer.eos_token_id]) for row in ids], places.reshape(recent.shape) - first)

    def rows(self, rows: Sequence[int]) -> Tensor:
        """Ids of some tweets' texts, [B, E, L] int64, `NOTHING` behind each text and where there is none."""
        places = self.places[rows]
        longest = max((len(self.ids[place]) for place in places.flat if place >= 0), default=0)
        found = torch.full((*places.shape, longest), NOTHING)
        for (row, number), place in np.ndenumerate(places):
            if place >= 0:
                found[row, number, : len(self.ids[place])] = torch.from_numpy(self.ids[place])
        return found

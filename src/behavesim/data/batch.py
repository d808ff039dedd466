"""A batch of tweets as tensors, padded to its own longest text."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from behavesim.data.earlier_texts import EarlierTexts
from behavesim.data.encoded import EncodedTweets
from behavesim.data.pictures.readers import PictureReader

VIEWED = ("statistics", "prior", "history", "history_valid")  # of which a batch holds several views
NUMBERS = ("features", *VIEWED)


@dataclass
class Batch:
    """B tweets."""

    rows: Tensor  # [B] int64, positions in the encoded table
    input_ids: Tensor  # [B, T] int64, padded on the right; labelled rows of a model that writes end in the answer
    attention_mask: Tensor  # [B, T] int64, 1 on tokens
    answer_length: Tensor  # [B] int64, tokens at a text's end that are the answer
    features: Tensor  # [B, F] float32
    # V views of what was known of the account; see `view`.
    statistics: Tensor  # [B, V, S] float32
    prior: Tensor  # [B, V] float32, log1p likes
    history: Tensor  # [B, V, K, T] float32
    history_valid: Tensor  # [B, V, K] bool
    likes: Tensor  # [B] float32, nan where unlabelled
    pixel_values: Tensor | None  # [N, 3, S, S] uint8 or stored states [N, I, width]; only pictures that exist
    image_slot: Tensor | None  # [N] int64, place in the batch × frames + frame
    earlier: Tensor | None = None  # [B, E, L] int64, see `EarlierTexts`; of rows to be written alone

    def inputs(self) -> dict[str, Tensor | None]:
        """Keyword arguments of `GitModel.hidden`, by the first view."""
        names = ("input_ids", "attention_mask", "features", "pixel_values", "image_slot")
        seen = {name: getattr(self, name)[:, 0] for name in ("statistics", "history", "history_valid")}
        return {name: getattr(self, name) for name in names} | seen

    def view(self, chosen: Tensor) -> "Batch":
        """The batch with one view of each row, by their numbers [B]."""
        rows = torch.arange(len(chosen), device=chosen.device)
        return replace(self, **{name: getattr(self, name)[rows, chosen][:, None] for name in VIEWED})


class TweetDataset(Dataset):
    """Encoded tweets by position, a whole batch at a time.

    Args:
        encoded: the table.
        pad_id: fills texts on the right.
        frames: pictures read of one tweet, the first ones; 0 reads none.
        reader: loads a picture.
        earlier: what the tweets' accounts posted before, where decoding looks at it.
    """

    def __init__(
        self,
        encoded: EncodedTweets,
        *,
        pad_id: int,
        frames: int,
        reader: PictureReader,
        earlier: EarlierTexts | None = None,
    ) -> None:
        self.encoded = encoded
        self.pad_id = pad_id
        self.frames = frames
        self.reader = reader
        self.earlier = earlier

    def __len__(self) -> int:
        return len(self.encoded)

    def __getitem__(self, row: int) -> Batch:
        return self.__getitems__([row])

    def __getitems__(self, rows: list[int]) -> Batch:
        """The batch of these rows, in this order; torch's loader calls it with a sampler's whole batch."""
        texts = [self.encoded.text(row) for row in rows]
        shape = (len(rows), max(len(text) for text in texts))
        input_ids = np.full(shape, self.pad_id, dtype=np.int64)
        attention_mask = np.zeros(shape, dtype=np.int64)
        for place, text in enumerate(texts):
            input_ids[place, : len(text)] = text
            attention_mask[place, : len(text)] = 1
        pixel_values, image_slot = self._pictures(rows)
        return Batch(
            rows=torch.tensor(rows),
            input_ids=torch.from_numpy(input_ids),
            attention_mask=torch.from_numpy(attention_mask),
            answer_length=torch.from_numpy(np.asarray(self.encoded.answer_length[rows])),
            **{name: torch.from_numpy(np.asarray(getattr(self.encoded, name)[rows])) for name in NUMBERS},
            likes=torch.from_numpy(self.encoded.likes[rows].astype(np.float32)),
            pixel_values=pixel_values,
            image_slot=image_slot,
            earlier=self.earlier and self.earlier.rows(rows),
        )

    def _pictures(self, rows: list[int]) -> tuple[Tensor | None, Tensor | None]:
        pictures, slots = [], []
        for place, row in enumerate(rows):
            for frame, index in enumerate(self.encoded.images(row)[: self.frames]):
                pictures.append(self.reader.load(int(index)))
                slots.append(place * self.frames + frame)
        if not pictures:
            return None, None
        return torch.from_numpy(np.stack(pictures)), torch.tensor(slots)

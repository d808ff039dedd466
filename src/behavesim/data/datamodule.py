"""The LightningDataModule: a prepared table of tweets, split, encoded and batched."""

import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import lightning
import numpy as np

from behavesim.data.earlier_texts import EarlierTexts
from behavesim.data.encode import TweetEncoder
from behavesim.data.encoded import EncodedTweets, encoded_once
from behavesim.data.encoder_fit import EncoderSettings, fit_encoder, writer_of
from behavesim.data.history import History, HistoryMode
from behavesim.data.kept import with_pictures, with_text
from behavesim.data.loader import LoaderSettings, TweetLoader, tweet_loader
from behavesim.data.pictures.readers import PictureReader
from behavesim.data.prepared import TweetRows, split_of
from behavesim.data.split import SplitSettings
from behavesim.data.view import TRAINING_VIEWS, TrainingView, View, training_views
from behavesim.processes.ranks import is_main

# Validation and test need no gradients: larger batches run faster.
EVALUATION_FACTOR = 8


class TweetDataModule(lightning.LightningDataModule):
    """Splits a prepared table and fits tokenizer and features on its training rows.

    Args:
        rows: labelled rows.
        reader: their pictures.
        settings: of the training batches.
        encoding: how tweets become token ids.
        split: how rows are parted.
        seed: order of the batches.
        folder: where encoded rows are written and mapped from, in a folder for each part.
        history: what held-out rows may look back on: nothing, training rows, or every labelled row.
        only_pictures: whether tweets without a picture are left out of every part.

    Raises:
        UserError: a part would be empty.
    """

    def __init__(
        self,
        rows: TweetRows,
        reader: PictureReader,
        settings: LoaderSettings,
        encoding: EncoderSettings,
        *,
        split: SplitSettings,
        seed: int,
        folder: Path,
        history: HistoryMode = "train",
        only_pictures: bool = False,
    ) -> None:
        super().__init__()
        self.reader = reader
        self.settings = settings
        self.encoding = encoding
        self.seed = seed
        self.folder = folder
        self.rows = rows
        self.history_mode = history
        self.split = split_of(rows, split)
        parts = {part: rows[positions] for part, positions in self.split.rows.items()}
        parts = with_pictures(parts, reader) if only_pictures else parts
        self.parts = parts if encoding.asks_likes else with_text(parts)
        self._earlier: dict[str, EarlierTexts] = {}  # by part

    @cached_property
    def encoder(self) -> TweetEncoder:
        """Fitted on the training rows alone."""
        file = self.folder / "process.safetensors"
        return fit_encoder(self.parts["train"], self.encoding, file, remembers=self.history_mode != "none")

    @cached_property
    def writer(self) -> TweetEncoder | None:
        """The encoder of requests to write tweets; None of a model that only predicts likes."""
        return writer_of(self.encoder, self.encoding.writer)

    @cached_property
    def texts(self) -> dict[str, TweetRows]:
        """The rows of each part that have a text."""
        return with_text(self.parts)

    @cached_property
    def history(self) -> History:
        """The posts that an artifact of this training carries: its training rows; none where it knows no history."""
        return self.encoder.posts([] if self.history_mode == "none" else self.parts["train"].chunks())

    def views(self, part: str) -> Sequence[View | TrainingView]:
        """What rows of a part may look back on."""
        return self._training_views if part == "train" else [self._held_out_view(part, self.history_mode)]

    def _held_out_view(self, part: str, mode: HistoryMode) -> View:
        if mode == "rolling":
            # Validation rows set the model: of test rows they know nothing.
            known = [self.rows] if part == "test" else [self.parts["train"], self.parts["validation"]]
            return self.encoder.view(self.encoder.posts(chunk for rows in known for chunk in rows.chunks()))
        if mode == "none" != self.history_mode:
            return View(self.encoder.process, History.of([]), History.of([]), new=True)
        return self.encoder.view(self.history)

    @cached_property
    def _training_views(self) -> Sequence[View | TrainingView]:
        if self.history_mode == "none":
            rows = self.encoder.posts(self.parts["train"].chunks())
            return training_views(self.encoder.process, rows)[-1:] * TRAINING_VIEWS
        return training_views(self.encoder.process, self.history)

    @cached_property
    def encoded(self) -> dict[str, EncodedTweets]:
        """Each part, encoded once for all epochs and mapped from files."""
        return {part: self._encoded_once(part, self._chunks(self.encoder, part)) for part in self.parts}

    def _chunks(self, encoder: TweetEncoder, part: str, mode: HistoryMode | None = None) -> Iterator[EncodedTweets]:
        """Rows of a part, encoded when they are asked for, that look back as held-out rows do in a mode."""
        views = self.views(part) if mode is None else [self._held_out_view(part, mode)]
        for chunk in self._rows(encoder, part).chunks():
            yield encoder.encode(chunk.with_columns(images=self.reader.lists(chunk)), views)

    def _rows(self, _encoder: TweetEncoder, part: str) -> TweetRows:
        """Which rows of a part an encoder is for."""
        return self.parts[part]

    def _encoded_once(self, name: str, chunks: Iterator[EncodedTweets]) -> EncodedTweets:
        # Pictures and likes may change under the same tweets, beyond the first chunk too.
        table = self.parts["train"].table.manifest
        told = [encoder and encoder.facts() for encoder in (self.encoder, self.writer)]
        facts = f"{self.digest} {told} {table.counts} {self.reader.facts}".encode()
        return encoded_once(chunks, self.folder / name, facts)

    def remove_encoded(self) -> None:
        """Delete the files of `encoded`, once nothing will be read from them or continued; the main process does."""
        if is_main():
            shutil.rmtree(self.folder, ignore_errors=True)

    @cached_property
    def digest(self) -> str:
        """Tells splits apart: equal for the same rows in each part, under the same tokenizer and mode of history."""
        digest = hashlib.blake2b(self.encoder.tokenizer.backend_tokenizer.to_str().encode(), digest_size=16)
        digest.update(self.history_mode.encode())
        for rows in self.parts.values():
            digest.update(rows.identities().tobytes() + b"|")
        return digest.hexdigest()

    @property
    def held_out(self) -> str:
        """Equal for the same validation and test rows, under whatever tokenizer and training rows."""
        digest = hashlib.blake2b(digest_size=16)
        for part in ("validation", "test"):
            digest.update(self.parts[part].identities().tobytes() + b"|")
        return digest.hexdigest()

    @property
    def batch_plan(self) -> str:
        """The settings that decide which rows form which batch of an epoch."""
        tokens, rows = self.settings.tokens_per_batch, self.settings.rows_per_batch
        return f"data.tokens_per_batch={tokens} data.rows_per_batch={rows or 'null'} seed={self.seed}"

    @property
    def train_likes(self) -> np.ndarray:
        """Likes of the training rows: [N]."""
        return self.parts["train"].frame("likes")["likes"].to_numpy()

    def train_dataloader(self) -> TweetLoader:
        """Batches of the trainer's current epoch, from the first that it has not done."""
        return tweet_loader(
            self.encoded["train"],
            self.encoder,
            self.reader,
            self.settings,
            shuffle=True,
            seed=self.seed,
            epoch=self._epoch,
            start=self._done,
            chosen=self._chosen,
            **self._place(),
        )

    _chosen: Callable[[int], np.ndarray] | None = None  # rows of an epoch; None: all

    def _place(self) -> dict[str, int]:
        """Among the processes that share each epoch's rows."""
        if self.trainer is None:
            return {}
        return {"world_size": self.trainer.world_size, "rank": self.trainer.global_rank}

    def _epoch(self) -> int:
        """The same each time where a few batches are to be learned by heart."""
        return 0 if self.trainer is None or self.trainer.overfit_batches else self.trainer.current_epoch

    def _done(self) -> int:
        return self.trainer.fit_loop.epoch_loop.batch_progress.current.ready if self.trainer else 0

    def val_dataloader(self) -> TweetLoader:
        """Validation rows, by length."""
        return self._held_out(self.encoded["validation"])

    @property
    def other_modes(self) -> list[HistoryMode]:
        """Ways in which the model may be told of accounts later on, beside that of its own validation."""
        modes: list[HistoryMode] = ["none", "train", "rolling"]
        return [] if self.history_mode == "none" else [mode for mode in modes if mode != self.history_mode]

    def validation_told(self, mode: HistoryMode) -> TweetLoader:
        """Validation rows as they would be told of their accounts in another mode."""
        chunks = self._chunks(self.encoder, "validation", mode)
        return self._held_out(self._encoded_once(f"validation_{mode}", chunks))

    def test_dataloader(self) -> TweetLoader:
        """Test rows, by length; those that are to be written with what decoding looks at."""
        return self.requests("test") if self.encoder.writes else self._held_out(self.encoded["test"])

    def requests(self, part: str) -> TweetLoader:
        """Validation or test rows as requests to write, with what decoding looks at, of a model that writes."""
        if part not in self._earlier and self.writer.looks_back:
            asked, past = self.texts[part].frame("username", "date"), self.views(part)[0].history
            self._earlier[part] = self.writer.earlier_texts(asked, past)
        return self._held_out(self.written[part], earlier=self._earlier.get(part))

    @property
    def written(self) -> dict[str, EncodedTweets]:
        """Requests of the held-out parts, with the texts that were posted."""
        return self.encoded

    def _held_out(self, encoded: EncodedTweets, earlier: EarlierTexts | None = None) -> TweetLoader:
        rows = self.settings.rows_per_batch
        settings = replace(
            self.settings,
            tokens_per_batch=self.settings.tokens_per_batch * EVALUATION_FACTOR,
            rows_per_batch=rows and rows * EVALUATION_FACTOR,
        )
        return tweet_loader(encoded, self.encoder, self.reader, settings, **self._place(), earlier=earlier)

"""What was computed in which time: counts of one process, and the figures of all of them."""

import resource
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from behavesim.data.batch import Batch
from behavesim.models.flops import Flops, picture_places
from behavesim.models.git import GitModel
from behavesim.models.text_head import TextHead

GIB = 2**30


class Totals(NamedTuple):
    """Counted so far; the difference of two is what lies between them."""

    seconds: float
    waited: float  # seconds between two steps
    rows: float
    pictures: float
    positions: float  # places of the language model, padding included
    places: float  # of them with a token of text, of a picture or of the numbers
    squares: float  # sum of the squared places of each row
    answers: float  # places whose next token a text head is trained on

    def since(self, earlier: "Totals") -> "Totals":
        """What came after `earlier`."""
        return Totals(*(now - then for now, then in zip(self, earlier, strict=True)))


class Meter:
    """Counts the batches of one process without making a GPU wait: `totals` does, nothing else.

    Args:
        model: whose places are counted.
        device: that it runs on.
        flops: operations of its steps; None: unknown.
        peak: operations a second that the device can do; None: unknown.
    """

    def __init__(self, model: GitModel, device: torch.device, flops: Flops | None, peak: float | None) -> None:
        self.device = device
        self.flops = flops
        self.peak = peak
        # Read now: strategies wrap a model's parts later on.
        self._prefix = int(model.metadata is not None)
        self._history = model.history is not None
        self._frames = model.frames
        self._picture_places = picture_places(model)
        self._supervised = model.head.answering.supervise if isinstance(model.head, TextHead) else None
        self._ended = time.perf_counter()  # when the latest step did
        self._excluded = self._ended  # what the clock is ahead of the time that counts
        self._paused: float | None = self._ended  # since when nothing counts
        self._waited = 0.0
        self._known = np.zeros(3)  # rows, pictures, positions: shapes
        self._counted = torch.zeros(3, dtype=torch.int64, device=device)  # places, squares, answers

    def step_starts(self) -> None:
        """The batch is there."""
        self.resume()
        self._waited += time.perf_counter() - self._ended

    def step_ends(self, batch: Batch) -> None:
        """Count the batch; see `idle`, too."""
        rows, text = batch.attention_mask.shape
        prefix = self._prefix
        lengths = batch.attention_mask.sum(dim=1) + prefix
        if self._history:
            prefix += batch.history_valid.shape[2]
            lengths += batch.history_valid[:, 0].sum(dim=1)
        pictures = 0 if batch.image_slot is None else len(batch.image_slot)
        if pictures:
            prefix += self._frames * self._picture_places
            row = batch.image_slot // self._frames
            lengths.index_add_(0, row, torch.full_like(row, self._picture_places))
        self._known += rows, pictures, rows * (prefix + text)
        self._counted += torch.stack([lengths.sum(), lengths.square().sum(), self._answers(batch)])
        self.idle()

    def idle(self) -> None:
        """From here to the next step is waiting."""
        self._ended = time.perf_counter()

    def pause(self) -> None:
        """From here on nothing counts: something else is done. What was begun is waited for."""
        if self._paused is None:
            self._synchronise()
            self._paused = time.perf_counter()

    def resume(self) -> None:
        """End a pause, if there is one; from here to the next step is waiting."""
        if self._paused is not None:
            self.idle()
            self._excluded += self._ended - self._paused
            self._paused = None

    def _answers(self, batch: Batch) -> Tensor:
        if self._supervised is None:
            return torch.zeros((), dtype=torch.int64, device=self.device)
        if self._supervised == "all":
            return batch.attention_mask.sum() - len(batch.attention_mask)
        return batch.answer_length.sum()

    def totals(self) -> Totals:
        """Up to now, or to the pause."""
        counted = self._counted.tolist()
        self._synchronise()
        now = time.perf_counter() if self._paused is None else self._paused
        return Totals(now - self._excluded, self._waited, *self._known, *counted)

    def _synchronise(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def forget_memory(self) -> None:
        """Let `peak_memory` be of what follows; where a kernel does not offer that, of the whole process."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        else:
            with suppress(OSError):
                Path("/proc/self/clear_refs").write_text("5")

    def peak_memory(self) -> float:
        """GiB at most: allocated on a GPU, resident of the process on a CPU."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) / GIB
        # Linux counts in KiB, macOS in bytes.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / GIB

    def share(self, part: Totals) -> Tensor:
        """What this process brings to `figures`: float64 [8], nan where operations or the peak are unknown."""
        nan = float("nan")
        done = nan if self.flops is None else self.flops.of(**_loads(part))
        possible = nan if self.peak is None else self.peak * part.seconds
        values = [part.seconds, part.waited, part.rows, part.positions, part.places, done, possible, self.peak_memory()]
        return torch.tensor(values, dtype=torch.float64)


def _loads(part: Totals) -> dict[str, float]:
    return {name: getattr(part, name) for name in ("rows", "pictures", "places", "squares", "answers")}


def figures(shares: Tensor) -> dict[str, float]:
    """Figures over all processes from the `share` of each, [processes, 8].

    Rates are sums over the processes a second of their mean time; memory is that of the largest; `mfu` is missing where
    operations or a peak are unknown.
    """
    seconds, waited, rows, positions, places, done, possible, _ = shares.sum(dim=0).tolist()
    mean = seconds / len(shares)
    found = {
        "samples_per_second": rows / mean,
        "tokens_per_second": places / mean,
        "padding_share": 1 - places / positions,
        "data_wait_share": waited / seconds,
        "peak_memory_gib": float(shares[:, -1].max()),
    }
    return found if np.isnan(done + possible) else found | {"mfu": done / possible}

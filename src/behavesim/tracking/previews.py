"""What a model that learns to write has written so far: a page an epoch."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.loggers import MLFlowLogger
from PIL import Image

from behavesim.data.batch import Batch
from behavesim.data.encode import TweetEncoder
from behavesim.data.tokenizer import decoded
from behavesim.models.text_head import answer_mask
from behavesim.pages import page, png_address

TEMPLATE = "previews.html.jinja"
FOLDER = "previews"  # in the run's folder and in MLflow


class Previews(lightning.Callback):
    """After each validation, some of its tweets: request, picture, what was posted and what the model writes.

    A page in the run's folder, and in MLflow where runs are tracked there. Models that only predict likes have none.

    Args:
        dirpath: the folder.
        count: tweets of a page, the same in every epoch.
    """

    def __init__(self, dirpath: str, count: int = 8) -> None:
        self.folder = Path(dirpath)
        self.count = count

    def on_validation_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Write and log the page; of several processes all write texts together, and the first one the page."""
        writing = getattr(module, "writing", None)
        if writing is None or trainer.sanity_checking or trainer.state.fn != "fit" or not self.count:
            return
        data: Any = trainer.datamodule
        batch = self._batch(data)
        on_device = module.transfer_batch_to_device(batch, module.device, 0)
        with torch.no_grad():
            ids = writing.texts(on_device).cpu().numpy()
        if not trainer.is_global_zero:
            return
        frames = module.model.frames if data.reader.states is None else 0
        rows = previews(batch, data.writer.read_texts(ids[:, 0]), data.writer, frames)
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"epoch={trainer.current_epoch}.html"
        content = page("behavesim.tracking", TEMPLATE, title=f"epoch {trainer.current_epoch}", rows=rows)
        path.write_text(content, encoding="utf-8")
        if isinstance(trainer.logger, MLFlowLogger):
            trainer.logger.experiment.log_artifact(trainer.logger.run_id, str(path), FOLDER)

    def _batch(self, data: Any) -> Batch:
        """Validation tweets that are evenly spread over the table."""
        dataset = data.requests("validation").dataset
        rows = np.linspace(0, len(dataset) - 1, min(self.count, len(dataset))).astype(int)
        return dataset.__getitems__(rows.tolist())


def previews(batch: Batch, written: Sequence[str], encoder: TweetEncoder, frames: int) -> list[dict[str, str | None]]:
    """A row for each of B tweets: `request`, `picture` (a data address, or None), `posted` and `written`.

    Args:
        batch: with the posted texts as answers.
        written: B texts.
        encoder: of requests.
        frames: pictures of a row; 0 where the batch holds what a tower saw in them.
    """
    answers = answer_mask(batch.attention_mask, batch.answer_length)
    requests = batch.attention_mask.bool() & ~answers
    pictures = _first_pictures(batch, frames) if frames else {}
    asked = [ids[request].tolist() for ids, request in zip(batch.input_ids, requests, strict=True)]
    posted = [ids[answer].tolist() for ids, answer in zip(batch.input_ids, answers, strict=True)]
    told = zip(decoded(encoder.tokenizer, asked), encoder.read_texts(posted), written, strict=True)
    return [
        {"request": request, "picture": pictures.get(place), "posted": text, "written": draft}
        for place, (request, text, draft) in enumerate(told)
    ]


def _first_pictures(batch: Batch, frames: int) -> dict[int, str]:
    """The first picture of each row that has one, as a data address."""
    if batch.pixel_values is None:
        return {}
    found: dict[int, str] = {}
    for pixels, slot in zip(batch.pixel_values, batch.image_slot.tolist(), strict=True):
        found.setdefault(slot // frames, _address(pixels.permute(1, 2, 0).numpy()))
    return found


def _address(pixels: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return png_address(file.getvalue())

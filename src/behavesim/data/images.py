"""Pictures from disk to pixels."""

from pathlib import Path

import numpy as np
from PIL import Image

from behavesim.errors import UserError


def load_picture(path: str | Path, size: int) -> np.ndarray:
    """Decode a picture and fit it to a square: uint8 [3, size, size].

    The shorter side is scaled to `size` and the middle is kept, as CLIP's own preprocessing does.

    Raises:
        UserError: the file is missing or no picture.
    """
    try:
        with Image.open(path) as file:
            # JPEG decoders can skip most of the work when a much smaller picture is wanted.
            file.draft("RGB", (size, size))
            picture = file.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: no readable picture ({error}); accepted: a picture that Pillow opens") from error
    scale = size / min(picture.size)
    width, height = (max(size, round(side * scale)) for side in picture.size)
    if picture.size != (width, height):
        picture = picture.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - size) // 2, (height - size) // 2
    return np.asarray(picture.crop((left, top, left + size, top + size))).transpose(2, 0, 1)

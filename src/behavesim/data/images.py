"""Pictures from disk to pixels."""

from pathlib import Path

import numpy as np
from PIL import Image

from behavesim.errors import UserError


def load_picture(path: str | Path, size: int) -> np.ndarray:
    """Decode a picture and fit it to a square: uint8 [3, size, size].

    The middle square is kept and scaled, which is CLIP's own preprocessing up to a fraction of a pixel.

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
    # Cropping before scaling: a very long thin picture would otherwise grow to an enormous one.
    side = min(picture.size)
    left, top = ((length - side) / 2 for length in picture.size)
    box = (left, top, left + side, top + side)
    return np.asarray(picture.resize((size, size), Image.Resampling.BICUBIC, box=box)).transpose(2, 0, 1)

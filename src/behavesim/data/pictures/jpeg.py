"""Bytes that claim to be a picture → small JPEG files of one kind.

Nothing but the bytes is trusted: not the name they had, not what a server said of them. Everything here may run in
several threads at once.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

# Only these of Pillow's readers run: others start programs (EPS), or take almost any bytes for a picture (TGA).
_FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF", "JPEG2000")
_LONGEST = 65_500  # pixels: libjpeg writes no longer side
_SIGNS = (
    (b"<!doctype html", "HTML"),
    (b"<html", "HTML"),
    (b"<?xml", "XML"),
    (b"<svg", "SVG"),
    (b"{", "JSON"),
    (b"[", "JSON"),
    (b"%pdf", "PDF"),
    (b"\x1f\x8b", "gzip"),
    (b"\x1aE\xdf\xa3".lower(), "a video"),
    (b"\xff\xd8\xff", "a broken JPEG"),
    (b"\x89png", "a broken PNG"),
    (b"gif8", "a broken GIF"),
)


class PictureFault(Exception):  # noqa: N818
    """Why bytes are no usable picture, in a few words."""


class TooManyPixels(PictureFault):
    """A picture that is larger than its user allows."""


def picture_type(content: bytes, *, max_pixels: int) -> str:
    """What the bytes are (`jpeg`, `png`, `webp`, ...), once they were decoded to the end.

    Raises:
        PictureFault: no picture, a damaged one, or one of more than `max_pixels`, which is not decoded.
    """
    with _opened(content, max_pixels) as picture:
        # JPEG decoders skip detail with a draft, yet read every byte: what was cut off still shows.
        picture.draft("RGB", (1, 1))
        picture.load()
        # Cameras write two views into one JPEG, which Pillow calls by another name.
        return {"MPO": "jpeg"}.get(picture.format, picture.format.lower())


def to_jpeg(content: bytes, *, size: int, quality: int = 90, max_pixels: int) -> bytes:
    """A picture as an RGB JPEG whose shorter side is at most `size` pixels.

    The whole picture is kept, upright and in its proportions; it is never enlarged. White shows through what is
    transparent; of an animation the first frame is taken. The result carries no metadata. A colour profile is dropped
    without being applied, as CLIP's own preprocessing does.

    Raises:
        PictureFault: as `picture_type`, or the picture has colours that cannot become RGB.
    """
    with _opened(content, max_pixels) as picture:
        target = _fitting(picture.size, size)
        # Twice the target leaves the filter below enough to average over.
        picture.draft("RGB", (2 * target[0], 2 * target[1]))
        picture.load()
        small = _eight_bit(picture)
        if small.size != target:
            small = small.resize(target, Image.Resampling.BICUBIC, reducing_gap=3.0)
        return _written(_over_white(_upright(small)), quality)


@contextmanager
def _opened(content: bytes, max_pixels: int) -> Iterator[Image.Image]:
    """The picture, its header read and its size found acceptable; whatever fails inside becomes a PictureFault."""
    try:
        with Image.open(BytesIO(content), formats=_FORMATS) as picture:
            width, height = picture.size
            if width * height > max_pixels:
                raise TooManyPixels(f"{width} x {height} is over {max_pixels / 1e6:g} megapixels")
            yield picture
    except PictureFault:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        # Pillow looks at the size itself before it hands the picture out.
        raise TooManyPixels(f"over {max_pixels / 1e6:g} megapixels") from error
    except UnidentifiedImageError as error:
        raise PictureFault(f"no picture (found {_found(content)})") from error
    except Exception as error:  # decoders fail with whatever the damaged bytes lead them to
        raise PictureFault(_damage(error, len(content))) from error


def _found(content: bytes) -> str:
    """What bytes that are no picture look like."""
    if not content:
        return "nothing"
    start = content[:256].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if content[4:8] == b"ftyp":
        return "a video"
    for sign, name in _SIGNS:
        if start.startswith(sign):
            return name
    return "text" if start.isascii() and start.replace(b"\n", b" ").decode("ascii").isprintable() else "unknown bytes"


def _damage(error: Exception, length: int) -> str:
    text = " ".join(str(error).split())
    if "truncated" in text.lower() or isinstance(error, EOFError):
        return f"cut off after {length:,} bytes"
    return f"a damaged picture ({text[:80] or type(error).__name__})"


def _fitting(full: tuple[int, int], size: int) -> tuple[int, int]:
    """Width and height with a shorter side of at most `size`, never larger than `full`."""
    scale = min(1.0, size / min(full), _LONGEST / max(full))
    return max(1, round(full[0] * scale)), max(1, round(full[1] * scale))


def _eight_bit(picture: Image.Image) -> Image.Image:
    """RGB, or RGBA where something is transparent."""
    if picture.mode.startswith("I") or picture.mode == "F":
        grey = Image.fromarray(_grey(np.asarray(picture)))
        grey.info = {key: value for key, value in picture.info.items() if key != "transparency"}
        return grey.convert("RGB")
    return picture.convert("RGBA" if picture.has_transparency_data else "RGB")


def _grey(values: np.ndarray) -> np.ndarray:
    """Grey values of any width as uint8; Pillow's own conversion would clip all of them at 255."""
    # Whole numbers are of 16 bits in every format in use, also where Pillow holds them in 32. Fractions end at 1 or,
    # by custom, at 255.
    fractions_end = 1 if values.max(initial=0) <= 1 else 255
    whole = fractions_end if values.dtype.kind == "f" else 65_535
    values = np.nan_to_num(values.astype(np.float32))
    return (values.clip(0, whole) * (255 / whole)).round().astype(np.uint8)


def _upright(picture: Image.Image) -> Image.Image:
    """The picture turned as its EXIF data say; unreadable data say nothing, as in browsers."""
    try:
        return ImageOps.exif_transpose(picture)
    except Exception:
        return picture


def _over_white(picture: Image.Image) -> Image.Image:
    if picture.mode != "RGBA":
        return picture
    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, picture).convert("RGB")


def _written(picture: Image.Image, quality: int) -> bytes:
    picture.info = {}  # the writer would copy a comment from here
    file = BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return file.getvalue()

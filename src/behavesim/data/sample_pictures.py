"""Small drawn pictures for the synthetic sample: one large subject, warm or cold, over clutter and noise.

Everything but the subject's kind and the palette is jitter: place, size, colours, clutter and pixel noise. A model has
to look at the picture to tell the kinds apart, and a very small one can.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

PICTURE_SIZE = 64  # pixels on each side
SCALE = 2  # shapes are drawn this much larger and averaged down: smooth edges
CANVAS = PICTURE_SIZE * SCALE
PIXEL_NOISE = 5.0  # standard deviation, of 255
COLOUR_JITTER = 8.0  # standard deviation, of 255

Colour = tuple[int, int, int]
Box = tuple[float, float, float, float]


class Palette(NamedTuple):
    """Colours of one mood: the background runs from `top` to `bottom`, the subject takes one of `inks`."""

    top: Colour
    bottom: Colour
    inks: tuple[Colour, ...]


PALETTES: dict[str, Palette] = {
    "warm": Palette((255, 226, 168), (246, 176, 122), ((196, 52, 40), (222, 96, 28), (168, 40, 84))),
    "cold": Palette((206, 228, 246), (124, 172, 214), ((30, 72, 152), (18, 112, 128), (74, 58, 160))),
}
PAPER: Colour = (250, 250, 246)
DARK: Colour = (44, 40, 48)


def _jittered(rng: np.random.Generator, colour: Colour, spread: float = COLOUR_JITTER) -> Colour:
    red, green, blue = np.clip(np.asarray(colour) + rng.normal(0.0, spread, 3), 0, 255).astype(int)
    return int(red), int(green), int(blue)


def _disc(x: float, y: float, radius: float) -> Box:
    return x - radius, y - radius, x + radius, y + radius


class Frame(NamedTuple):
    """Where a subject goes: its centre and half size in canvas pixels, and its main colour."""

    draw: ImageDraw.ImageDraw
    rng: np.random.Generator
    x: float
    y: float
    half: float
    ink: Colour


def _sun(frame: Frame) -> None:
    draw, rng, x, y, half, ink = frame
    rays, turn = int(rng.integers(8, 13)), rng.uniform(0.0, math.pi)
    for angle in turn + np.arange(rays) * 2 * math.pi / rays:
        towards = math.cos(angle), math.sin(angle)
        ends = [(x + towards[0] * reach * half, y + towards[1] * reach * half) for reach in (0.72, 1.15)]
        draw.line(ends, fill=ink, width=6)
    draw.ellipse(_disc(x, y, half * 0.58), fill=ink)


def _face(frame: Frame) -> None:
    draw, rng, x, y, half, ink = frame
    draw.ellipse(_disc(x, y, half), fill=_jittered(rng, (250, 214, 120)), outline=ink, width=7)
    for side in (-1, 1):
        draw.ellipse(_disc(x + side * half * 0.38, y - half * 0.25, half * 0.15), fill=DARK)
    smile = (x - half * 0.55, y - half * 0.4, x + half * 0.55, y + half * 0.6)
    draw.chord(smile, start=20, end=160, fill=DARK)


def _chart(frame: Frame) -> None:
    draw, rng, x, y, half, ink = frame
    bars = int(rng.integers(4, 6))
    left, bottom, step = x - half, y + half, 2 * half / bars
    for bar, height in enumerate(rng.uniform(0.35, 1.0, bars) * 2 * half):
        draw.rectangle((left + bar * step, bottom - height, left + (bar + 0.68) * step, bottom), fill=ink)
    draw.line([(left - 5, bottom - 2 * half), (left - 5, bottom), (x + half, bottom)], fill=DARK, width=5)


def _text(frame: Frame) -> None:
    draw, rng, x, y, half, ink = frame
    draw.rectangle((x - half, y - half * 1.1, x + half, y + half * 1.1), fill=PAPER)
    rows = int(rng.integers(5, 8))
    for row, length in enumerate(rng.uniform(0.6, 1.65, rows) * half):
        level = y - half * 0.85 + row * 1.75 * half / rows
        draw.line([(x - half * 0.82, level), (x - half * 0.82 + length, level)], fill=ink, width=5)


SUBJECTS: dict[str, Callable[[Frame], None]] = {
    "face": _face,
    "sun": _sun,
    "chart": _chart,
    "text": _text,
}


def _background(rng: np.random.Generator, palette: Palette) -> Image.Image:
    """Return a vertical gradient, [CANVAS, CANVAS, 3]."""
    top, bottom = (np.asarray(_jittered(rng, colour)) for colour in (palette.top, palette.bottom))
    share = np.linspace(0.0, 1.0, CANVAS)[:, None, None]
    column = (top * (1.0 - share) + bottom * share).astype(np.uint8)  # [CANVAS, 1, 3]
    return Image.fromarray(column).resize((CANVAS, CANVAS), Image.Resampling.NEAREST)


def _clutter(draw: ImageDraw.ImageDraw, rng: np.random.Generator) -> None:
    """Scatter small shapes of any colour: they say nothing, so a model has to learn to look past them."""
    for _ in range(int(rng.integers(1, 4))):
        x, y, size = rng.uniform(0, CANVAS), rng.uniform(0, CANVAS), rng.uniform(4, 11)
        colour = _jittered(rng, (150, 150, 150), spread=45.0)
        shape = draw.ellipse if rng.random() < 0.5 else draw.rectangle
        shape(_disc(x, y, size), fill=colour)


def draw_picture(rng: np.random.Generator, subject: str, palette: str) -> Image.Image:
    """Draw one scene of the given kind, [PICTURE_SIZE, PICTURE_SIZE] RGB; all randomness comes from `rng`."""
    colours = PALETTES[palette]
    canvas = _background(rng, colours)
    draw = ImageDraw.Draw(canvas)
    _clutter(draw, rng)
    x, y = CANVAS / 2 + rng.normal(0.0, 2.5, 2)
    ink = _jittered(rng, colours.inks[int(rng.integers(len(colours.inks)))])
    SUBJECTS[subject](Frame(draw, rng, float(x), float(y), float(rng.uniform(0.32, 0.36)) * CANVAS, ink))
    pixels = np.asarray(canvas.reduce(SCALE), dtype=np.float32)  # [PICTURE_SIZE, PICTURE_SIZE, 3]
    grain = PIXEL_NOISE * rng.standard_normal((PICTURE_SIZE, PICTURE_SIZE, 1), dtype=np.float32)
    return Image.fromarray((pixels + grain).clip(0, 255).astype(np.uint8))

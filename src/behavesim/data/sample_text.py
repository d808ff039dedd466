"""What a synthetic tweet says: its text, with the cue words that move the likes, and its media column.

No template or word list holds a cue's sign, so a text has exactly the cues that were drawn for it.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

HOST = "https://example.invalid"  # resolves nowhere, by standard (RFC 2606)
MAX_WORDS = 35
MAX_CUES = 3  # more would not fit

TOPICS = {
    "northwind": ("sailing jackets", "rain boots", "wool blankets", "travel bags"),
    "acme": ("anvils", "rocket skates", "giant magnets", "spring ladders"),
    "bluepeak": ("climbing ropes", "tents", "trail maps", "head torches"),
    "cedarline": ("oak tables", "bookshelves", "garden benches", "cabin kits"),
    "fernhill": ("herbal teas", "seed boxes", "jam jars", "fruit crates"),
    "glasshouse": ("tomato plants", "orchids", "grow lamps", "watering cans"),
    "harbourlight": ("lanterns", "reading lamps", "string lights", "candle kits"),
    "ironleaf": ("bicycles", "cargo trailers", "bike helmets", "repair kits"),
    "juniperbay": ("beach towels", "surf boards", "picnic sets", "sun hats"),
    "lakestone": ("kettles", "mixing bowls", "bread ovens", "coffee grinders"),
    "moonridge": ("telescopes", "star charts", "night cameras", "planet globes"),
    "quillworks": ("notebooks", "fountain pens", "ink bottles", "paper kits"),
}
# fmt: off
WORDS: dict[str, tuple[str, ...]] = {
    "adjective": (
        "new", "sturdy", "bright", "quiet", "handmade", "simple", "lighter", "recycled", "colourful", "clever", "tiny",
        "bold", "soft",
    ),
    "place": (
        "the harbour", "the old mill", "the valley", "our lab", "the city market", "the south pier",
        "the test kitchen", "the garden", "the station", "the studio", "the hill road", "the north hall", "the library",
        "the island", "the café", "the museum",
    ),
    "people": (
        "our designers", "early customers", "local makers", "families", "students", "apprentices", "neighbours",
        "travellers", "teachers", "volunteers", "weekend guests", "long-time fans", "beginners", "night workers",
    ),
    "when": (
        "today", "this morning", "this week", "on Sunday", "last night", "before lunch", "all month",
        "after the storm", "this season", "at sunrise", "over the weekend",
    ),
    "number": (
        "3", "5", "7", "8", "10", "12", "15", "20", "24", "30", "36", "40", "50", "64", "75", "90", "100", "120",
        "150", "200", "365", "400", "500", "800", "1000",
    ),
    "stop": (".", ".", "!"),
}
# fmt: on
BODIES = (
    "our {adjective} {thing} reach shops in {place} {when} and {people} try them first{stop}",
    "{people} in {place} spent {number} hours testing our {adjective} {thing} {when}{stop}",
    "we packed {number} {adjective} {thing} for {people} and sent them to {place} {when}{stop}",
    "six weeks of work in {place} and the {adjective} {thing} finally feel right to {people}{stop}",
    "from {place} with care: {adjective} {thing} by {people}, {number} of them ready {when}{stop}",
    "{when}, {people} came to {place} and took home {number} of our {adjective} {thing}{stop}",
    "the workshop in {place} opened {when} so {people} could build {adjective} {thing} together{stop}",
    "it takes {number} steps to make {adjective} {thing}, and {people} in {place} know each one{stop}",
    "rain or shine, our {adjective} {thing} went to {place} {when} with {people}{stop}",
    "nothing beats {adjective} {thing} and a walk to {place} {when}, say {people}{stop}",
)
OPENERS = {
    "none": ("Note:", "Update:"),
    "photo": ("Pictured:", "Snapshot:"),
    "photos": ("Gallery:", "Pictures:"),
    "video": ("Watch:", "Playing:"),
    "gif": ("Mood:", "Us:"),
}
OPENER_SHARE = 0.3
CLOSERS = ("Have a look.", "More on our page.", "See you there!", "Tell a friend.", "Details below.", "☀️", "🎉", "👇")
TAIL_SHARES = (0.5, 0.25, 0.2, 0.8)  # of a closer, a hashtag, <mention> and <hyperlink>


class Cue(NamedTuple):
    """A wording that moves the likes: what to look for in the text, its effect, its share of tweets, its phrases."""

    sign: str
    effect: float
    share: float
    phrases: tuple[str, ...]


CUES = (
    Cue("giveaway", 0.4, 0.11, ("Enter our giveaway now.", "A giveaway for {people}!")),
    Cue("thank you", 0.25, 0.15, ("A big thank you, everyone!", "To {people}: thank you.")),
    Cue("sneak peek", 0.2, 0.12, ("A sneak peek follows.", "Only here: one sneak peek.")),
    Cue("?", 0.12, 0.18, ("Which {thing} are yours?", "Ready for {adjective} {thing}?", "What would you change?")),
    Cue("hiring", -0.15, 0.14, ("We are hiring right now.", "Now hiring {number} people.")),
    Cue("webinar", -0.3, 0.14, ("Webinar on {adjective} {thing}.", "Register for webinar {number}.")),
)


def _pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]


def _fill(rng: np.random.Generator, template: str, thing: str) -> str:
    words = {slot: _pick(rng, options) for slot, options in WORDS.items() if f"{{{slot}}}" in template}
    sentence = template.format(thing=thing, **words)
    return sentence[0].upper() + sentence[1:]


def write_text(rng: np.random.Generator, company: str, username: str, kind: str, cues: Sequence[bool]) -> str:
    """Write one tweet of 8 to MAX_WORDS words, with exactly these of CUES; `kind` is that of its media."""
    thing = _pick(rng, TOPICS[company])
    opener = [_pick(rng, OPENERS[kind])] if rng.random() < OPENER_SHARE else []
    phrases = [_pick(rng, cue.phrases) for cue, present in zip(CUES, cues, strict=True) if present]
    sentences = [_fill(rng, template, thing) for template in (_pick(rng, BODIES), *phrases)]
    ends = (_pick(rng, CLOSERS), "#" + username.title(), "<mention>", "<hyperlink>")
    tail = [end for end, share in zip(ends, TAIL_SHARES, strict=True) if rng.random() < share]
    # Opener, body and cues fit by construction; only the tail may lose words.
    return " ".join(" ".join([*opener, *sentences, *tail]).split()[:MAX_WORDS])


def write_media(rng: np.random.Generator, kind: str, items: int, likes: float) -> str:
    """Write the media column of one tweet as it is published."""
    keys = [f"{HOST}/media/{rng.bytes(6).hex()}" for _ in range(items)]
    if kind in ("photo", "photos"):
        sizes = [f"previewUrl='{key}?format=png&name=small', fullUrl='{key}?format=png&name=large'" for key in keys]
        return "[" + ", ".join(f"Photo({size})" for size in sizes) + "]"
    if kind == "none":
        return "[]"
    rates = (0,) if kind == "gif" else (832000, 2176000, 256000)[: int(rng.integers(1, 4))]
    variants = [f"VideoVariant(contentType='video/mp4', url='{keys[0]}_{rate}.mp4', bitrate={rate})" for rate in rates]
    shared = f"thumbnailUrl='{keys[0]}.png', variants=[{', '.join(variants)}]"
    if kind == "gif":
        return f"[Gif({shared})]"
    # Views are counted after posting and follow from the likes, as in real tables: an outcome and a trap for models.
    views = round((likes + 1.0) * math.exp(rng.normal(math.log(30.0), 0.5)))
    return f"[Video({shared}, duration={rng.uniform(5.0, 140.0):.3f}, views={views})]"

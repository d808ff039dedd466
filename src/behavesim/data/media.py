"""The `media` column: what a tweet shows, read from the text of its media objects.

    media  = '' | 'None' | '[' [value {',' value} [',']] ']'
    value  = string | number | 'None' | 'True' | 'False' | list | call
    call   = name '(' [name '=' value {',' name '=' value} [',']] ')'

The text looks like Python, but is never evaluated: it comes from a spreadsheet.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

# Published media nest four deep; the bound keeps a hostile cell from exhausting the stack.
MAX_DEPTH = 16


class MediaKind(StrEnum):
    """What one media object is."""

    PHOTO = "photo"
    VIDEO = "video"
    GIF = "gif"


@dataclass(frozen=True)
class MediaItem:
    """One media object; `urls` are links to a still picture of it, best first; `duration` in seconds, of videos."""

    kind: MediaKind
    urls: tuple[str, ...]
    duration: float | None
    # No `views`: they are counted after posting and follow the likes (log-log correlation 0.82). An outcome must
    # not become an input.


@dataclass(frozen=True)
class Media:
    """The media of one tweet in their order; `problem` says why the text does not follow the grammar, if so."""

    items: tuple[MediaItem, ...]
    problem: str | None

    @property
    def kind(self) -> str:
        """'none', 'photo', 'photos' (several), 'video', 'gif', or 'mixed' when items of different kinds stand here."""
        kinds = {item.kind for item in self.items}
        if not kinds:
            return "none"
        if len(kinds) > 1:
            return "mixed"
        if kinds == {MediaKind.PHOTO} and len(self.items) > 1:
            return "photos"
        return kinds.pop().value


class _Token(NamedTuple):
    kind: str
    text: str
    position: int


class _Call(NamedTuple):
    name: str
    arguments: dict[str, Any]
    position: int


class _FaultError(Exception):
    """The text leaves the grammar; the message is the `problem`."""


# Possessive quantifiers (`*+`): an unclosed quote must cost one pass over the text, not one per character.
_TOKEN = re.compile(
    r"""\s*+(?:
        (?P<sign>[\[\](),=])
      | (?P<string>'(?:[^'\\]++|\\.)*+'|"(?:[^"\\]++|\\.)*+")
      | (?P<name>[A-Za-z_]\w*+)
      | (?P<number>[+-]?(?:\d++\.?\d*+|\.\d++)(?:[eE][+-]?\d++)?)
    )""",
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_SPACE = re.compile(r"\s*+")
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v", "a": "\a", "\\": "\\", "'": "'", '"': '"'}
_CONSTANTS = {"None": None, "True": True, "False": False}
_URLS = {"Photo": ("fullUrl", "previewUrl"), "Video": ("thumbnailUrl",), "Gif": ("thumbnailUrl",)}
_KNOWN_CALLS = {*_URLS, "VideoVariant"}


def _unescape_one(match: re.Match[str]) -> str:
    code = match[1]
    if len(code) == 1:
        return _ESCAPED.get(code, match[0])
    point = int(code[1:], 16)
    # Surrogates and points beyond Unicode are no characters: a table could not store them.
    return match[0] if point > 0x10FFFF or 0xD800 <= point <= 0xDFFF else chr(point)


def _found(text: str) -> str:
    return repr(text if len(text) <= 24 else text[:24] + "…") if text else "the end"


def _tokens(text: str) -> Iterator[_Token]:
    at = 0
    while match := _TOKEN.match(text, at):
        kind = match.lastgroup or ""
        yield _Token(kind, match[kind], match.start(kind))
        at = match.end()
    at = _SPACE.match(text, at).end()  # type: ignore[union-attr]  # matches the empty string too
    while True:
        yield _Token("end" if at == len(text) else "other", text[at : at + 24], at)


class _Parser:
    """Recursive descent with one token of look-ahead."""

    def __init__(self, text: str) -> None:
        self.tokens = _tokens(text)
        self.now = next(self.tokens)
        self.items: list[MediaItem] = []
        self.problem: str | None = None

    def note(self, position: int, problem: str) -> None:
        """Keep the first problem: later ones may only follow from it."""
        self.problem = self.problem or f"character {position}: {problem}"

    def fault(self, expected: str) -> _FaultError:
        return _FaultError(f"character {self.now.position}: found {_found(self.now.text)}, expected {expected}")

    def take(self, sign: str) -> bool:
        """Step over `sign` if it stands here (a string token keeps its quotes, so it never equals a sign)."""
        if self.now.text != sign:
            return False
        self.now = next(self.tokens)
        return True

    def expect(self, sign: str, expected: str) -> None:
        if not self.take(sign):
            raise self.fault(expected)

    def media(self) -> None:
        if not self.take("None"):
            self.expect("[", "'['")
            while not self.take("]"):
                position = self.now.position
                self.add(self.value(1), position)
                if not self.take(","):
                    self.expect("]", "',' or ']'")
                    break
        if self.now.kind != "end":
            raise self.fault("the end")

    def value(self, depth: int) -> Any:
        token = self.now
        if depth > MAX_DEPTH:
            raise _FaultError(f"character {token.position}: nested deeper than {MAX_DEPTH}")
        if token.kind == "string":
            self.now = next(self.tokens)
            return _ESCAPE.sub(_unescape_one, token.text[1:-1]) if "\\" in token.text else token.text[1:-1]
        if token.kind == "number":
            self.now = next(self.tokens)
            return float(token.text)  # int() refuses more than 4,300 digits
        if token.kind == "name":
            self.now = next(self.tokens)
            return _CONSTANTS[token.text] if token.text in _CONSTANTS else self.call(token, depth)
        if self.take("["):
            return self.list(depth)
        raise self.fault("a value")

    def list(self, depth: int) -> list[Any]:
        values = []
        while not self.take("]"):
            values.append(self.value(depth + 1))
            if not self.take(","):
                self.expect("]", "',' or ']'")
                break
        return values

    def call(self, name: _Token, depth: int) -> _Call:
        if name.text not in _KNOWN_CALLS:
            self.note(name.position, f"unknown media object {_found(name.text)}")
        self.expect("(", "'('")
        arguments: dict[str, Any] = {}
        while not self.take(")"):
            key = self.now
            if key.kind != "name":
                raise self.fault("a keyword or ')'")
            self.now = next(self.tokens)
            self.expect("=", "'='")
            arguments[key.text] = self.value(depth + 1)
            if not self.take(","):
                self.expect(")", "',' or ')'")
                break
        return _Call(name.text, arguments, name.position)

    def add(self, value: Any, position: int) -> None:
        """Turn one element of the outer list into an item, if it is one."""
        if not isinstance(value, _Call) or value.name not in _URLS:
            return self.note(position, "expected Photo(…), Video(…) or Gif(…)")
        urls = tuple(url for key in _URLS[value.name] if (url := self.checked(value, key, str)))
        duration = self.checked(value, "duration", float) if value.name == "Video" else None
        if duration is not None and not 0 <= duration < math.inf:
            self.note(position, f"duration {duration} is not a number of seconds")
            duration = None
        self.items.append(MediaItem(MediaKind(value.name.lower()), urls, duration))
        return None

    def checked(self, call: _Call, key: str, kind: type) -> Any:
        """The argument, or None where it is missing, None, or (noted) of another type."""
        value = call.arguments.get(key)
        if value is None or isinstance(value, kind):
            return value
        self.note(call.position, f"{call.name}.{key} is not {'text' if kind is str else 'a number'}")
        return None


def parse_media(text: str | None) -> Media:
    """Read one cell of the media column.

    Total: any text gives a result. Items before a fault are kept, and `problem` says at which character (from 0) the
    text leaves the grammar. Unknown keywords are skipped; unknown objects are skipped and noted.
    """
    if text is None or not text.strip():
        return Media((), None)
    parser = _Parser(text)
    try:
        parser.media()
    except _FaultError as fault:
        parser.problem = parser.problem or str(fault)
    return Media(tuple(parser.items), parser.problem)

"""The `media` column: what a tweet shows, read from the text of its media objects.

    media  = '' | 'None' | '[' [value {',' value} [',']] ']'
    value  = string | number | 'None' | 'True' | 'False' | list | call
    call   = name '(' [name '=' value {',' name '=' value} [',']] ')'

The text looks like Python, but is never evaluated: it comes from a spreadsheet.
"""

import math
import re
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
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


class _Call(NamedTuple):
    name: str
    arguments: dict[str, Any]
    at: int  # token


class _FaultError(Exception):
    """The text leaves the grammar; the message is the `problem`."""


# Group 1 is the token. What is no token takes the rest of the text, so that many unclosed quotes cost one pass, not one
# each; possessive quantifiers (`*+`) keep that pass from being repeated.
_TOKEN = re.compile(
    r"""\s*+(?:(
        [\[\](),=]
      | '[^'\\]*+(?:\\.[^'\\]*+)*+' | "[^"\\]*+(?:\\.[^"\\]*+)*+"
      | [A-Za-z_]\w*+
      | [+-]?(?:\d++\.?\d*+|\.\d++)(?:[eE][+-]?\d++)?
    )|.*+)""",
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_SPACE = re.compile(r"\s*+", re.ASCII)
# A token's kind by its first character; any other begins a name.
_KINDS = {"": "none", **dict.fromkeys("[](),=", "sign"), **dict.fromkeys("'\"", "string")}
_KINDS |= dict.fromkeys("+-.0123456789", "number")
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v", "a": "\a", "\\": "\\", "'": "'", '"': '"'}
_CONSTANTS = {"None": None, "True": True, "False": False}
_URLS = {"Photo": ("fullUrl", "previewUrl"), "Video": ("thumbnailUrl",), "Gif": ("thumbnailUrl",)}
_ITEM_KINDS = {"Photo": MediaKind.PHOTO, "Video": MediaKind.VIDEO, "Gif": MediaKind.GIF}
_KNOWN_CALLS = {*_URLS, "VideoVariant"}


def _unescape_one(match: re.Match[str]) -> str:
    code = match[1]
    if len(code) == 1:
        return _ESCAPED.get(code, match[0])
    point = int(code[1:], 16)
    # Surrogates and points beyond Unicode are no characters: a table could not store them.
    return match[0] if point > 0x10FFFF or 0xD800 <= point <= 0xDFFF else chr(point)


class _Parser:
    """Recursive descent with one token of look-ahead."""

    def __init__(self, text: str) -> None:
        self.text = text.rstrip()
        # The last is '', the end; before it stands another '' where the text leaves off being tokens.
        self.tokens: list[str] = _TOKEN.findall(self.text)
        self.at = 0
        self.items: list[MediaItem] = []
        self.problem: str | None = None

    def place(self, at: int) -> tuple[int, str]:
        """Character and text of a token; looked for only when there is a problem to tell."""
        match = next(islice(_TOKEN.finditer(self.text), at, None))
        start = _SPACE.match(self.text, match.start()).end()  # type: ignore[union-attr]  # matches '' too
        return start, self.text[start : match.end()]

    def note(self, at: int, problem: str) -> None:
        """Keep the first problem: later ones may only follow from it."""
        self.problem = self.problem or f"character {self.place(at)[0]}: {problem}"

    def fault(self, expected: str) -> _FaultError:
        start, text = self.place(self.at)
        return _FaultError(f"character {start}: found {_found(text)}, expected {expected}")

    def take(self, sign: str) -> bool:
        """Step over `sign` if it stands here (a string token keeps its quotes, so it never equals a sign)."""
        if self.tokens[self.at] != sign:
            return False
        self.at += 1
        return True

    def expect(self, sign: str, expected: str) -> None:
        if self.tokens[self.at] != sign:
            raise self.fault(expected)
        self.at += 1

    def media(self) -> None:
        if not self.take("None"):
            self.expect("[", "'['")
            while not self.take("]"):
                at = self.at
                self.add(self.value(1), at)
                if not self.take(","):
                    self.expect("]", "',' or ']'")
                    break
        if self.at < len(self.tokens) - 1:
            raise self.fault("the end")

    def value(self, depth: int) -> Any:
        token = self.tokens[self.at]
        kind = _KINDS.get(token[:1], "name")
        if depth > MAX_DEPTH:
            raise _FaultError(f"character {self.place(self.at)[0]}: nested deeper than {MAX_DEPTH}")
        if kind == "none" or (kind == "sign" and token != "["):
            raise self.fault("a value")
        self.at += 1
        if kind == "string":
            return _ESCAPE.sub(_unescape_one, token[1:-1]) if "\\" in token else token[1:-1]
        if kind == "number":
            return float(token)  # int() refuses more than 4,300 digits
        if kind == "sign":
            return self.list(depth)
        return _CONSTANTS[token] if token in _CONSTANTS else self.call(token, depth)

    def list(self, depth: int) -> list[Any]:
        values = []
        while not self.take("]"):
            values.append(self.value(depth + 1))
            if not self.take(","):
                self.expect("]", "',' or ']'")
                break
        return values

    def call(self, name: str, depth: int) -> _Call:
        call = _Call(name, {}, self.at - 1)
        if name not in _KNOWN_CALLS:
            self.note(call.at, f"unknown media object {_found(name)}")
        self.expect("(", "'('")
        while not self.take(")"):
            key = self.tokens[self.at]
            if _KINDS.get(key[:1], "name") != "name":
                raise self.fault("a keyword or ')'")
            self.at += 1
            self.expect("=", "'='")
            call.arguments[key] = self.value(depth + 1)
            if not self.take(","):
                self.expect(")", "',' or ')'")
                break
        return call

    def add(self, value: Any, at: int) -> None:
        """Turn one element of the outer list into an item, if it is one."""
        if not isinstance(value, _Call) or value.name not in _URLS:
            return self.note(at, "expected Photo(…), Video(…) or Gif(…)")
        urls = tuple(url for key in _URLS[value.name] if (url := self.checked(value, key, str)))
        duration = self.checked(value, "duration", float) if value.name == "Video" else None
        if duration is not None and not 0 <= duration < math.inf:
            self.note(at, f"duration {duration} is not a number of seconds")
            duration = None
        self.items.append(MediaItem(_ITEM_KINDS[value.name], urls, duration))
        return None

    def checked(self, call: _Call, key: str, kind: type) -> Any:
        """The argument, or None where it is missing, None, or (noted) of another type."""
        value = call.arguments.get(key)
        if value is None or isinstance(value, kind):
            return value
        self.note(call.at, f"{call.name}.{key} is not {'text' if kind is str else 'a number'}")
        return None


def _found(text: str) -> str:
    return repr(text if len(text) <= 24 else text[:24] + "…") if text else "the end"


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

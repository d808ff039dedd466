"""Secrets taken out of what is recorded: tags, parameters, configurations, lists of overrides.

A secret is known by its name (`hub_token`, `api_key`), by its value, where a variable of the environment with such a
name holds it, or by its place: before the `@` of an address, in its query.
"""

import os
import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

HIDDEN = "***"
SHORTEST = 6  # shorter values of the environment would be found inside everyday words
# Words of a name, taken apart at dots, underscores, dashes and capitals.
_SECRET_WORDS = {"secret", "secrets", "password", "passwords", "passwd", "passphrase", "credential", "credentials"}
_SECRET_KEYS = {"api", "access", "private", "secret", "encryption", "signing", "ssh"}  # api_key
# `token` beside one of these is a piece of text, not a key to a door: pad_token, token_dropout.
_OF_TEXT = {"pad", "eos", "bos", "unk", "sep", "cls", "mask", "image", "feature", "new", "dropout", "id", "ids"}
_OF_TEXT |= {"type", "types", "per", "count"}
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_KNOWN = re.compile(r"\b(?:hf_[A-Za-z0-9]{16,}|gh[pousr]_[A-Za-z0-9]{16,}|sk-[A-Za-z0-9_-]{16,}|AKIA[A-Z0-9]{12,})")
_USER_OF_ADDRESS = re.compile(r"(?<=://)[^/\s?#]*@")
_NAME = re.compile(r"""(?<![\w.+~@/-])([\w.+~@/-]*\w)["']?\s*[:=]\s*""")
# What is set: in quotes, in braces or brackets, whose end nobody looks for, or up to a comma or a blank.
_VALUE = re.compile(r"""(?s:"[^"]*"|'(?:\\.|[^'\\])*'|\{.*\}|\[.*\]|[^\s,;&#}\])]+)""")


def is_secret_name(name: str) -> bool:
    """Whether a key or a variable of this name holds a secret; of a dotted key each part counts."""
    return any(_is_secret_part([word.lower() for word in _WORD.findall(part)]) for part in name.split("."))


def clean(value: Any, environment: Mapping[str, str] = os.environ) -> Any:
    """The same value without secrets: text, or any nesting of mappings and lists that holds some."""
    return _clean(value, _values(environment))


def _clean(value: Any, secrets: tuple[str, ...]) -> Any:
    if isinstance(value, str):
        return _clean_text(value, secrets)
    if isinstance(value, Mapping):
        return {
            _clean(key, secrets): HIDDEN if _hides(key, found) else _clean(found, secrets)
            for key, found in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_clean(found, secrets) for found in value]
    return HIDDEN if str(value) in secrets else value


def _hides(key: Any, value: Any) -> bool:
    return isinstance(key, str) and is_secret_name(key) and value is not None


def _clean_text(text: str, secrets: tuple[str, ...]) -> str:
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    text = _KNOWN.sub(HIDDEN, _USER_OF_ADDRESS.sub(f"{HIDDEN}@", text))
    parts, end = [], 0
    for name in _NAME.finditer(text):
        if name.start() >= end and is_secret_name(name[1]) and (value := _VALUE.match(text, name.end())):
            parts += [text[end : name.end()], HIDDEN]
            end = value.end()
    return "".join([*parts, text[end:]])


def _is_secret_part(words: list[str]) -> bool:
    if _SECRET_WORDS.intersection(words):
        return True
    if "apikey" in words or any(first in _SECRET_KEYS and last in ("key", "keys") for first, last in pairwise(words)):
        return True
    return "token" in words and not _OF_TEXT.intersection(words)


def _values(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The secrets of the environment, long ones first: one may be a part of another."""
    found = {value for name, value in environment.items() if is_secret_name(name) and len(value) >= SHORTEST}
    return tuple(sorted(found, key=len, reverse=True))

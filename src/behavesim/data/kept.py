"""Rows of a split that a training can use."""

from collections.abc import Mapping

import numpy as np

from behavesim.data.pictures.readers import PictureReader
from behavesim.data.prepared import TweetRows
from behavesim.errors import UserError


def with_text(parts: Mapping[str, TweetRows]) -> dict[str, TweetRows]:
    """The rows that have a text: no other can be written."""
    return {part: rows[(rows.frame("content")["content"] != "").to_numpy()] for part, rows in parts.items()}


def with_pictures(parts: Mapping[str, TweetRows], reader: PictureReader) -> dict[str, TweetRows]:
    """The rows that have a picture.

    Raises:
        UserError: a part has none.
    """
    found = {}
    for part, rows in parts.items():
        pictured = [(reader.lists(chunk).list.len() > 0).to_numpy() for chunk in rows.chunks("id", "images")]
        found[part] = rows[np.concatenate([np.zeros(0, bool), *pictured])]
        if not len(found[part]):
            raise UserError(f"data.only_pictures: found no {part} row with a picture; accepted: false")
    return found

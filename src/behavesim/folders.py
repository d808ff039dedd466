"""Folders that appear whole, or not at all."""

import shutil
from collections.abc import Callable
from pathlib import Path

from behavesim.errors import UserError
from behavesim.log import log


def _nothing(_name: str) -> bool:
    return False


def take_place(new: Path, folder: Path, keep: Callable[[str], bool] = _nothing) -> None:
    """Rename the complete `new` to `folder`, which is replaced as a whole if it exists; both in one parent folder.

    Args:
        new: becomes `folder`.
        folder: is deleted if it exists.
        keep: says by name which of the things in it are taken over.

    Raises:
        UserError: what an earlier replacement left cannot be removed.
    """
    settle(folder, keep)
    if folder.exists():
        log.info("%s exists and is replaced", folder)
    swap(new, folder)
    settle(folder, keep)


def swap(new: Path, place: Path) -> None:
    """Rename a file or folder to `place`; a folder that stood there is left to `settle`."""
    if place.is_dir():
        place.rename(replaced(place))
    new.replace(place)


def settle(folder: Path, keep: Callable[[str], bool] = _nothing) -> None:
    """Bring a replacement to its end that was interrupted: the old folder comes back, or gives up what is kept."""
    old = replaced(folder)
    if not old.exists():
        return
    if not folder.exists():
        old.rename(folder)
        return
    for path in list(old.iterdir()):
        if keep(path.name) and not (folder / path.name).exists():
            path.rename(folder / path.name)
    shutil.rmtree(old, ignore_errors=True)
    if old.exists():
        raise UserError(f"{old}: cannot be removed; accepted: a folder whose files may be deleted")


def replaced(folder: Path) -> Path:
    """Where a folder lies while another one takes its place."""
    return folder.with_name(f".{folder.name}.replaced")

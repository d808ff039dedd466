"""Folders that appear whole, or not at all."""

import shutil
from pathlib import Path

from behavesim.log import log


def take_place(new: Path, folder: Path) -> None:
    """Rename the complete `new` to `folder`, which is replaced as a whole if it exists; both in one parent folder."""
    replaced = new.with_name(f"{new.name}.replaced")
    shutil.rmtree(replaced, ignore_errors=True)
    if folder.exists():
        log.info("%s exists and is replaced", folder)
        folder.rename(replaced)
    new.rename(folder)
    shutil.rmtree(replaced, ignore_errors=True)

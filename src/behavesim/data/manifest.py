"""The facts of a prepared table, in `manifest.json`."""

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from behavesim.config import MANIFEST
from behavesim.data.split import Split, SplitSettings
from behavesim.errors import UserError

# Raised whenever folders written by an earlier version could be misread, or would be written otherwise now.
SCHEMA = 1


@dataclass(frozen=True)
class SplitRecord:
    """One split as it was made: its settings, the cut dates in use and the number of rows in each part."""

    kind: str
    validation: float
    test: float
    seed: int
    rows: dict[str, int]
    dropped: int  # training rows whose near-identical copy is held out
    validation_from: str | None
    test_from: str | None

    @classmethod
    def of(cls, settings: SplitSettings, split: Split) -> "SplitRecord":
        """The record of a split that was made."""
        cuts = (cut and cut.isoformat() for cut in (split.validation_from, split.test_from))
        counts = {part: len(rows) for part, rows in split.rows.items()}
        return cls(settings.kind, settings.validation, settings.test, settings.seed, counts, split.dropped, *cuts)

    def cuts(self) -> dict[str, datetime | None]:
        """`validation_from` and `test_from`."""
        given = {"validation_from": self.validation_from, "test_from": self.test_from}
        return {name: datetime.fromisoformat(cut) if cut else None for name, cut in given.items()}


@dataclass(frozen=True)
class Manifest:
    """What a prepared table was made from, and what it holds."""

    schema: int
    fingerprint: str  # of source, options and pictures: equal ones give equal folders
    source: str  # the file's name
    source_sha256: str
    options: dict[str, Any]
    counts: dict[str, int]  # source_rows, rows, rejected, labelled, pictures, missing_pictures
    id_type: str
    splits: list[SplitRecord]

    def cuts(self, settings: SplitSettings) -> dict[str, datetime | None]:
        """Cut dates that a split of these shares was made with; None each where it was not recorded."""
        for record in self.splits:
            # Cut dates are of unseen_time alone, which draws nothing.
            if (record.kind, record.validation, record.test) == (settings.kind, settings.validation, settings.test):
                return record.cuts()
        return {"validation_from": None, "test_from": None}

    def write(self, folder: Path) -> None:
        """`manifest.json` in `folder`."""
        (folder / MANIFEST).write_text(json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n", "utf-8")

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """The manifest of a prepared table.

        Raises:
            UserError: there is none, or another version wrote it.
        """
        path = folder / MANIFEST
        try:
            values = json.loads(path.read_text("utf-8"))
            if values["schema"] != SCHEMA:
                raise UserError(f"{path}: found schema {values['schema']}; accepted: {SCHEMA}, prepare the table again")
            return cls(**values | {"splits": [SplitRecord(**record) for record in values["splits"]]})
        except FileNotFoundError:
            raise UserError(f"{folder}: found no {MANIFEST}; accepted: a folder that prepare wrote") from None
        except UserError:  # a ValueError too
            raise
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}: damaged ({error}); accepted: one that prepare wrote") from error

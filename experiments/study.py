"""What the tables of studies share; `study.sh` puts it on the path of each study's `collect.py`."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np


def read(file: Path) -> dict | None:
    """Scores that a run left; None for a run that is not there."""
    return json.loads(file.read_text()) if file.exists() else None


def cell(values: Sequence[float], digits: int) -> str:
    """Mean and standard deviation, where there is one to be seen; empty without values."""
    if not values:
        return ""
    spread = np.std(values, ddof=1) if len(values) > 1 else 0.0
    return f"{np.mean(values):,.{digits}f}" + (f" ± {spread:,.{digits}f}" if round(spread, digits) else "")


def row(*cells: str) -> str:
    """A row of a table."""
    return f"| {' | '.join(cells)} |"


def header(*columns: str) -> str:
    """The first two rows."""
    return f"{row(*columns)}\n|{'---|' * len(columns)}"


def beyond(found: Sequence[float], reference: Sequence[float]) -> str:
    """Per cent by which one of two runs of the same seed scores more than the other: mean and range over seeds."""
    differences = [100 * (one / other - 1) for one, other in zip(found, reference, strict=True)]
    if not differences:
        return ""
    return f"{np.mean(differences):+.1f} % ({min(differences):+.1f} to {max(differences):+.1f})"

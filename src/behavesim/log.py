"""Log lines and tables in the terminal."""

import logging
import warnings
from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

log = logging.getLogger("behavesim")
# Notices of libraries about choices that are made here on purpose.
_NOISE = (
    "lightning.pytorch.utilities.rank_zero",
    "lightning.pytorch.trainer.connectors.checkpoint_connector",
    "lightning.pytorch.strategies.deepspeed",
    "lightning.fabric.utilities.distributed",
    "lightning.fabric.utilities.seed",
    "DeepSpeed",
    "alembic",
    "mlflow",
    "filelock",
    "httpx",
    "urllib3",
)
_WARNINGS = (
    r".*does not have many workers.*",
    r".*Checkpoint directory .* exists and is not empty.*",
    r".*number of training batches .* is smaller than the logging interval.*",
    r".*You are using a custom batch sampler.*",
    r".*could not find the monitored key.*",  # `max_steps` may end training before the first validation
    r".*isinstance\(treespec, LeafSpec\).*",
    r".*torch\.distributed\..* is deprecated.*",  # of lightning's and DeepSpeed's calls
    r".*(past_key_values|gradient_checkpointing_enable). is deprecated.*",  # transformers 5.24 renames them
    r".*When saving the DeepSpeed Stage 3 checkpoint.*",
    r".*sync_dist=True.* when logging on epoch level.*",  # metrics are computed of the rows of all processes
)


def quiet_libraries() -> None:
    """Hide library chatter; errors and our own lines stay."""
    for name in _NOISE:
        logging.getLogger(name).setLevel(logging.ERROR)
    for pattern in _WARNINGS:
        warnings.filterwarnings("ignore", message=pattern)


def only_errors() -> None:
    """Silence our own lines too: another process of the job says the same."""
    log.setLevel(logging.ERROR)


def table_text(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], width: int = 100) -> str:
    """A table as text: first column left, numbers right, four decimals below 100 and one above."""
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    console = Console(width=width)
    with console.capture() as capture:
        console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], width: int = 100) -> None:
    """Print `table_text`."""
    print(table_text(title, columns, rows, width), flush=True)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.4f}" if abs(value) < 100 else f"{value:,.1f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return "" if value is None else str(value)

"""What `compare` shows of a ranking: a table for the terminal, a .csv and a picture."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from behavesim.log import log, print_table
from behavesim.metrics.ranked_chart import Entry, ranked_chart
from behavesim.tracking.differing import short_names
from behavesim.tracking.exported import VALIDATION
from behavesim.tracking.ranking import Ranking

CSV, CHART = "compare.csv", "compare.png"
WIDTH = 100
LONGEST_NAME, LONGEST_VALUE = 22, 16  # of the table; settings need room too
CHARTED, LONGEST_CHARTED, NOTED, GAP = 40, 32, 70, "   "
COLUMNS = ("duration", "samples/s", "started")
DAY = "%m-%d %H:%M"


def print_ranking(ranking: Ranking, title: str, top: int) -> None:
    """The best `top` runs, and in a line or a few what has no rank or should be known of the ranks."""
    rows = ranking.ranked.head(top).to_dicts()
    if rows:
        _print_table(ranking, title, rows)
    if ranking.ranked.height > len(rows):
        log.info("%s more ranked runs are in %s", f"{ranking.ranked.height - len(rows):,}", CSV)
    _print_unfinished(ranking, top)
    if ranking.unscored:
        log.info("%s without a rank: finished, but no number for %s", _runs(ranking.unscored), ranking.metric)
    for line in warnings(ranking):
        log.warning("warning: %s", line)


def warnings(ranking: Ranking) -> list[str]:
    """What makes a rank mean less than it seems to."""
    found = []
    if ranking.split is not None:
        seen = {key: ", ".join(middle_cut(value, 40) for value in values) for key, values in ranking.split.items()}
        differ = "; ".join(f"{key}: {values}" for key, values in seen.items()) or "the tables changed"
        found.append(f"scored on different tweets, so that these ranks mean nothing ({differ})")
    if ranking.metric.startswith("test/"):
        found.append(f"{ranking.metric} is of the test split: what is chosen by it will do worse on new tweets")
    return found


def write_csv(ranking: Ranking, folder: Path) -> Path:
    """Every run, uncut; the rank is empty for those without one."""
    folder.mkdir(parents=True, exist_ok=True)
    ranking.frame.rename({"value": ranking.metric}).write_csv(folder / CSV, datetime_format="%Y-%m-%d %H:%M:%S UTC")
    return folder / CSV


def chart(ranking: Ranking, title: str) -> Figure:
    """The picture of the best `CHARTED` runs, of which there is at least one."""
    rows = ranking.ranked.head(CHARTED).to_dicts()
    if ranking.ranked.height > CHARTED:
        title = f"{title}, the best {CHARTED} of {_runs(ranking.ranked.height)}"
    keys = _telling(ranking.keys, rows)
    names = short_names(keys)
    entries = []
    for row in rows:
        told = [f"{names[key]}={middle_cut(_plain(row[key]), 24)}" for key in keys if row[key] is not None]
        whole = [end for end in range(len(told) + 1) if len(GAP.join(told[:end])) <= NOTED]
        entries.append(Entry(middle_cut(row["run"], LONGEST_CHARTED), row["value"], GAP.join(told[: whole[-1]])))
    return ranked_chart(entries, title=title, metric=described(ranking.metric), lower=ranking.lower)


def described(metric: str) -> str:
    """The metric, and of which epoch it is where there are several."""
    return f"{metric} of the exported epoch" if metric.startswith(VALIDATION) else metric


def middle_cut(text: str, longest: int) -> str:
    """The text, with a sign in its middle for what has no place: both ends tell names and paths apart."""
    if len(text) <= longest:
        return text
    head = (longest - 1) // 2
    return f"{text[:head]}…{text[len(text) - (longest - 1 - head) :]}"


def end_cut(text: str, longest: int) -> str:
    """The text, with a sign at its end for what has no place."""
    return text if len(text) <= longest else f"{text[: longest - 1].rstrip()}…"


def duration(seconds: float | None) -> str:
    """Hours, minutes and seconds as 1:02:57, minutes and seconds as 2:57."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _print_table(ranking: Ranking, title: str, rows: Sequence[dict[str, Any]]) -> None:
    width = max(WIDTH, shutil.get_terminal_size((WIDTH, 0)).columns)
    keys = _telling(ranking.keys, rows)
    names = short_names(keys)
    fixed = [[f"{row['rank']:>2}  {middle_cut(row['run'], LONGEST_NAME)}", _number(row["value"])] for row in rows]
    starts = [row["started"].astimezone() for row in rows]
    days = {start.date() for start in starts}
    clock = "%H:%M:%S" if len(days) == 1 else DAY  # a day that all share stands above, to leave room for settings
    title = f"{title}, runs of {min(days)}" if len(days) == 1 else title
    facts = [
        [duration(row["seconds"]), _speed(row["samples_per_second"]), start.strftime(clock)]
        for row, start in zip(rows, starts, strict=True)
    ]
    heads = [" #  run", ranking.metric, *COLUMNS]
    left = width - sum(_width(head, cells) for head, cells in zip(heads, _columns(fixed, facts), strict=True)) - 1
    shown: dict[str, list[str]] = {}
    for key in keys:
        cells = [middle_cut(_plain(row[key]), LONGEST_VALUE) for row in rows]
        width_of_key = _width(middle_cut(names[key], LONGEST_VALUE), cells)
        if width_of_key <= left:
            shown[key] = cells
            left -= width_of_key
    heads = [*heads[:2], *(middle_cut(names[key], LONGEST_VALUE) for key in shown), *COLUMNS]
    lines = [[*fixed[i], *(cells[i] for cells in shown.values()), *facts[i]] for i in range(len(rows))]
    print_table(title, heads, lines, width=width)
    if hidden := [key for key in keys if key not in shown]:
        log.info("%s", end_cut(f"These differ too, see {CSV}: {', '.join(hidden)}", 2 * width))


def _print_unfinished(ranking: Ranking, top: int) -> None:
    rows = ranking.unfinished.to_dicts()
    if rows:
        log.info("Not ranked: %s", _runs(len(rows)))
    for row in rows[-top:]:
        start = row["started"].astimezone().strftime(DAY)
        log.info("  %s", "  ".join([row["run"], row["status"], start, row["error"] or ""]).rstrip())
    if len(rows) > top:
        log.info("  and %s before them, in %s", f"{len(rows) - top:,}", CSV)


def _telling(keys: Sequence[str], rows: Sequence[dict[str, Any]]) -> list[str]:
    """The keys that differ among the rows that are shown, which may be fewer than those of the whole ranking."""
    return [key for key in keys if len({row[key] for row in rows}) > 1]


def _columns(*blocks: list[list[str]]) -> list[list[str]]:
    return [list(column) for block in blocks for column in zip(*block, strict=True)]


def _width(head: str, cells: Sequence[str]) -> int:
    return max(map(len, [head, *cells])) + 3  # blanks on both sides and between columns


def _plain(value: str | None) -> str:
    """A list without the quotes that Python prints."""
    return "" if value is None else value.replace("'", "").replace(", ", ",") if value.startswith("[") else value


def _number(value: float) -> str:
    return f"{value:,.4f}" if abs(value) < 100 else f"{value:,.1f}" if abs(value) < 1e9 else f"{value:.3e}"


def _speed(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count:,} runs"

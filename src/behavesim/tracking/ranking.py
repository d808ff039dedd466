"""Runs of MLflow, ranked by a metric."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from behavesim.errors import UserError
from behavesim.tracking.differing import differing, named_keys
from behavesim.tracking.exported import HELD_OUT, PREFIX, VALIDATION, exported_metrics
from behavesim.tracking.runs import (
    ERROR,
    FINISHED,
    INFINITE,
    KIND,
    PARENT,
    SCORINGS,
    SQLITE,
    bury,
    impatient,
    unusable,
)

PAGE = 1000
OVERRIDES = "overrides"
SPEED = "run/samples_per_second"
# Other names are a baseline's or a single step's.
SCORE = re.compile(r"(train|val|test|run)/(?P<name>\w+)")
LOWER = ("loss", "rmse", "rmse_winsorised", "rmsle", "mae", "medae", "crps", "crps_log", "parse_failures")
LOWER += ("padding_share", "data_wait_share", "peak_memory_gib")
HIGHER = re.compile(r"spearman|r2|bleu|rouge|cider|samples_per_second|tokens_per_second|mfu")
# The settings that decide on which tweets a run is scored.
DATA = ("path", "sample.rows", "sample.seed", "on_bad_row", "split", "split_seed", "validation", "test")
DATA_KEYS = tuple(f"data.{key}" for key in (*DATA, "validation_from", "test_from"))
SCHEMA = {"rank": pl.Int64, "run": pl.String, "status": pl.String, "value": pl.Float64}
FACTS = {"seconds": pl.Float64, "samples_per_second": pl.Float64, "started": pl.Datetime("ms", "UTC")}
FACTS |= {"sweep": pl.String, "run_id": pl.String, "error": pl.String}


@dataclass(frozen=True)
class Ranking:
    """Runs of an experiment, or of one of its sweeps.

    `frame` has a row a run, the ranked ones first, then by start: the columns of `SCHEMA`, those of `keys`, those of
    `FACTS`. `rank` is null where a run did not finish, or has no number for the metric.
    """

    frame: pl.DataFrame
    metric: str
    lower: bool
    keys: list[str]
    split: dict[str, list[str]] | None
    """The data's settings in which ranked runs differ; None where all were scored on the same tweets."""

    @property
    def ranked(self) -> pl.DataFrame:
        """The rows that have a rank, best first."""
        return self.frame.filter(pl.col("rank").is_not_null())

    @property
    def unfinished(self) -> pl.DataFrame:
        """The runs that failed, were killed or still run."""
        return self.frame.filter(pl.col("status") != FINISHED)

    @property
    def unscored(self) -> int:
        """How many finished runs have no number for the metric."""
        return self.frame.height - self.ranked.height - self.unfinished.height


def rank_runs(tracking_uri: str, *, experiment: str, metric: str, sweep: str | None = None) -> Ranking:
    """Read an experiment's runs and rank those that finished.

    A validation metric is that of the epoch whose weights the run exports, see `exported`.

    Raises:
        UserError: there is no such database, experiment, metric or sweep, or the server does not answer.
    """
    metric = metric.removeprefix(PREFIX)
    try:
        with impatient():
            client = _client(tracking_uri)
            runs, sweeps = _apart(_runs(client, tracking_uri, experiment))
            runs = _of_sweep(runs, sweeps, sweep)
            lower = _lower(metric, runs)
            values = {run.info.run_id: _value(client, run, metric) for run in runs}
    except UserError:
        raise
    except Exception as error:  # each kind of store raises its own
        raise unusable("tracking_uri", tracking_uri, error, "where training logs to") from error
    scored = [run for run in runs if values[run.info.run_id] is not None]
    scored.sort(key=lambda run: values[run.info.run_id] * (1 if lower else -1))
    rest = [run for run in runs if values[run.info.run_id] is None]
    keys = differing(
        [run.data.params for run in runs if run.data.params],  # some fail before they say what they are
        [key for run in runs for key in named_keys(run.data.tags.get(OVERRIDES, ""))],
    )
    rows = [
        [rank, run.info.run_name, run.info.status, values[run.info.run_id], *_facts(run, keys, sweeps)]
        for rank, run in (*enumerate(scored, 1), *((None, run) for run in rest))
    ]
    schema = {**SCHEMA, **dict.fromkeys(keys, pl.String), **FACTS}
    return Ranking(pl.DataFrame(rows, schema, orient="row"), metric, lower, keys, _split(scored))


def lower_is_better(metric: str) -> bool | None:
    """The better side of a metric; None where it is not known to have one."""
    found = SCORE.fullmatch(metric)
    if found is None:
        return None
    return True if found["name"] in LOWER else False if HIGHER.match(found["name"]) else None


def _client(uri: str) -> MlflowClient:
    """MLflow's client; a database that is missing stays so, though MLflow would make one."""
    if uri.startswith(SQLITE):
        path = Path(uri.removeprefix(SQLITE))
        if not path.is_file():
            accepted = "a database that training logged to, as in the folder where it was started"
            raise UserError(f"tracking_uri: found {uri}, but there is no file {path}; accepted: {accepted}")
        return MlflowClient(SQLITE + str(path.absolute()))
    return MlflowClient(uri)


def _runs(client: MlflowClient, uri: str, experiment: str) -> list[Run]:
    """All runs of an experiment, in the order in which they were started."""
    found = client.get_experiment_by_name(experiment)
    if found is None:
        names = ", ".join(sorted(item.name for item in client.search_experiments()))
        raise UserError(f"experiment: found {experiment}, which {uri} does not hold; accepted: {names}")
    bury(client, found.experiment_id)
    page = client.search_runs([found.experiment_id], max_results=PAGE)
    runs = list(page)
    while page.token:
        page = client.search_runs([found.experiment_id], max_results=PAGE, page_token=page.token)
        runs += page
    if not runs:
        raise UserError(f"experiment: found {experiment}, which holds no runs; accepted: one that training logged to")
    return sorted(runs, key=lambda run: (run.info.start_time, run.info.run_id))


def _apart(runs: Sequence[Run]) -> tuple[list[Run], dict[str, str]]:
    """The runs that trained something, and the names of sweeps by the ids of their parent runs."""
    parents = {run.data.tags[PARENT] for run in runs if PARENT in run.data.tags}
    sweeps = {run.info.run_id: run.info.run_name for run in runs if run.info.run_id in parents}
    trained = [run for run in runs if run.data.tags.get(KIND) not in SCORINGS]
    return [run for run in trained if run.info.run_id not in sweeps], sweeps


def _of_sweep(runs: list[Run], sweeps: Mapping[str, str], name: str | None) -> list[Run]:
    """The children of the sweeps of that name; all runs for None."""
    if name is None:
        return runs
    if name not in sweeps.values():
        known = ", ".join(dict.fromkeys(sweeps.values())) or "none, this experiment holds no sweep"
        raise UserError(f"sweep: found {name}; accepted: {known}")
    return [run for run in runs if sweeps.get(run.data.tags.get(PARENT)) == name]


def _lower(metric: str, runs: Sequence[Run]) -> bool:
    """Whether lower values of a metric that was recorded are better."""
    recorded = {name.removeprefix(PREFIX) for run in runs for name in run.data.metrics}
    known = [name for name in sorted(recorded) if lower_is_better(name) is not None]
    known.sort(key=lambda name: not name.startswith(VALIDATION))
    if metric not in known:
        raise UserError(f"metric: found {metric}; accepted: {', '.join(known) or 'none, no run has logged any'}")
    return bool(lower_is_better(metric))


def _value(client: MlflowClient, run: Run, metric: str) -> float | None:
    """The number that a run is ranked by; None for a run that did not finish or has none."""
    if run.info.status != FINISHED or metric not in run.data.metrics:
        return None
    value = run.data.metrics[metric]
    if metric.startswith(VALIDATION):
        recorded = run.data.metrics.get(PREFIX + metric)
        value = exported_metrics(client, run, (metric,)).get(metric) if recorded is None else recorded
    return value if value is not None and math.isfinite(value) and abs(value) < INFINITE else None


def _facts(run: Run, keys: Sequence[str], sweeps: Mapping[str, str]) -> Iterator[object]:
    """The cells of `keys` and of `FACTS`."""
    info, tags = run.info, run.data.tags
    yield from (run.data.params.get(key) for key in keys)
    yield (info.end_time - info.start_time) / 1000 if info.end_time else None
    yield run.data.metrics.get(SPEED)
    yield datetime.fromtimestamp(info.start_time / 1000, UTC)
    yield from (sweeps.get(tags.get(PARENT)), info.run_id, tags.get(ERROR))


def _split(runs: Sequence[Run]) -> dict[str, list[str]] | None:
    """The settings of the data in which runs differ, empty where only its content does; None: all saw the same."""
    values = {key: list(dict.fromkeys(r.data.params[key] for r in runs if key in r.data.params)) for key in DATA_KEYS}
    differ = {key: found for key, found in values.items() if len(found) > 1}
    digests = {run.data.tags.get(HELD_OUT) for run in runs}
    if None in digests:  # a run of before there were digests, so that settings have to do
        return differ or None
    return differ if len(digests) > 1 else None  # settings may differ in name alone, as two paths of one file do

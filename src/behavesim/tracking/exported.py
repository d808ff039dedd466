"""The validation metrics of the epoch that a run exports.

MLflow keeps every epoch's value and shows the last one. The artifact is that of the epoch which the run's checkpoint
callback found best, so that the last value is often that of weights which nobody has.
"""

import math
from collections.abc import Iterable, Mapping

from mlflow.entities import Run
from mlflow.tracking import MlflowClient

PREFIX = "exported/"
HELD_OUT = "held_out_rows"  # the tag that tells on which tweets a run was scored
VALIDATION = "val/"
MONITOR, MODE = "callbacks.checkpoint.monitor", "callbacks.checkpoint.mode"


def exported_metrics(client: MlflowClient, run: Run, names: Iterable[str]) -> dict[str, float]:
    """Metrics of a finished run at its exported epoch: the best one by the metric that the run monitored.

    The last one where the run kept no best epoch. A metric that was not logged at that epoch is left out.
    """
    monitor = run.data.params.get(MONITOR)
    if monitor not in run.data.metrics:
        return {name: run.data.metrics[name] for name in names}
    histories = {name: _by_step(client, run, name) for name in {monitor, *names}}
    step = _best_step(histories[monitor], run.data.params.get(MODE, "min"))
    found = {name: histories[name].get(step) for name in names}
    return {name: value for name, value in found.items() if value is not None}


def record_exported(client: MlflowClient, run_id: str) -> None:
    """Log all of `val/...` as `exported/val/...`, so that the page shows it and nobody else has to read histories."""
    run = client.get_run(run_id)
    names = [name for name in run.data.metrics if name.startswith(VALIDATION)]
    for name, value in exported_metrics(client, run, names).items():
        client.log_metric(run_id, PREFIX + name, value)


def _by_step(client: MlflowClient, run: Run, name: str) -> dict[int, float]:
    """Values by step; of a step that a resumed run repeated, the later one, as its checkpoint is."""
    history = sorted(client.get_metric_history(run.info.run_id, name), key=lambda metric: metric.timestamp)
    return {metric.step: metric.value for metric in history}


def _best_step(values: Mapping[int, float], mode: str) -> int | None:
    """The step of the best value, the first of equal ones as checkpoints have it; None without a number."""
    sign = -1 if mode == "max" else 1
    return min((s for s in values if not math.isnan(values[s])), key=lambda s: (sign * values[s], s), default=None)

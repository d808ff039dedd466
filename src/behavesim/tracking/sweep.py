"""The run of MLflow that stands for a whole sweep, the parent of its jobs' runs."""

import math
import os
from collections.abc import Sequence
from pathlib import Path

from mlflow.entities import Run

from behavesim.redact import clean
from behavesim.tracking import runs


class SweepRun:
    """The parent run. Jobs find its id in the environment, in this process and in those that it starts.

    To make one raises `UserError` where MLflow does not answer; the end of it, and of its jobs, is then a warning.
    """

    def __init__(
        self, *, tracking_uri: str, experiment_name: str, run_name: str, overrides: Sequence[str], resume: bool
    ) -> None:
        uri = runs.absolute_uri(tracking_uri)
        self.client, self.experiment_id = runs.experiment(uri, experiment_name)
        runs.bury(self.client, self.experiment_id)
        self.run_id, _ = runs.start_run(self.client, self.experiment_id, run_name, overrides, resume=resume)
        os.environ[runs.PARENT_VARIABLE] = self.run_id

    def end_job(self, name: str, overrides: Sequence[str], error: str, *, killed: bool) -> None:
        """End the run of a job that could not do so itself; make it, if the job did not come as far."""
        with runs.last_words(f"the end of {name}"):
            named = f"{self._children} and attributes.run_name = '{name}'"
            found = self.client.search_runs([self.experiment_id], named, max_results=1)  # the latest
            run = found[0] if found else self._made(name, overrides)
            if run.info.status != runs.FINISHED and runs.ERROR not in run.data.tags:
                runs.end_run(self.client, run.info.run_id, runs.KILLED if killed else runs.FAILED, error)

    def end(self, status: str, error: str | None, table: Path) -> None:
        """End the run with the best objective, and with the table of the jobs where there is one."""
        os.environ.pop(runs.PARENT_VARIABLE, None)
        with runs.last_words("how the sweep ended"):
            children = self.client.search_runs([self.experiment_id], self._children)
            best = min(filter(_has_objective, children), key=_objective, default=None)
            if best is not None:
                self.client.log_metric(self.run_id, runs.OBJECTIVE, _objective(best))
                self.client.set_tag(self.run_id, "best_run", best.info.run_name)
            if table.is_file():
                self.client.log_artifact(self.run_id, str(table))
            if error is not None:
                runs.end_run(self.client, self.run_id, status, error)
            else:
                self.client.set_terminated(self.run_id, status)

    @property
    def _children(self) -> str:
        return f"tags.`{runs.PARENT}` = '{self.run_id}'"

    def _made(self, name: str, overrides: Sequence[str]) -> Run:
        run_id, _ = runs.start_run(self.client, self.experiment_id, name, overrides, resume=False)
        pairs = (text.lstrip("+~").partition("=") for text in clean(list(overrides)))
        runs.log_params(self.client, run_id, {key: value for key, sign, value in pairs if sign})
        return self.client.get_run(run_id)


def _objective(run: Run) -> float:
    return run.data.metrics[runs.OBJECTIVE]


def _has_objective(run: Run) -> bool:
    value = run.data.metrics.get(runs.OBJECTIVE, math.inf)
    return run.info.status == runs.FINISHED and math.isfinite(value) and abs(value) < runs.INFINITE

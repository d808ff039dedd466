"""MLflow's server over a sweep: what its page shows in a browser, and training that logs to it from afar."""

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest
import yaml

from behavesim.tracking.sweep import SweepRun

PATIENCE = 60  # seconds, for a page on a busy machine
QUIET = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
CHROMIUM = (
    "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-sync "
    "--disable-dev-shm-usage --window-size=1500,1000 --remote-debugging-pipe"
)


@contextmanager
def ended(command, **options):
    """A process of its own group, which ends with the block, or by itself if the test is killed before."""
    shell = ["timeout", "--kill-after=5", "300", *command]
    process = subprocess.Popen(shell, start_new_session=True, stdout=subprocess.DEVNULL, **options)
    try:
        yield process
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, number)
                process.wait(10)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue


@pytest.fixture(scope="module")
def sweep(tmp_path_factory, train_tiny, database, client):
    """A sweep of three jobs as MLflow holds it: two have finished, one failed before it had a run of its own."""
    folder, rates = tmp_path_factory.mktemp("sweep"), ("0.001", "0.003")
    place, uri = [*database, "logger=mlflow", "logger.experiment_name=page"], database[0].partition("=")[2]
    own = {"tracking_uri": uri, "experiment_name": "page", "run_name": "hunt", "resume": False}
    parent = SweepRun(**own, overrides=["optim.lr=0.001,0.003,0.01"])
    for number, rate in enumerate(rates):
        paths = [f"paths.output={folder / str(number)}", f"export_dir={folder / f'artifact_{number}'}"]
        train_tiny(*place, *paths, f"run_name=hunt_{number}", f"optim.lr={rate}")
    parent.end_job("hunt_2", ["optim.lr=0.01"], "no space left", killed=False)
    parent.end("FAILED", "1 of 3 jobs failed", folder / "jobs.csv")
    found = client.search_runs([parent.experiment_id], f"run_id != '{parent.run_id}'")
    names = {
        "name": "hunt",
        "children": {run.info.run_name: run.info.run_id for run in found},
        "finished": ["hunt_0", "hunt_1"],
        "failed": "hunt_2",
        "error": "no space left",
    }
    return SimpleNamespace(uri=uri, experiment=parent.experiment_id, rates=rates, **names)


@pytest.fixture(scope="module")
def server(tmp_path_factory, sweep):
    """Address of `mlflow server` over the sweep's database; artifacts of new experiments go through it."""
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    places = ["--backend-store-uri", sweep.uri, "--artifacts-destination", str(folder / "artifacts")]
    command = [sys.executable, "-m", "mlflow", "server", *places, "--host", "127.0.0.1", "--port", str(port)]
    log = folder / "server.log"
    with (
        log.open("w") as errors,
        ended([*command, "--workers", "1"], cwd=folder, stderr=errors, env=os.environ | QUIET) as run,
    ):
        address = f"http://127.0.0.1:{port}"
        for _ in range(10 * PATIENCE):
            assert run.poll() is None, log.read_text()
            try:
                urllib.request.urlopen(f"{address}/health", timeout=5).close()
                break
            except OSError:
                time.sleep(0.1)
        yield address


class Page:
    """A page of Chromium, spoken to in its DevTools protocol over a pair of pipes: no driver is needed."""

    def __init__(self, write, read):
        self.write, self.read, self.rest, self.number, self.session = write, read, b"", 0, {}
        target = next(t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page")["targetId"]
        self.session = {"sessionId": self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]}

    def call(self, method, **params):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params, **self.session}
        os.write(self.write, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self.rest:
                assert select.select([self.read], [], [], PATIENCE)[0], f"no answer to {method}"
                part = os.read(self.read, 1 << 20)
                assert part, "chromium has gone"
                self.rest += part
            text, _, self.rest = self.rest.partition(b"\0")
            answer = json.loads(text)
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                return answer["result"]

    def run(self, script):
        """The value of a script."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def text(self):
        return self.run("document.body?.innerText") or ""

    def open(self, address):
        self.call("Page.navigate", url="about:blank")  # or only the part behind # would change
        self.call("Page.navigate", url=address)

    def shows(self, *words):
        """Wait until the page shows all of these, and return all it shows."""
        end = time.monotonic() + PATIENCE
        while missing := [word for word in words if word not in (text := self.text())]:
            assert time.monotonic() < end, f"{missing} are not on the page: {text}"
            time.sleep(0.2)
        return text


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A page of headless Chromium."""
    if shutil.which("chromium") is None:
        pytest.skip("chromium: not installed")
    (theirs, write), (read, answers) = os.pipe(), os.pipe()
    # The protocol's two pipes are file descriptors 3 and 4.
    words = f"{CHROMIUM} --user-data-dir={tmp_path_factory.mktemp('chromium')} about:blank 3<&{theirs} 4>&{answers}"
    with ended(["bash", "-c", f"exec chromium {words}"], pass_fds=(theirs, answers), stderr=subprocess.DEVNULL):
        os.close(theirs)
        os.close(answers)
        yield Page(write, read)
    os.close(write)
    os.close(read)


EXPAND = """
[...document.querySelectorAll('[role=row]')].find(row => row.innerText.includes('%s')).querySelector('button').click()
"""


@pytest.mark.browser
def test_the_parent_is_shown_with_its_children_nested(page, server, sweep):
    page.open(f"{server}/#/experiments/{sweep.experiment}/runs?workflowType=machine_learning")
    before = page.shows(sweep.name)
    assert not [name for name in sweep.children if name in before.splitlines()]
    page.run(EXPAND % sweep.name)
    page.shows(*sweep.children)


@pytest.mark.browser
def test_the_compare_view_shows_in_what_children_differ(page, server, sweep):
    ids = json.dumps([sweep.children[name] for name in sweep.finished], separators=(",", ":"))
    page.open(f'{server}/#/compare-runs?runs={ids}&experiments=["{sweep.experiment}"]')
    text = page.shows(*sweep.finished, "exported/val/coverage_80", "predicted_against_actual.png")
    rows = dict(line.split("\t", 1) for line in text.splitlines() if "\t" in line)
    assert set(rows["optim.lr"].split("\t")) == set(sweep.rates)
    # The page draws the first parameters that differ.
    drawn = text.partition("Metrics:")[0].partition("Parameters:")[2].split()
    assert "optim.lr" in drawn


@pytest.mark.browser
def test_a_child_shows_parameters_and_its_plot(page, server, sweep):
    run = f"{server}/#/experiments/{sweep.experiment}/runs/{sweep.children[sweep.finished[0]]}"
    page.open(f"{run}?workflowType=machine_learning")
    page.shows(sweep.name, sweep.finished[0], "optim.lr", sweep.rates[0], "model.llm.hidden_size")
    page.open(f"{run}/artifacts/predicted_against_actual.png")
    page.shows("config.yaml", "predicted_against_actual.png")
    end = time.monotonic() + PATIENCE
    while not page.run("[...document.images].some(image => image.naturalWidth > 500)"):
        assert time.monotonic() < end, "the plot is not drawn"
        time.sleep(0.2)


@pytest.mark.browser
def test_a_failed_child_tells_its_error(page, server, sweep):
    page.open(f"{server}/#/experiments/{sweep.experiment}/runs/{sweep.children[sweep.failed]}")
    page.shows(sweep.failed, "Failed", "error", sweep.error)


def test_training_logs_to_a_server_and_is_compared_there(server, here, train_tiny, main, monkeypatch):
    from mlflow.tracking import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    train_tiny("run_name=afar", "logger=mlflow", "logger.experiment_name=remote", "trainer.log_every_n_steps=1")
    client = MlflowClient(server)
    [run] = client.search_runs([client.get_experiment_by_name("remote").experiment_id])
    assert run.info.status == "FINISHED"
    assert run.info.artifact_uri.startswith("mlflow-artifacts:")
    assert run.data.params["model.llm.hidden_size"] == "32"
    assert run.data.metrics["exported/val/rmsle"] == run.data.metrics["val/rmsle"]
    assert len(client.get_metric_history(run.info.run_id, "train/loss")) > 5
    config = yaml.safe_load(Path(client.download_artifacts(run.info.run_id, "config.yaml", str(here))).read_text())
    assert config["run_name"] == "afar"
    assert (
        Path(client.download_artifacts(run.info.run_id, "predicted_against_actual.png", str(here))).stat().st_size
        > 10_000
    )
    assert not list(here.glob("*.db"))
    assert main("compare", "experiment=remote", "paths.output=out").code == 0
    assert pl.read_csv("out/compare.csv")["run"].to_list() == ["afar"]

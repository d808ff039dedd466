"""Runs that a real database holds, ranked."""

import itertools
import math
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from behavesim.errors import UserError
from behavesim.tracking import ranking
from behavesim.tracking.exported import record_exported
from behavesim.tracking.ranking import lower_is_better, rank_runs

MONITOR = {"callbacks.checkpoint.monitor": "val/rmsle", "callbacks.checkpoint.mode": "min"}
START = 1_700_000_000_000  # milliseconds
NUMBERS, STARTS = itertools.count(), itertools.count(START)


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """One database for all tests of this file: making one takes seconds."""
    from mlflow.tracking import MlflowClient

    uri = f"sqlite:///{tmp_path_factory.mktemp('ranking') / 'mlflow.db'}"
    return SimpleNamespace(uri=uri, client=MlflowClient(uri))


@pytest.fixture
def experiment(store):
    """An experiment of a test's own: `add` a run, then `rank`."""
    name = f"experiment_{next(NUMBERS)}"
    experiment_id = store.client.create_experiment(name)

    def add(run, *, status="FINISHED", params=None, tags=None, start=None, seconds=60, **metrics):
        """Metrics are values, or one for each epoch; `__` stands for the slash of a name."""
        start = next(STARTS) if start is None else start
        run_id = store.client.create_run(experiment_id, start, dict(tags or {}), run).info.run_id
        for key, value in (params or {}).items():
            store.client.log_param(run_id, key, value)
        for key, values in metrics.items():
            for step, value in enumerate(values if isinstance(values, list) else [values]):
                store.client.log_metric(run_id, key.replace("__", "/"), value, START + step, step)
        if status != "RUNNING":
            store.client.set_terminated(run_id, status, start + 1000 * seconds)
        return run_id

    def rank(metric="val/rmsle", **given):
        return rank_runs(store.uri, experiment=name, metric=metric, **given)

    return SimpleNamespace(add=add, rank=rank, name=name, id=experiment_id)


def test_lower_first_or_higher_first(experiment):
    experiment.add("a", val__rmsle=0.5, val__spearman=0.8)
    experiment.add("b", val__rmsle=0.4, val__spearman=0.9)
    experiment.add("c", val__rmsle=0.6, val__spearman=0.95)
    assert experiment.rank().ranked["run"].to_list() == ["b", "a", "c"]
    assert experiment.rank("val/spearman").ranked["run"].to_list() == ["c", "b", "a"]
    assert experiment.rank().ranked["rank"].to_list() == [1, 2, 3]


def test_a_validation_metric_is_that_of_the_exported_epoch(experiment):
    experiment.add("overfit", params=MONITOR, val__rmsle=[0.9, 0.5, 0.8], val__mae=[9.0, 7.0, 3.0])
    experiment.add("steady", params=MONITOR, val__rmsle=[0.9, 0.7, 0.6], val__mae=[9.0, 8.0, 6.0])
    found = experiment.rank().ranked
    assert found["run"].to_list() == ["overfit", "steady"]
    assert found["value"].to_list() == [0.5, 0.6]
    # Not the best value of each metric, which would be of weights that nobody has.
    assert experiment.rank("val/mae").ranked["value"].to_list() == [6.0, 7.0]


def test_what_a_run_recorded_equals_what_its_history_says(experiment, store):
    run_id = experiment.add("a", params=MONITOR, val__rmsle=[0.9, math.nan, 0.5, 0.5, 0.8], val__mae=[5.0, 4, 3, 2, 1])
    before = [experiment.rank(metric).ranked["value"].to_list() for metric in ("val/rmsle", "val/mae")]
    record_exported(store.client, run_id)
    metrics = store.client.get_run(run_id).data.metrics
    assert before == [[metrics["exported/val/rmsle"]], [metrics["exported/val/mae"]]] == [[0.5], [3.0]]
    assert experiment.rank("exported/val/mae").metric == "val/mae"


def test_the_recorded_value_is_read_without_histories(experiment):
    experiment.add("a", params=MONITOR, val__rmsle=[0.9, 0.5], exported__val__rmsle=0.25)
    assert experiment.rank().ranked["value"].to_list() == [0.25]


def test_without_a_monitored_metric_the_last_epoch_is_exported(experiment):
    experiment.add("a", val__rmsle=[0.5, 0.8])
    experiment.add("b", params={"callbacks.checkpoint.monitor": "None"}, val__rmsle=[0.4, 0.9])
    assert experiment.rank().ranked["value"].to_list() == [0.8, 0.9]


def test_a_mode_of_max_is_followed(experiment):
    params = {"callbacks.checkpoint.monitor": "val/spearman", "callbacks.checkpoint.mode": "max"}
    experiment.add("a", params=params, val__spearman=[0.1, 0.9, 0.5], val__rmsle=[0.3, 0.6, 0.2])
    assert experiment.rank().ranked["value"].to_list() == [0.6]


def test_parents_are_no_rows_and_their_sweep_can_be_chosen(experiment):
    parent = experiment.add("sweep")
    for number, value in enumerate((0.5, 0.4)):
        experiment.add(f"sweep_{number}", tags={"mlflow.parentRunId": parent}, val__rmsle=value)
    experiment.add("alone", val__rmsle=0.1)
    assert experiment.rank().ranked["run"].to_list() == ["alone", "sweep_1", "sweep_0"]
    assert experiment.rank().frame.height == 3
    found = experiment.rank(sweep="sweep")
    assert found.ranked["run"].to_list() == ["sweep_1", "sweep_0"]
    assert found.frame["sweep"].to_list() == ["sweep", "sweep"]
    with pytest.raises(UserError, match=r"^sweep: found other; accepted: sweep$"):
        experiment.rank(sweep="other")


def test_evaluations_are_not_ranked(experiment):
    experiment.add("old", val__rmsle=0.5, test__rmsle=0.5)  # of before there were kinds
    experiment.add("trained", tags={"kind": "train"}, val__rmsle=0.4, test__rmsle=0.4)
    experiment.add("scored", tags={"kind": "evaluate"}, test__rmsle=0.1)
    experiment.add("failed", tags={"kind": "evaluate"}, status="FAILED")
    for metric in ("val/rmsle", "test/rmsle"):
        found = experiment.rank(metric)
        assert found.ranked["run"].to_list() == ["trained", "old"]
        assert (found.unscored, found.unfinished.height) == (0, 0)


def test_unfinished_runs_are_listed_and_not_ranked(experiment):
    experiment.add("good", val__rmsle=0.5)
    experiment.add("bad", status="FAILED", tags={"error": "no space"}, val__rmsle=0.1)
    experiment.add("gone", status="KILLED", val__rmsle=0.1)
    experiment.add("now", status="RUNNING", val__rmsle=0.1)
    found = experiment.rank()
    assert found.ranked["run"].to_list() == ["good"]
    assert found.unfinished.select("run", "status", "error").rows() == [
        ("bad", "FAILED", "no space"),
        ("gone", "KILLED", None),
        ("now", "RUNNING", None),
    ]
    assert found.unfinished["seconds"].to_list() == [60, 60, None]


def test_runs_without_a_number_are_counted(experiment):
    experiment.add("good", val__rmsle=0.5)
    experiment.add("other", test__rmsle=0.5)
    experiment.add("nan", val__rmsle=math.nan)
    experiment.add("infinite", val__rmsle=math.inf)
    found = experiment.rank()
    assert found.ranked["run"].to_list() == ["good"]
    assert found.unscored == 3
    assert found.frame.height == 4


def test_runs_of_one_name_are_all_shown(experiment):
    experiment.add("same", start=START, seconds=90, val__rmsle=0.5, run__samples_per_second=12.5)
    experiment.add("same", start=START + 60_000, val__rmsle=0.5)
    found = experiment.rank().ranked
    assert found["started"].to_list() == [datetime.fromtimestamp(START / 1000 + s, UTC) for s in (0, 60)]
    assert found["seconds"].to_list() == [90, 60]
    assert found["samples_per_second"].to_list() == [12.5, None]
    assert found["run_id"].n_unique() == 2


def test_settings_that_differ_are_columns(experiment):
    same = {"optim.schedule": "cosine", "model": "git_tiny"}
    experiment.add("a", params=same | {"optim.lr": "0.1", "optim.optimizer.lr": "0.1", "run_name": "a"}, val__rmsle=2)
    experiment.add("b", params=same | {"optim.lr": "0.2", "optim.optimizer.lr": "0.2", "run_name": "b"}, val__rmsle=1)
    found = experiment.rank()
    assert found.keys == ["optim.lr"]
    assert found.ranked["optim.lr"].to_list() == ["0.2", "0.1"]


def test_settings_of_the_command_line_come_first(experiment):
    for value in ("1", "2"):
        tags = {"overrides": f"z.z={value} b.b=1 run_name=r"}
        experiment.add("r", params={"a.a": value, "b.b": "1", "z.z": value}, tags=tags, val__rmsle=1.0)
    experiment.add("early", status="FAILED", tags={"overrides": "b.b=1"})
    assert experiment.rank().keys == ["z.z", "a.a"]


@pytest.mark.parametrize(
    ("first", "second", "split"),
    [
        ({}, {}, None),
        ({"data.split_seed": "0"}, {"data.split_seed": "1"}, {"data.split_seed": ["0", "1"]}),
        ({"data.path": "a.csv"}, {"data.path": "b.csv"}, {"data.path": ["a.csv", "b.csv"]}),
        ({"optim.lr": "0"}, {"optim.lr": "1"}, None),
        # The tweets themselves decide where both runs tell which these were.
        ({"data.path": "a.csv", "rows": "x"}, {"data.path": "./a.csv", "rows": "x"}, None),
        ({"data.path": "a.csv", "rows": "x"}, {"data.path": "a.csv", "rows": "y"}, {}),
        ({"data.test": "0.1", "rows": "x"}, {"data.test": "0.2"}, {"data.test": ["0.1", "0.2"]}),
    ],
    ids=str,
)
def test_runs_of_different_tweets_are_told(experiment, first, second, split):
    for params in (first, second):
        digest = {"held_out_rows": params["rows"]} if "rows" in params else {}
        params = {key: value for key, value in params.items() if key != "rows"}
        experiment.add("r", params=params, tags=digest, val__rmsle=1.0)
    assert experiment.rank().split == split


def test_failed_runs_of_other_tweets_disturb_nothing(experiment):
    experiment.add("good", params={"data.path": "a.csv"}, val__rmsle=1.0)
    experiment.add("bad", status="FAILED", params={"data.path": "b.csv"})
    assert experiment.rank().split is None


def test_the_store_is_read_page_by_page(experiment, monkeypatch):
    monkeypatch.setattr(ranking, "PAGE", 3)
    [experiment.add(f"run{number}", val__rmsle=float(number)) for number in range(7)]
    assert experiment.rank().ranked["run"].to_list() == [f"run{number}" for number in range(7)]


def test_an_unknown_metric_is_one_line_that_lists_those_recorded(experiment):
    experiment.add("a", val__rmsle=1.0, test__rmse=1.0, account_mean__rmsle=1.0, throughput__mfu=0.5, val__distinct=3.0)
    for wrong in ("val/rmsel", "rmsle", "val/distinct", "account_mean/rmsle", "val/mae"):
        with pytest.raises(UserError, match=rf"^metric: found {wrong}; accepted: val/rmsle, test/rmse$"):
            experiment.rank(wrong)


def test_an_experiment_without_runs_or_without_metrics(experiment, store):
    with pytest.raises(UserError, match=rf"^experiment: found {experiment.name}, which holds no runs; accepted: "):
        experiment.rank()
    experiment.add("a", status="FAILED")
    with pytest.raises(UserError, match=r"^metric: found val/rmsle; accepted: none, no run has logged any$"):
        experiment.rank()
    with pytest.raises(UserError, match=r"^experiment: found nowhere, .*; accepted: Default, .*experiment_0"):
        rank_runs(store.uri, experiment="nowhere", metric="val/rmsle")


def test_a_missing_database_stays_missing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"^tracking_uri: found sqlite:///mlflow.db, but there is no file mlflow.db; "):
        rank_runs("sqlite:///mlflow.db", experiment="behavesim", metric="val/rmsle")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("uri", ["sqlite:///{}/text.db", "http://me:secret@127.0.0.1:9", "nonsense://a"])
def test_what_is_no_store_is_one_line(tmp_path, uri, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    (tmp_path / "text.db").write_text("no database " * 100)
    with pytest.raises(UserError, match=r"^tracking_uri: found ") as caught:
        rank_runs(uri.format(tmp_path), experiment="behavesim", metric="val/rmsle")
    assert len(str(caught.value).splitlines()) == 1
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("metric", "lower"),
    [
        ("val/loss", True),
        ("val/parse_failures", True),
        ("test/crps_log", True),
        ("test/rmse_winsorised", True),
        ("test/r2_log", False),
        ("test/coverage_80", None),
        ("test/spearman", False),
        ("val/bleu_4", False),
        ("val/rougeL", False),
        ("run/samples_per_second", False),
        ("run/peak_memory_gib", True),
        ("throughput/mfu", None),
        ("val/other", None),
        ("noise_floor/rmsle", None),
    ],
)
def test_the_better_side(metric, lower):
    assert lower_is_better(metric) is lower

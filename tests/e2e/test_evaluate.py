"""Scores of a trained artifact on a table."""

import json

import polars as pl
import pytest

from behavesim.errors import UserError


def test_metrics_of_the_whole_table_are_those_of_training(evaluate, trained, tweets, here, caplog):
    trained_metrics = json.loads((trained.output / "metrics.json").read_text())
    with caplog.at_level("INFO", logger="behavesim"):
        metrics = evaluate(tweets)
    assert metrics["n"] == trained_metrics["n"]
    assert metrics.keys() == trained_metrics.keys() >= {"spearman_within"}
    assert {name: metrics[name] for name in trained_metrics} == pytest.approx(trained_metrics, rel=1e-5)
    written = json.loads((here / "outputs" / "evaluate" / "metrics.json").read_text())
    intervals, past, baselines = (written.pop(name) for name in ("intervals", "with_past", "baselines"))
    assert written == metrics
    assert past.pop("intervals").keys() == intervals.keys() == metrics.keys() - {"distinct", "n"}
    assert 0 < past["n"] <= metrics["n"] and past.keys() == metrics.keys()
    assert list(baselines) == ["account_mean", "rolling_mean", "constant"]
    assert all(low <= metrics[name] <= high for name, (low, high) in intervals.items())
    assert list(written)[:3] == ["rmse", "rmse_winsorised", "rmsle"]
    [line] = [message for message in caplog.messages if message.startswith("left out")]
    counts = [int(word) for word in line.split() if word.isdigit()]
    assert sum(counts) + metrics["n"] == tweets.height


def test_metrics_are_printed(evaluate, tweets, capsys):
    evaluate(tweets)
    out = capsys.readouterr().out
    for name in ("rmse", "rmsle", "mae", "spearman"):
        assert f"\n  {name} " in out


def test_the_report_stands_beside_the_scores(evaluate, tweets, here, trained):
    marked = tweets.with_columns(content=pl.format("<script>alert(1)</script> {}", "content"))
    metrics = evaluate(marked)
    page = (here / "outputs" / "evaluate" / "report.html").read_text()
    assert "artifact on in.parquet" in page
    assert f"{metrics['rmsle']:.3f}" in page
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert str(trained.artifact) in page
    assert "earlier known tweets" in page
    assert f"python -m behavesim.baselines data.path=… ckpt={trained.artifact}" in page
    assert "training tweets of the account alone" in page
    assert "data.history=train" in page


def test_groups_are_written_whole(evaluate, tweets, here):
    companies = [f"company {number % 40}" for number in range(tweets.height)]
    metrics = evaluate(tweets.with_columns(pl.Series("inferred company", companies)))
    found = pl.read_csv(here / "outputs" / "evaluate" / "breakdown.csv")
    assert found.columns[:4] == ["kind", "group", "n", "rmsle"]
    assert set(found["kind"]) == {"company", "earlier known tweets"}
    for (_,), groups in found.group_by("kind"):
        assert groups["n"].sum() == metrics["n"]
        assert (groups["n"] * groups["rmsle"] ** 2).sum() == pytest.approx(metrics["n"] * metrics["rmsle"] ** 2)
    assert found.filter(kind="company").height > 20  # more than the page shows


def test_answers_without_a_number_have_an_interval(evaluate, tweets, train_tiny, here):
    train_tiny("model.head=text", "task.samples=2", "run_name=writes")
    metrics = evaluate(tweets, f"ckpt={here / 'checkpoints' / 'writes'}")
    written = json.loads((here / "outputs" / "evaluate" / "metrics.json").read_text())
    low, high = written["intervals"]["parse_failures"]
    assert 0 <= low <= metrics["parse_failures"] == written["parse_failures"] <= high <= 1
    assert "parse_failures" in written["with_past"]["intervals"]
    assert "parse_failures" not in written["baselines"]["constant"]


def test_an_artifact_without_posts_says_where_baselines_are(evaluate, tweets, train_tiny, here):
    train_tiny("data.history=none", "run_name=blind")
    evaluate(tweets, f"ckpt={here / 'checkpoints' / 'blind'}")
    page = (here / "outputs" / "evaluate" / "report.html").read_text()
    assert "not even the constant" in page
    assert f"python -m behavesim.baselines data.path=… ckpt={here / 'checkpoints' / 'blind'}" in page
    assert json.loads((here / "outputs" / "evaluate" / "metrics.json").read_text())["baselines"] == {}
    groups = pl.read_csv(here / "outputs" / "evaluate" / "breakdown.csv")
    assert set(groups["kind"]) == {"company"}  # how much was known of an account is not known


def test_an_evaluation_is_a_run_of_its_own_kind(evaluate, tweets, here, client, database, runs_named, trained):
    metrics = evaluate(tweets, "logger=mlflow", "run_name=scored", *database)
    [run] = runs_named("scored")
    assert (run.info.status, run.data.tags["kind"]) == ("FINISHED", "evaluate")
    assert run.data.tags["mlflow.source.name"] == "behavesim.evaluate"
    assert run.data.tags["artifact"] == str(trained.artifact)
    assert run.data.tags["table"] == str(here / "in.parquet")
    assert run.data.metrics["test/rmsle"] == pytest.approx(metrics["rmsle"])
    assert run.data.metrics["test/crps_log"] == pytest.approx(metrics["crps_log"])
    files = {item.path for item in client.list_artifacts(run.info.run_id)}
    expected = {"report.html", "metrics.json", "breakdown.csv", "predicted_against_actual.png", "config.yaml"}
    assert expected <= files


def test_an_evaluation_that_fails_is_marked(evaluate, tweets, database, runs_named, monkeypatch):
    from behavesim import scoring

    def fail(*_):
        raise MemoryError("no room")

    monkeypatch.setattr(scoring, "predict", fail)
    with pytest.raises(MemoryError):
        evaluate(tweets, "logger=mlflow", "run_name=scored_badly", *database)
    [run] = runs_named("scored_badly")
    assert run.info.status == "FAILED"
    assert "no room" in run.data.tags["error"]


def test_a_new_id_does_not_make_a_trained_row_new(evaluate, tweets):
    renumbered = tweets.with_columns(pl.col("id") + 10_000)
    assert evaluate(renumbered)["n"] == evaluate(tweets)["n"]


def test_a_table_of_trained_rows_alone_is_refused(evaluate, trained, tweets, here):
    from behavesim.artifact import load_artifact
    from behavesim.data.output import write_table
    from behavesim.data.split import identity_hash
    from behavesim.data.table import read_table

    write_table(tweets, here / "all.parquet")
    [chunk] = read_table(here / "all.parquet", labelled=True)
    seen = pl.Series(identity_hash(chunk.frame)).is_in(load_artifact(trained.artifact).seen["train"].tolist())
    with pytest.raises(UserError, match=r"in.parquet: found \d+ labelled rows, all of which the artifact"):
        evaluate(tweets.filter(seen))


def test_unlabelled_rows_are_left_out_and_listed(evaluate, tweets, here):
    unlabelled = tweets.with_columns(likes=pl.when(pl.col("id") % 2 == 0).then(None).otherwise("likes"))
    assert 0 < evaluate(unlabelled)["n"] < evaluate(tweets)["n"]
    evaluate(unlabelled)
    rejected = pl.read_csv(here / "outputs" / "evaluate" / "rejected_rows.csv")
    assert rejected["id"].to_list() == list(range(2, 201, 2))


def test_unlabelled_likes_alone_are_refused(evaluate, tweets):
    with pytest.raises(UserError, match="likes"):
        evaluate(tweets.with_columns(likes=pl.lit(None, dtype=pl.Int64)))


def test_predict_and_evaluate_leave_no_encoded_rows_even_if_they_fail(here, predict, evaluate, tweets, monkeypatch):
    from behavesim import build

    predict(tweets)
    evaluate(tweets)
    monkeypatch.setattr(build, "trainer", lambda *_: (_ for _ in ()).throw(MemoryError()))
    for command in (predict, evaluate):
        with pytest.raises(MemoryError):
            command(tweets)
    assert not list(here.rglob("*encoded*"))


def test_baselines_are_of_the_rows_that_the_artifact_remembers(sample_table):
    from types import SimpleNamespace

    from behavesim.data.history import History
    from behavesim.metrics.baselines import account_mean, constant
    from behavesim.scoring import baselines_of

    train, rows = sample_table.all()[:150], sample_table.all()[150:]
    told = train.frame("identity", "username", "company", "date", "likes", "media_kind")
    history = History.of([told.with_columns(numbers=pl.lit([]))])
    found = baselines_of(SimpleNamespace(history=history), rows, history)
    assert list(found) == ["account mean", "rolling mean", "constant"]
    posts, accounts = train.frame("username", "likes"), rows.frame("username")["username"]
    likes = posts["likes"].to_numpy()
    assert (found["account mean"].quantiles == account_mean(posts["username"], likes, accounts).quantiles).all()
    assert (found["constant"].mean == constant(likes, 50).mean).all()
    assert baselines_of(SimpleNamespace(history=History.of([])), rows, History.of([])) == {}

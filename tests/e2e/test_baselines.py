"""`baselines`: what a model has to beat on the test rows of a split."""

import json
import sys

import polars as pl
import pytest

from behavesim.baselines import baselines as command
from behavesim.cli import compose
from behavesim.data.output import write_table
from behavesim.data.sample import ensure_sample
from behavesim.errors import UserError
from behavesim.metrics.estimates import LikesEstimates
from behavesim.metrics.likes import likes_metrics

NAMES = ("constant", "account mean", "rolling mean", "lightgbm")
TEXT_NAMES = ("nearest in time", "random tweet", "most typical", "nearest by metadata")


@pytest.fixture
def baselines(here, sample_overrides):
    """`baselines` on the small sample, or on a frame; returns the scores."""

    def call(*overrides, table=None):
        given = sample_overrides
        if table is not None:
            write_table(table, here / "in.parquet")
            given = (f"data.path={here / 'in.parquet'}",)
        if not any(text.startswith("logger=") for text in overrides):
            overrides = (*overrides, "logger=none")
        return command(compose("baselines", ["run_name=a", *given, *overrides]))

    return call


@pytest.fixture
def left(here):
    """Reads the predictions that the last run left."""
    return lambda: pl.read_parquet(here / "outputs" / "a" / "predictions.parquet")


def test_trees_beat_the_account_mean_on_the_sample(here, tmp_path_factory):
    folder = tmp_path_factory.mktemp("large") / "sample"
    ensure_sample(folder, rows=1600)
    sample = (f"data.sample.folder={folder}", "data.sample.rows=1600", "data.use_images=false")
    scores = command(compose("baselines", ["run_name=a", "logger=none", *sample]))
    assert scores["lightgbm"]["rmsle"] < scores["account mean"]["rmsle"] < scores["constant"]["rmsle"]
    assert scores["lightgbm"]["crps_log"] < scores["account mean"]["crps_log"]
    assert scores["rolling mean"]["rmsle"] < scores["constant"]["rmsle"]


def test_table_scores_and_predictions_agree(baselines, left, here, capsys):
    scores = baselines()
    out = capsys.readouterr().out
    written = json.loads((here / "outputs" / "a" / "metrics.json").read_text())
    table = pl.read_csv(here / "outputs" / "a" / "baselines.csv")
    assert table["baseline"].to_list() == list(scores) == list(NAMES)
    found = left()
    assert found.columns[:4] == ["id", "date", "username", "likes"]
    for name in NAMES:
        key = name.replace(" ", "_")
        low, high = written[key].pop("intervals")["rmsle"]
        assert low <= scores[name]["rmsle"] <= high
        [row] = table.filter(baseline=name).iter_rows(named=True)
        assert (row["rmsle_low"], row["rmsle_high"]) == pytest.approx((low, high))
        assert {metric: written[key][metric] for metric in scores[name]} == scores[name]
        estimates = LikesEstimates(*(found[f"{key}_{part}"].to_numpy() for part in ("mean", "logmean", "median")))
        again = likes_metrics(found["likes"].to_numpy(), estimates)
        assert again["rmsle"] == pytest.approx(scores[name]["rmsle"])
        assert f"{scores[name]['rmsle']:.4f}" in out and f"{low:.3f} to {high:.3f}" in out
    assert written["lightgbm"]["seconds_to_train"] > 0
    assert {"rmse_winsorised_low", "medae_low", "spearman_within_high", "top_1_share_high"} < set(table.columns)
    assert not [name for name in ("report.html", "breakdown.csv") if (here / "outputs" / "a" / name).exists()]


def test_rows_are_the_test_rows_of_training(baselines, left, trained):
    scores = baselines()
    assert scores["constant"]["n"] == json.loads((trained.output / "metrics.json").read_text())["n"]
    dates = left()["id"].cast(pl.Int64)
    assert dates.to_list() == sorted(dates)  # the table's order, in which the sample numbers its rows


def test_labels_of_test_rows_reach_no_prediction(baselines, left, tweets):
    baselines(table=tweets)
    before = left()
    test = pl.col("id").cast(pl.String).is_in(before["id"].to_list())
    shuffled = before["likes"].shuffle(seed=1)
    likes = tweets["likes"].to_numpy().copy()
    likes[tweets.select(test).to_series().to_numpy()] = shuffled
    baselines(table=tweets.with_columns(likes=pl.Series(likes)))
    after = left()
    assert after["likes"].to_list() == shuffled.to_list() != before["likes"].to_list()
    assert after.drop("likes").equals(before.drop("likes"))


def test_a_fold_has_other_test_rows(baselines, left):
    found = []
    for fold in range(5):
        baselines(f"data.fold={fold}")
        found += left()["id"].to_list()
    assert len(found) == len(set(found)) == 200


def test_accounts_of_unseen_companies_are_unknown(baselines, left):
    baselines("data.split=unseen_company")
    found = left()
    assert (found["account_mean_logmean"] - found["constant_logmean"]).abs().max() < 1e-9


def test_a_model_stands_first_and_has_a_report(baselines, left, trained, here):
    scores = baselines(f"ckpt={trained.artifact}")
    assert list(scores) == ["model", *NAMES]
    tested = json.loads((trained.output / "metrics.json").read_text())
    assert scores["model"]["rmsle"] == pytest.approx(tested["rmsle"], rel=1e-5)
    assert "model_logmean" in left().columns
    page = (here / "outputs" / "a" / "report.html").read_text()
    assert all(name in page for name in NAMES) and str(trained.artifact) in page
    assert "python -m behavesim.baselines" not in page  # nothing is missing
    groups = pl.read_csv(here / "outputs" / "a" / "breakdown.csv")
    assert groups.filter(kind="company")["n"].sum() == scores["model"]["n"]


def test_a_model_without_posts_has_its_baselines_here(baselines, train_tiny, here):
    train_tiny("data.history=none", "run_name=blind")
    scores = baselines(f"ckpt={here / 'checkpoints' / 'blind'}")
    assert list(scores) == ["model", *NAMES]
    assert set(NAMES) <= set(pl.read_csv(here / "outputs" / "a" / "baselines.csv")["baseline"])


def test_a_model_of_another_split_is_refused(baselines, trained, here):
    with pytest.raises(UserError, match=r"^ckpt=.*: found \d+ of the \d+ test rows among those that it was trained"):
        baselines(f"ckpt={trained.artifact}", "data.fold=1")
    assert not (here / "outputs" / "a" / "metrics.json").exists()


def test_scores_are_a_run_that_no_training_is(baselines, database, runs_named, client):
    scores = baselines("logger=mlflow", "run_name=guesses", *database)
    [run] = runs_named("guesses")
    assert (run.info.status, run.data.tags["kind"]) == ("FINISHED", "baselines")
    assert run.data.metrics["account_mean/rmsle"] == pytest.approx(scores["account mean"]["rmsle"])
    assert run.data.metrics["lightgbm/crps_log"] == pytest.approx(scores["lightgbm"]["crps_log"])
    files = {item.path for item in client.list_artifacts(run.info.run_id)}
    assert {"baselines.csv", "metrics.json", "predicted_against_actual.png"} <= files


def test_guesses_of_texts_stand_beside_what_a_model_writes(baselines, train_tiny, here, capsys):
    train_tiny("task=content", "task.text_tokens=12", "run_name=author", "trainer.max_steps=1")
    trained = json.loads((here / "outputs" / "author" / "metrics.json").read_text())
    capsys.readouterr()
    alone = baselines("task=content")
    assert list(alone) == list(TEXT_NAMES)
    scores = baselines(f"ckpt={here / 'checkpoints' / 'author'}")
    assert list(scores) == ["model", *TEXT_NAMES]
    assert {name: scores[name] for name in TEXT_NAMES} == alone
    assert scores["model"]["rouge_l"] == pytest.approx(trained["rouge_l"])  # the very rows that training tested on
    posted = pl.read_csv(here / "outputs" / "a" / "texts.csv")
    known = set(pl.read_csv(here / "outputs" / "a" / "texts.csv")["posted"])
    assert posted.height == trained["n"] and set(posted.columns) > {name.replace(" ", "_") for name in TEXT_NAMES}
    assert not known & set(posted["most_typical"])  # no guess is a test row's own text
    out = capsys.readouterr().out
    assert "nearest by metadata" in out and f"{alone['most typical']['cider']:.4f}" in out
    assert not (here / "outputs" / "a" / "predictions.parquet").exists()


def test_decoding_of_the_model_is_asked_here_too(baselines, train_tiny, here):
    train_tiny("task=content", "task.text_tokens=12", "run_name=author", "trainer.max_steps=1")
    ckpt = f"ckpt={here / 'checkpoints' / 'author'}"
    with pytest.raises(UserError, match=r"^task: found behaviour; accepted: content"):
        baselines(ckpt, "task=behaviour")
    baselines(ckpt, "task=content", "task.decode=consensus", "task.draws=3", "task.alternatives=2")
    with pytest.raises(UserError, match=r"^task.decode: found greedy without ckpt=; accepted: null, no model is asked"):
        baselines("task=content", "task.decode=greedy")
    assert {"written", "written_2"} < set(pl.read_csv(here / "outputs" / "a" / "texts.csv").columns)


@pytest.mark.parametrize(("module", "name"), [("lightgbm", "lightgbm"), ("sklearn", "scikit-learn")])
def test_a_missing_library_is_one_line(here, main, sample_overrides, monkeypatch, module, name):
    monkeypatch.setitem(sys.modules, module, None)
    run = main("baselines", *sample_overrides, "run_name=a")
    assert run.code == 2
    [line] = [line for line in run.lines if line.startswith("error")]
    assert line.startswith(f"error: behavesim.baselines: needs {name} (")
    assert line.endswith("; accepted: pip install 'behavesim[baselines]'")
    assert "seed: found -1" in main("baselines", "seed=-1").err  # a wrong configuration is said first
    assert not (here / "mlflow.db").exists()


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("lightgbm.num_leaves=1", "lightgbm.num_leaves: found 1; accepted: greater than or equal to 2"),
        ("lightgbm.subsample=1.5", "lightgbm.subsample: found 1.5"),
        ("lightgbm.leaves=3", "lightgbm.leaves: no such key"),
        ("ckpt=gone", "ckpt: found gone, which does not exist; accepted: an artifact directory"),
        ("model.head=text", "model: no such key"),
    ],
)
def test_wrong_settings_are_one_line(here, main, override, line):
    run = main("baselines", override)
    assert run.code == 2 and line in run.err
    assert len([text for text in run.lines if text.startswith("error")]) == 1

"""A table prepared once: counts, folders that trainings and predictions share, pictures from every origin."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from behavesim import inputs
from behavesim.cli import compose
from behavesim.data.output import write_table
from behavesim.data.prepared import PreparedTable

COLUMN = ("media=column", "image_column=local_path")
SHOWN = (
    "rows in the source",
    "prepared",
    "prepared, with likes",
    "pictures",
    "rejected",
    "pictures that could not be had",
)


@pytest.fixture
def prepare(here, main):
    """The command on a frame, which is written as .csv first, or on a file; the folder is `data/mine`."""

    def call(table, *overrides):
        if isinstance(table, pl.DataFrame):
            write_table(table, here / "t.csv")
            table = "t.csv"
        return main("prepare", f"source={table}", "name=mine", *overrides)

    return call


def counts(run):
    """The numbers of the first table that the command prints."""
    found = {name: re.search(rf"(?m)^  {name} +([\d,]+)$", run.out) for name in SHOWN}
    return {name: int(match[1].replace(",", "")) for name, match in found.items()}


def mine(name=""):
    return Path("data") / "mine" / name


def test_every_source_row_is_counted_once(prepare, tweets):
    bad = tweets.with_columns(
        date=pl.when(pl.col("id") == 3).then(pl.lit("soon")).otherwise("date"),
        username=pl.when(pl.col("id") == 3).then(pl.lit("")).otherwise("username"),
        likes=pl.when(pl.col("id") <= 10).then(None).otherwise("likes"),
    )
    run = prepare(bad, *COLUMN)
    assert run.code == 0, run.err
    found = counts(run)
    pictures = tweets.filter(pl.col("id") != 3)["local_path"].str.count_matches(";", literal=True) + 1
    assert found == {
        "rows in the source": 200,
        "prepared": 199,
        "rejected": 1,
        "prepared, with likes": 190,
        "pictures": pictures.sum(),
        "pictures that could not be had": 0,
    }
    for kind in ("random", "unseen_time", "unseen_company"):
        parts = re.search(rf"(?m)^  {kind} +(\d+) +(\d+) +(\d+) +(\d+)", run.out).groups()
        assert sum(map(int, parts)) == 190
    assert pl.read_parquet(mine("rejected.parquet")).rows() == [
        (4, "3", "date | username", "soon | nothing", pl.read_parquet(mine("rejected.parquet"))["reason"][0])
    ]
    assert json.loads(mine("manifest.json").read_text())["counts"]["source_rows"] == 200
    assert "python -m behavesim.train data.path=data/mine" in run.out + run.err
    assert sorted(path.name for path in Path("data").iterdir() if not path.name.endswith(".lock")) == ["mine"]


def test_a_second_time_it_says_so_does_nothing_and_loads_nothing_heavy(here, prepare, tweets):
    first = prepare(tweets, *COLUMN)
    assert "up to date" not in first.out + first.err
    before = {path: path.stat().st_mtime_ns for path in mine().rglob("*")}
    script = (
        "import sys; from behavesim.prepare import main; main(); "
        "print('heavy:', *sorted({'torch', 'lightning', 'transformers', 'mlflow'} & set(sys.modules)))"
    )
    arguments = ["source=t.csv", "name=mine", *COLUMN]
    run = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True)
    assert f"{mine()} is up to date" in run.stdout + run.stderr
    assert "\nheavy:\n" in run.stdout
    assert {path: path.stat().st_mtime_ns for path in mine().rglob("*")} == before
    assert [line for line in first.out.splitlines() if "  " in line] == [
        line for line in run.stdout.splitlines() if "  " in line
    ]


def test_a_change_of_the_source_of_options_or_of_a_picture_is_prepared_anew(here, prepare, tweets):
    local = here / "one.png"
    shutil.copy(tweets["local_path"].drop_nulls()[0].split(";")[0], local)
    table = tweets.head(60).with_columns(local_path=pl.lit("one.png"))
    fingerprints = []
    for change in (lambda: None, lambda: os.utime(local, (1, 1))):
        change()
        prepare(table, *COLUMN)
        fingerprints.append(PreparedTable(mine()).manifest.fingerprint)
    prepare(table, *COLUMN, "image_size=32")
    fingerprints.append(PreparedTable(mine()).manifest.fingerprint)
    prepare(table.head(50), *COLUMN, "image_size=32")
    assert len(PreparedTable(mine())) == 50
    fingerprints.append(PreparedTable(mine()).manifest.fingerprint)
    assert len(set(fingerprints)) == 4


def test_a_folder_and_its_raw_table_give_the_same_model_predictions_and_scores(
    here, prepare, train_tiny, tweets, caplog
):
    from behavesim.evaluate import evaluate
    from behavesim.predict import predict

    assert prepare(tweets, *COLUMN).code == 0
    raw, folder = ("data.path=t.csv", "data.image_column=local_path"), ("data.path=data/mine",)
    runs = {"raw": train_tiny(*raw, "run_name=raw"), "folder": train_tiny(*folder, "run_name=folder")}
    metrics = [json.loads((here / "outputs" / name / "metrics.json").read_text()) for name in runs]
    assert metrics[0] == metrics[1]
    assert runs["raw"].objective == runs["folder"].objective
    tables, scores = [], []
    for name, table in (("raw", "t.csv"), ("raw", "data/mine"), ("folder", "data/mine")):
        ckpt = f"ckpt=checkpoints/{name}"
        predict(compose("predict", [ckpt, f"input={table}", "output=out.parquet", "run_name=p"]))
        tables.append(pl.read_parquet("out.parquet"))
        scores.append(evaluate(compose("evaluate", [ckpt, f"data.path={table}", "run_name=e", "logger=none"])))
    assert tables[0]["id"].to_list() == tweets["id"].to_list()
    for table, score in zip(tables[1:], scores[1:], strict=True):
        assert_frame_equal(table, tables[0])
        assert score == scores[0]
    assert not list(here.rglob("encoded"))
    with caplog.at_level("INFO", logger="behavesim"):
        predict(compose("predict", ["ckpt=checkpoints/folder", "input=t.csv", "output=blind.parquet", "run_name=p"]))
    assert "t.csv: read without pictures; data.image_column=COLUMN or a prepared folder gives them" in caplog.messages
    given = ["ckpt=checkpoints/folder", "input=t.csv", "output=out.parquet", "run_name=p"]
    predict(compose("predict", [*given, "data.image_column=local_path"]))
    assert_frame_equal(pl.read_parquet("out.parquet"), tables[0])


def test_an_unlabelled_folder_is_predicted_and_not_trained(here, prepare, predict, main, tweets):
    prepare(tweets.drop("likes"), *COLUMN)
    assert_frame_equal(predict("data/mine"), predict(tweets))
    run = main("train", "data.path=data/mine", "logger=none", "run_name=a")
    assert run.code == 2
    assert run.err.splitlines()[-1] == (
        "error: data/mine: found 200 rows, none that can be used; accepted: at least one with likes"
    )


@pytest.mark.parametrize("table", ["data/mine", "t.csv"])
def test_a_picture_column_goes_with_a_raw_table_alone(here, prepare, main, trained, tweets, table):
    prepare(tweets.head(60))
    given = [f"ckpt={trained.artifact}", "output=out.csv", "run_name=p", "data.image_column=local_path"]
    run = main("predict", *given, f"input={table}")
    if table == "t.csv":
        assert run.code == 0, run.err
        return
    assert run.code == 2
    assert run.lines == ["error: data.image_column: found local_path with the prepared table data/mine; accepted: null"]


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["media=folder", "images_dir=t.csv"], "images_dir: found t.csv, which is no folder; accepted: a folder of"),
        (["media=folder", "images_dir=gone"], "images_dir: found gone, which is no folder; accepted: a folder of"),
        (["media=column", "image_column=path"], "t.csv: no column path"),
        (["name=taken"], "data/taken: found other things than a prepared table; accepted: another name"),
        (["features=true"], "features: data/mine holds no pictures; accepted: media=download, folder or column"),
    ],
)
def test_what_is_wrong_is_one_line(here, prepare, tweets, overrides, line):
    (here / "data" / "taken").mkdir(parents=True)
    (here / "data" / "taken" / "thesis.txt").write_text("years of work")
    run = prepare(tweets.head(5), *overrides)
    assert run.code == 2
    errors = [text for text in run.lines if text.startswith("error: ")]
    assert len(errors) == 1 and errors[0].startswith(f"error: {line}"), run.err
    assert "Traceback" not in run.err
    assert (here / "data" / "taken" / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("manifest.json", "found schema 99; accepted: 1, prepare the table again"),
        ("rejected.parquet", "damaged ("),
        ("rows/00000.arrow", "damaged ("),
        ("images/00000.arrow", "damaged ("),
    ],
)
def test_a_damaged_folder_is_one_line(here, prepare, main, trained, tweets, name, line):
    prepare(tweets.head(40), *COLUMN)
    mine(name).write_text('{"schema": 99}')
    for table in ("data/mine", "data/mine/"):
        run = main("predict", f"ckpt={trained.artifact}", f"input={table}", "output=out.csv", "run_name=p")
        assert run.code == 2 and "Traceback" not in run.err
        [error] = [text for text in run.lines if text.startswith("error: ")]
        assert error.startswith("error: data/mine/") and f": {line}" in error
    assert not (here / "out.csv").exists()


def test_a_table_without_a_usable_row_is_predicted_as_empty_lines(here, prepare, predict, main, tweets):
    bad = tweets.head(20).with_columns(date=pl.lit("soon"))
    found = predict(bad, "data.on_bad_row=skip")
    assert found["id"].to_list() == bad["id"].to_list()
    assert found.drop("id").null_count().row(0) == (20,) * 5
    run = prepare(bad)
    assert (counts(run)["prepared"], counts(run)["rejected"]) == (0, 20)
    assert_frame_equal(predict("data/mine"), found)
    assert "none that can be used" in main("train", "data.path=data/mine", "logger=none").lines[-1]


def test_rows_that_are_appended_to_a_prepared_table_move_no_others(here, prepare, tweets):
    def split(*overrides):
        data = inputs.datamodule(compose("train", ["data.path=data/mine", "data.split=unseen_time", *overrides]))
        return data.split.test_from, {part: rows.frame("id")["id"].to_list() for part, rows in data.parts.items()}

    ordered = tweets.sort("date")
    prepare(ordered.head(150))
    test_from, before = split()
    [record] = [record for record in PreparedTable(mine()).manifest.splits if record.kind == "unseen_time"]
    assert record.test_from == test_from.isoformat()
    assert record.rows == {part: len(ids) for part, ids in before.items()}
    run = prepare(ordered)
    kept, after = split()
    assert kept == test_from
    for part in ("train", "validation"):
        assert set(after[part]) <= set(before[part])
    assert set(after["test"]) == {*before["test"], *map(str, ordered["id"][150:])}
    assert str(test_from) in run.out.replace("T", " ")
    assert split("data.test_from='2020-10-01'")[0].isoformat() == "2020-10-01T00:00:00"
    assert split("data.test=0.3")[0] != test_from  # shares that were not prepared have cuts of their own

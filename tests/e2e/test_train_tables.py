"""Training on a user's own table."""

import polars as pl
import pytest

from behavesim import inputs
from behavesim.cli import compose
from behavesim.data.output import write_table
from behavesim.errors import UserError


@pytest.fixture
def rejected(here):
    return lambda name: pl.read_csv(here / "outputs" / name / "rejected_rows.csv")


def test_a_path_alone_means_a_table_of_tweets(here, tweets):
    write_table(tweets, here / "t.csv")
    cfg = compose("train", ["data.path=t.csv"])
    assert cfg.data.sample is None
    assert cfg.data.path == "t.csv"


def test_every_format_gives_the_same_split(here, tweets):
    parts = []
    for extension in ("csv", "xlsx", "parquet"):
        write_table(tweets, here / f"t.{extension}")
        data = inputs.datamodule(compose("train", [f"data.path=t.{extension}"]))
        parts.append({part: rows.frame("id")["id"].to_list() for part, rows in data.parts.items()})
    assert parts[0] == parts[1] == parts[2]
    assert all(parts[0].values())


def test_a_table_without_pictures_trains(here, train_tiny, tweets):
    write_table(tweets.drop("local_path"), here / "t.xlsx")
    train_tiny("data.path=t.xlsx", "run_name=a")
    assert (here / "checkpoints" / "a" / "model.safetensors").is_file()
    assert (here / "outputs" / "a" / "metrics.json").is_file()


def test_without_use_images_no_picture_is_read(here, train_tiny, tweets):
    gone = tweets.with_columns(local_path=pl.lit(str(here / "gone.png")))
    write_table(gone, here / "t.csv")
    overrides = ("data.path=t.csv", "data.image_column=local_path")
    with pytest.raises(UserError, match="no such file"):
        train_tiny(*overrides)
    train_tiny(*overrides, "data.use_images=false", "run_name=a")
    assert (here / "checkpoints" / "a" / "model.safetensors").is_file()


def test_unlabelled_rows_are_left_out_counted_and_listed(here, train_tiny, tweets, rejected, caplog):
    unlabelled = tweets.with_columns(likes=pl.when(pl.col("id") <= 7).then(None).otherwise("likes"))
    write_table(unlabelled, here / "t.csv")
    with caplog.at_level("INFO", logger="behavesim"):
        train_tiny("data.path=t.csv", "run_name=a")
    assert "7 of 200 rows cannot be used" in caplog.text
    table = rejected("a")
    assert table["id"].to_list() == [1, 2, 3, 4, 5, 6, 7]
    assert table["row"].to_list() == [2, 3, 4, 5, 6, 7, 8]
    assert set(table["reason"]) == {"no likes"}


def test_bad_rows_are_skipped_on_demand_and_listed(here, train_tiny, tweets, rejected, caplog):
    bad = tweets.with_columns(
        date=pl.when(pl.col("id") == 3).then(pl.lit("yesterday")).otherwise("date"),
        likes=pl.when(pl.col("id") == 5).then(-1).otherwise("likes"),
    )
    write_table(bad, here / "t.csv")
    with caplog.at_level("INFO", logger="behavesim"):
        train_tiny("data.path=t.csv", "run_name=a", "data.on_bad_row=skip")
    assert "2 of 200 rows cannot be used" in caplog.text
    assert rejected("a").select("row", "id", "column", "found").rows() == [
        (4, 3, "date", "yesterday"),
        (6, 5, "likes", "-1"),
    ]


@pytest.mark.parametrize("split", ["unseen_time", "unseen_company"])
def test_every_split_trains(here, train_tiny, split):
    train_tiny(f"data.split={split}", "debug=fdr", "run_name=a")
    assert (here / "outputs" / "a" / "metrics.json").is_file()


def test_several_pictures_of_a_tweet_train(here, train_tiny):
    train_tiny("model.frames=3", "debug=fdr", "run_name=a")
    assert (here / "outputs" / "a" / "metrics.json").is_file()


def test_a_raw_table_is_split_at_given_dates(here, train_tiny, tweets):
    write_table(tweets, here / "t.csv")
    overrides = ["data.path=t.csv", "data.split=unseen_time", "data.test_from='2020-06-01'"]
    data = inputs.datamodule(compose("train", overrides))
    dates = {part: rows.frame("date")["date"] for part, rows in data.parts.items()}
    assert dates["test"].min().isoformat() >= "2020-06-01" > dates["validation"].max().isoformat()
    later = tweets["date"].cast(pl.String).str.head(10) >= "2020-06-01"
    assert len(dates["test"]) == later.sum()
    train_tiny(*overrides, "debug=fdr", "run_name=a")
    assert (here / "outputs" / "a" / "metrics.json").is_file()


@pytest.mark.parametrize(("likes", "date", "found"), [("3 | 4", None, "3 [|] 4"), ("-3", "soon", "-3")])
def test_the_first_problem_of_a_row_is_shown_whole_and_alone(here, train_tiny, tweets, likes, date, found):
    bad = tweets.with_columns(
        likes=pl.when(pl.col("id") == 3).then(pl.lit(likes)).otherwise(pl.col("likes").cast(pl.String)),
        date=pl.when((pl.col("id") == 3) & pl.lit(date is not None)).then(pl.lit(date)).otherwise("date"),
    )
    write_table(bad, here / "t.csv")
    line = rf"t.csv, row 4, column likes: found {found}; accepted: a whole number, 0 or more \(1 such row in all"
    with pytest.raises(UserError, match=line):
        train_tiny("data.path=t.csv")

"""Predictions of a trained artifact."""

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from behavesim import build, inputs, scoring
from behavesim.artifact import Artifact, load_artifact, seen_hashes
from behavesim.cli import compose
from behavesim.results import export
from behavesim.training.likes_module import LikesModule

COLUMNS = ["id", "likes", "likes_logmean", "likes_median", "likes_p10", "likes_p90"]


@pytest.mark.parametrize("extension", ["parquet", "csv", "xlsx"])
def test_every_row_gets_one_row_in_its_order(predict, tweets, extension):
    backwards = tweets.reverse()
    found = predict(backwards, output=f"out.{extension}")
    assert found.columns == COLUMNS
    assert found["id"].to_list() == backwards["id"].to_list()
    assert found.null_count().sum_horizontal().item() == 0


@pytest.mark.parametrize("extension", ["csv", "xlsx"])
def test_every_input_format_gives_the_same_predictions(here, predict, tweets, extension):
    from behavesim.data.output import write_table

    write_table(tweets, here / f"t.{extension}")
    assert_frame_equal(predict(here / f"t.{extension}"), predict(tweets))


def test_likes_are_neither_needed_nor_read(predict, tweets):
    expected = predict(tweets)
    assert_frame_equal(predict(tweets.drop("likes")), expected)
    assert_frame_equal(predict(tweets.with_columns(likes=pl.lit(None, dtype=pl.Int64))), expected)
    assert_frame_equal(predict(tweets.with_columns(likes=pl.lit(123))), expected)


def test_a_prediction_does_not_depend_on_the_other_rows(predict, tweets):
    whole = predict(tweets)
    shuffled = predict(tweets.sample(fraction=1, shuffle=True, seed=1))
    assert_frame_equal(shuffled.sort("id"), whole.sort("id"), abs_tol=0.002, rel_tol=1e-4)
    some = predict(tweets.head(10))
    assert_frame_equal(some, whole.head(10), abs_tol=0.002, rel_tol=1e-4)


def test_quantiles_are_in_order_and_predictions_differ(predict, tweets):
    found = predict(tweets)
    assert found.select((pl.col("likes_p10") <= pl.col("likes_median")).all()).item()
    assert found.select((pl.col("likes_median") <= pl.col("likes_p90")).all()).item()
    assert found.select(pl.col(COLUMNS[1:]).min() >= 0).row(0) == (True,) * 5
    assert found["likes"].n_unique() > 150


def test_pictures_matter_and_a_table_without_them_is_predicted(predict, tweets):
    with_pictures, without = predict(tweets), predict(tweets.drop("local_path"))
    has_none = tweets["local_path"].is_null()
    assert_frame_equal(with_pictures.filter(has_none), without.filter(has_none), abs_tol=0.002, rel_tol=1e-4)
    assert (with_pictures["likes"] != without["likes"]).filter(~has_none).mean() > 0.9


def test_an_unusable_row_is_an_empty_line_in_its_place(here, predict, tweets):
    bad = tweets.with_columns(date=pl.when(pl.col("id") == 3).then(pl.lit("soon")).otherwise("date"))
    found = predict(bad, "data.on_bad_row=skip")
    assert found["id"].to_list() == tweets["id"].to_list()
    assert found.row(2) == (3, None, None, None, None, None)
    assert found.drop_nulls().height == 199
    assert pl.read_csv(here / "outputs" / "predict" / "rejected_rows.csv")["id"].to_list() == [3]


def test_ids_are_copied_as_they_are(predict, tweets):
    named = tweets.head(5).with_columns(id=pl.Series(["a", "b", "007", "b", None]))
    assert predict(named)["id"].to_list() == ["a", "b", "007", "b", None]


def test_an_existing_output_is_replaced(here, predict, tweets, caplog):
    (here / "out.parquet").write_text("old")
    with caplog.at_level("INFO", logger="behavesim"):
        assert predict(tweets.head(3)).height == 3
    assert "out.parquet exists and is replaced" in caplog.text


def test_the_artifact_predicts_what_the_trained_model_did(here, sizes, sample_overrides):
    cfg = compose("train", [*sizes, *sample_overrides, "logger=none", "export_dir=exported"])
    data = inputs.datamodule(cfg)
    model, bins = build.model(cfg, data)
    build.trainer(cfg).fit(LikesModule(model, build.module(cfg, model, data).optimizer), data)
    export(cfg, data, model, bins)
    fresh = Artifact(model.eval(), data.encoder, bins, build.plain(cfg), seen_hashes(data.parts))
    scored = compose("predict", ["ckpt=exported", f"input={data_path(cfg)}", "output=out.csv"])
    test = data.parts["test"]
    expected = scoring.predict(scored, fresh, test)
    found = scoring.predict(scored, load_artifact(here / "exported"), test)
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)


def data_path(cfg):
    return f"{cfg.data.sample.folder}/tweets.csv"

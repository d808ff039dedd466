"""What the rows of each part are told of their accounts, and of their texts."""

import itertools
from dataclasses import replace
from datetime import timedelta
from functools import cache

import numpy as np
import polars as pl
import pytest
import torch

from behavesim.data.batch import NUMBERS
from behavesim.data.datamodule import TweetDataModule
from behavesim.data.encoder_fit import EncoderSettings
from behavesim.data.gp.kernel import Points
from behavesim.data.gp.process import GaussianProcess
from behavesim.data.history import History
from behavesim.data.loader import LoaderSettings
from behavesim.data.pictures.readers import Blind
from behavesim.data.split import SplitSettings
from behavesim.data.view import TRAINING_VIEWS, View

ENCODING = EncoderSettings("ours", 64, 0, tokenizer=None, vocab_size=400, text_summary=5)
LOADING = LoaderSettings(tokens_per_batch=600, num_workers=0, frames=0)
SPLIT = SplitSettings("random", 0.2, 0.2, 0)


@pytest.fixture(scope="module")
def build(sample_table, tmp_path_factory):
    """A module on the sample's rows; one that is like another is that one, unless its folder is given."""

    @cache
    def make(history="train", folder=None, **encoding):
        folder = folder or tmp_path_factory.mktemp("encoded")
        options = {"split": SPLIT, "seed": 0, "folder": folder, "history": history}
        told = replace(ENCODING, history=0 if history == "none" else 2, **encoding)
        return TweetDataModule(sample_table.labelled(), Blind(), LOADING, told, **options)

    return make


NOTHING = History.of([])


def views_of(encoder, training, everything, part, mode):
    """What rows of a part may look back on."""
    process = encoder.process
    if mode == "none":
        return [View(process, NOTHING, NOTHING, new=part == "train")] * (TRAINING_VIEWS if part == "train" else 1)
    if part == "train":
        seen = [(training, training), (training, NOTHING), (training.mirror(), NOTHING), (NOTHING, NOTHING)]
        return [View(process, history, memory, new=True) for history, memory in seen]
    return [View(process, everything if mode == "rolling" else training, training)]


@pytest.mark.parametrize("mode", ["none", "train", "rolling"])
@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_rows_look_back_on_what_the_mode_says(build, sample_table, part, mode):
    data = build(history=mode)
    encoder, encoded, frame = data.encoder, data.encoded[part], data.parts[part].frame()
    training = encoder.posts([data.parts["train"].frame()])
    everything = [sample_table.labelled()] if part == "test" else [data.parts[name] for name in ("train", "validation")]
    everything = encoder.posts([rows.frame() for rows in everything])
    views = views_of(encoder, training, everything, part, mode)
    expected = encoder.encode(frame, views)
    for name in NUMBERS:
        np.testing.assert_allclose(getattr(encoded, name), getattr(expected, name), rtol=1e-5, atol=1e-6, err_msg=name)
    assert encoded.history_valid.shape == (len(frame), len(views), 0 if mode == "none" else 2)
    kept = [] if mode == "none" else training.posts["identity"].to_list()
    assert data.history.posts["identity"].to_list() == encoder.memory.posts["identity"].to_list() == kept


@pytest.mark.parametrize("mode", ["none", "train", "rolling"])
def test_validation_rows_can_be_told_in_every_mode(build, mode):
    """What a calibration asks for: from nothing, of strangers, to all earlier posts; never of test rows."""
    data = build(history=mode)
    assert data.other_modes == (
        [] if mode == "none" else [other for other in ("none", "train", "rolling") if other != mode]
    )
    encoder, frame = data.encoder, data.parts["validation"].frame()
    posts = {"train": [data.parts["train"].frame()]} | {
        "rolling": [data.parts[part].frame() for part in ("train", "validation")]
    }
    for other in data.other_modes:
        nothing = View(encoder.process, NOTHING, NOTHING, new=True)
        view = nothing if other == "none" else encoder.view(encoder.posts(posts[other]))
        expected, rows = encoder.encode(frame, [view]), []
        for batch in data.validation_told(other):
            rows += batch.rows.tolist()
            for name in NUMBERS:
                found, wanted = getattr(batch, name).numpy(), getattr(expected, name)[batch.rows.numpy()]
                np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6, err_msg=name)
        assert sorted(rows) == list(range(len(frame)))


def test_the_views_of_training_rows_differ(build):
    data = build()
    encoded = data.encoded["train"]
    for one, other in itertools.combinations(range(TRAINING_VIEWS), 2):
        assert (encoded.statistics[:, one] != encoded.statistics[:, other]).any()
    assert not encoded.history_valid[:, 3].any() and encoded.history_valid[:, :3].any(axis=(0, 2)).all()
    assert (encoded.history[:, 0] == encoded.history[:, 1]).all()  # posts are told of the past alone


def test_without_history_an_encoder_remembers_nothing(build):
    data = build(history="none")
    assert data.encoder.history == len(data.history) == len(data.encoder.memory) == 0
    assert all((encoded.statistics[..., 1] == 0).all() for encoded in data.encoded.values())
    assert (data.encoded["train"].prior == data.encoded["train"].prior[:, :1]).all()


@pytest.mark.parametrize("shows", [("time", "media", "wording"), ("media", "wording")])
def test_where_time_is_not_shown_the_date_says_only_what_is_earlier(build, shows):
    data = build(shows=shows)
    frame = data.parts["test"].frame()
    one, other = (
        data.encoder.encode(frame.with_columns(pl.col("date") + timedelta(days, 4321)), data.views("test"))
        for days in (1500, 2001)  # later than all posts
    )
    assert (one.history_valid == other.history_valid).all() and one.history_valid.any()
    same = [
        np.array_equal(one.tokens, other.tokens),
        np.array_equal(one.features, other.features),
        np.allclose(one.prior, other.prior, atol=1e-5),
        np.allclose(one.statistics, other.statistics, atol=1e-5),
    ]
    assert same == [("time" not in shows)] * 4


@pytest.mark.parametrize("mode", ["none", "train", "rolling"])
def test_the_process_is_fitted_on_training_rows_alone_and_once(build, mode, tmp_path, monkeypatch):
    data = build(history=mode, folder=tmp_path / "run")
    training = data.encoder.posts([data.parts["train"].frame()])
    points = Points.of(training.posts, training.numbers, data.encoder.features.count)
    expected = GaussianProcess.fit(points, training.logs)
    assert torch.equal(data.encoder.process.weights, expected.weights)
    assert data.encoder.process.without.keys() == expected.without.keys()
    monkeypatch.setattr(GaussianProcess, "fit", None)
    again = build(history=mode, folder=tmp_path / "run").encoder
    assert torch.equal(again.process.weights, expected.weights) and again.facts() == data.encoder.facts()


def test_rows_are_encoded_anew_for_another_history(build, tmp_path):
    found = [build(history=mode, folder=tmp_path / "run").encoded["test"] for mode in ("train", "rolling")]
    assert (found[0].statistics != found[1].statistics).any()


def test_the_summary_of_texts_is_fitted_on_training_rows_alone(build):
    data = build()
    encoder = data.encoder
    numbers = encoder.summary.transform(encoder.content_ids(data.parts["train"].frame()))
    assert numbers.shape[1] == 5
    np.testing.assert_allclose(numbers.mean(axis=0), 0, atol=0.1)
    np.testing.assert_allclose(numbers.var(axis=0), 1, atol=0.15)
    np.testing.assert_allclose(data.encoded["train"].features[:, -5:], numbers, atol=1e-4)
    assert data.encoded["test"].features.shape[1] == encoder.width == encoder.features.count + 5

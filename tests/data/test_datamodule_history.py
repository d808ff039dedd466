"""What the rows of each part are told of their accounts, and of their texts."""

import numpy as np
import pytest

from behavesim.data.batch import NUMBERS
from behavesim.data.datamodule import EncoderSettings, TweetDataModule
from behavesim.data.history import History
from behavesim.data.loader import LoaderSettings
from behavesim.data.pictures.readers import Blind
from behavesim.data.split import SplitSettings

ENCODING = EncoderSettings("ours", 64, 0, tokenizer=None, vocab_size=400, history=2, text_summary=5)
LOADING = LoaderSettings(tokens_per_batch=600, num_workers=0, frames=0)
SPLIT = SplitSettings("random", 0.2, 0.2, 0)


@pytest.fixture(scope="module")
def build(sample_table, tmp_path_factory):
    """A module on the sample's rows."""

    def make(history="train", folder=None):
        folder = folder or tmp_path_factory.mktemp("encoded")
        options = {"split": SPLIT, "seed": 0, "folder": folder, "history": history}
        return TweetDataModule(sample_table.labelled(), Blind(), LOADING, ENCODING, **options)

    return make


@pytest.mark.parametrize("mode", ["none", "train", "rolling"])
@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_rows_look_back_on_what_the_mode_says(build, sample_table, part, mode):
    data = build(history=mode)
    encoded, frame = data.encoded[part], data.parts[part].frame()
    training = data.encoder.features.history([data.parts["train"].frame()] if mode != "none" else [])
    everything = data.encoder.features.history([sample_table.labelled().frame()])
    views = [training, training.mirror(), History.of([])]
    if part != "train":
        views = [everything if mode == "rolling" else training]
    expected = data.encoder.encode(frame, views)
    for name in NUMBERS:
        np.testing.assert_allclose(getattr(encoded, name), getattr(expected, name), rtol=1e-5, atol=1e-6, err_msg=name)
    assert encoded.history_valid.shape == (len(frame), len(views), 0 if mode == "none" else 2)
    assert data.history.posts["identity"].to_list() == training.posts["identity"].to_list()


def test_the_three_views_of_training_rows_differ(build):
    data = build()
    encoded = data.encoded["train"]
    assert all((encoded.statistics[:, one] != encoded.statistics[:, other]).any() for one, other in ((0, 1), (1, 2)))
    assert not encoded.history_valid[:, 2].any() and encoded.history_valid[:, :2].any(axis=(0, 2)).all()


def test_without_history_no_account_has_a_number(build):
    data = build(history="none")
    assert data.encoder.features.accounts == data.encoder.features.companies == () and data.encoder.history == 0
    assert len(data.history) == 0 and all((encoded.names == 0).all() for encoded in data.encoded.values())


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
    assert data.encoded["test"].features.shape[1] == encoder.feature_count == encoder.features.count + 5

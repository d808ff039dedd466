"""From places of pictures to what a batch holds of them."""

import io
import pickle

import numpy as np
import polars as pl
import pytest
from PIL import Image
from polars.testing import assert_series_equal

from behavesim.data.pictures.features import FeatureStore
from behavesim.data.pictures.readers import Blind, StoredFeatures, StoredPictures, decode

COLOUR = (200, 30, 10)


def noise(size=(40, 24)):
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8))


def file_of(picture, kind="png", **options):
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def test_pixels_are_those_of_pillow():
    picture = noise()
    found = decode(file_of(picture), 12)
    scaled = picture.resize((20, 12), Image.Resampling.BICUBIC)  # the shorter side fits, the middle stays
    assert found.dtype == np.uint8 and found.shape == (3, 12, 12)
    assert (found.transpose(1, 2, 0) == np.asarray(scaled)[:, 4:16]).all()


def test_a_picture_of_the_right_size_is_untouched_and_rgb():
    picture = noise((16, 16))
    assert (decode(file_of(picture), 16) == np.asarray(picture).transpose(2, 0, 1)).all()


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (200, 3), (7, 8), (8, 8), (33, 31)])
def test_any_shape_becomes_the_square(size):
    assert decode(file_of(noise(size)), 8).shape == (3, 8, 8)


@pytest.mark.parametrize(
    ("mode", "kind", "colour", "expected"),
    [
        ("L", "png", 90, (90, 90, 90)),
        ("LA", "png", (90, 255), (90, 90, 90)),
        ("1", "png", 1, (255, 255, 255)),
        ("RGBA", "png", (200, 30, 10, 255), (200, 30, 10)),
        ("L", "jpeg", 90, (90, 90, 90)),
        ("RGB", "jpeg", (200, 30, 10), (200, 30, 10)),
        ("CMYK", "jpeg", (0, 255, 255, 0), (255, 0, 0)),
        ("RGB", "webp", (200, 30, 10), (200, 30, 10)),
    ],
)
def test_every_kind_of_picture_becomes_rgb(mode, kind, colour, expected):
    found = decode(file_of(Image.new(mode, (64, 48), colour), kind), 8)
    assert np.abs(found.mean(axis=(1, 2)) - expected).max() <= 4


@pytest.mark.parametrize("kind", ["png", "gif"])
def test_a_palette_becomes_its_colours(kind):
    picture = Image.new("RGB", (20, 20), COLOUR).convert("P", palette=Image.Palette.ADAPTIVE)
    assert np.abs(decode(file_of(picture, kind), 8).mean(axis=(1, 2)) - COLOUR).max() <= 2


def test_a_large_jpeg_is_close_to_its_full_decoding():
    gradient = np.linspace(0, 255, 640)[None, :, None] * np.ones((480, 1, 3))
    content = file_of(Image.fromarray(gradient.astype(np.uint8)), "jpeg", quality=95)
    with Image.open(io.BytesIO(content)) as file:
        whole = np.asarray(file.resize((21, 16), Image.Resampling.BICUBIC))[:, 2:18].transpose(2, 0, 1)
    assert np.abs(decode(content, 16).astype(int) - whole).max() <= 8


def test_stored_pictures_are_close_to_their_files(sample_table, sample_source):
    reader = StoredPictures(sample_table, 16)
    assert reader.states is None
    files = sorted((sample_source.parent / "images").iterdir())
    for index in (0, 7, 221):
        found = reader.load(index)
        assert found.shape == (3, 16, 16) and found.dtype == np.uint8
        # Through a JPEG of noisy 64 pixels: close, not equal.
        assert np.abs(found.astype(int) - decode(files[index].read_bytes(), 16)).mean() < 10


def test_stored_pictures_are_listed_as_prepared(sample_table, sample_frame):
    reader = StoredPictures(sample_table, 16)
    assert_series_equal(reader.lists(sample_frame), sample_frame["images"])
    copy = pickle.loads(pickle.dumps(reader))
    assert (copy.load(3) == reader.load(3)).all()


def test_stored_features_are_listed_by_id(tmp_path):
    states = np.arange(3 * 2 * 4, dtype=np.float32).reshape(3, 2, 4)
    np.savez(tmp_path / "f.npz", id=np.array(["7", "5", "7"]), image_embedding=states)
    reader = StoredFeatures(FeatureStore.open(tmp_path / "f.npz"))
    assert reader.states == (2, 4)
    lists = reader.lists(pl.DataFrame({"id": ["5", "6", None, "7"], "images": [[9], [9], [], []]}))
    assert lists.dtype == pl.List(pl.Int64) and lists.to_list() == [[1], [], [], [0, 2]]
    assert (reader.load(2) == states[2]).all() and reader.load(2).dtype == np.float32


def test_a_blind_reader_sees_nothing(sample_frame):
    lists = Blind().lists(sample_frame)
    assert lists.dtype == pl.List(pl.Int64) and len(lists) == 200 and lists.list.len().sum() == 0
    assert len(Blind().lists(sample_frame.clear())) == 0
    with pytest.raises(LookupError):
        Blind().load(0)

"""From encoded tweets and picture files to tensors."""

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

from behavesim.artifact import data_facts
from behavesim.cli import CONF
from behavesim.data.batch import TweetDataset
from behavesim.data.datamodule import EncoderSettings, LoaderSettings, TweetDataModule
from behavesim.data.encode import EncodedTweets
from behavesim.data.images import load_picture
from behavesim.errors import UserError
from behavesim.models.binning import LikesBins
from behavesim.training.module import targets_of

TEXTS = [[1, 5, 6, 7], [1, 8], [1, 9, 10]]
COLOURS = [(200, 30, 10), (20, 220, 40), (10, 40, 230)]


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """Three pictures, each of one colour."""
    folder = tmp_path_factory.mktemp("pictures")
    for place, colour in enumerate(COLOURS):
        Image.new("RGB", (20, 16), colour).save(folder / f"{place}.png")
    return [str(folder / f"{place}.png") for place in range(3)]


def dataset(images=((), (), ()), frames=1):
    encoded = EncodedTweets(
        tokens=np.concatenate(TEXTS).astype(np.int32),
        offsets=np.array([0, 4, 6, 9]),
        answer_length=np.array([2, 0, 1]),
        features=np.arange(6, dtype=np.float32).reshape(3, 2),
        prior=np.array([0.5, 1.5, 2.5], dtype=np.float32),
        likes=np.array([3.0, np.nan, 7.0]),
        images=images,
    )
    return TweetDataset(encoded, pad_id=0, frames=frames, image_size=8)


def noise(size=(40, 24)):
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8))


def test_texts_are_padded_on_the_right_to_the_longest_of_the_batch():
    batch = dataset().__getitems__([1, 2])
    assert batch.input_ids.tolist() == [[1, 8, 0], [1, 9, 10]]
    assert batch.attention_mask.tolist() == [[1, 1, 0], [1, 1, 1]]
    assert dataset()[0].input_ids.tolist() == [TEXTS[0]]


def test_numbers_follow_the_order_of_the_rows():
    batch = dataset().__getitems__([2, 0, 1])
    assert batch.rows.tolist() == [2, 0, 1] and batch.features.tolist() == [[4, 5], [0, 1], [2, 3]]
    assert batch.prior.tolist() == [2.5, 0.5, 1.5] and batch.answer_length.tolist() == [1, 2, 0]
    assert batch.likes[:2].tolist() == [7, 3] and batch.likes[2].isnan()
    types = (batch.rows, batch.input_ids, batch.attention_mask, batch.features, batch.prior, batch.likes)
    assert [value.dtype for value in types] == [torch.int64] * 3 + [torch.float32] * 3


def test_the_model_is_given_no_likes():
    assert set(dataset()[0].inputs()) == {
        "input_ids",
        "attention_mask",
        "features",
        "pixel_values",
        "image_slot",
    }


@pytest.mark.parametrize(
    ("frames", "slots", "shown"),
    [(1, [0, 2], [0, 2]), (2, [0, 1, 4], [0, 1, 2]), (3, [0, 1, 6], [0, 1, 2])],
)
def test_a_picture_s_slot_is_its_row_and_frame(paths, frames, slots, shown):
    batch = dataset([paths[:2], [], paths[2:]], frames).__getitems__([0, 1, 2])
    assert batch.image_slot.tolist() == slots and batch.image_slot.dtype == torch.int64
    assert batch.pixel_values.shape == (len(slots), 3, 8, 8) and batch.pixel_values.dtype == torch.uint8
    assert [tuple(picture[:, 4, 4].tolist()) for picture in batch.pixel_values] == [COLOURS[i] for i in shown]


def test_slots_count_places_in_the_batch_not_rows_of_the_table(paths):
    batch = dataset([paths[:1], [], paths[2:]], 2).__getitems__([2, 1])
    assert batch.image_slot.tolist() == [0]


@pytest.mark.parametrize("frames", [0, 1, 2])
def test_a_batch_without_pictures_has_no_pixels(paths, frames):
    images = [paths, paths, paths] if frames == 0 else [[], [], []]
    batch = dataset(images, frames).__getitems__([0, 1])
    assert batch.pixel_values is None and batch.image_slot is None


def test_pixels_are_those_of_pillow(tmp_path):
    picture = noise()
    picture.save(tmp_path / "a.png")
    found = load_picture(tmp_path / "a.png", 12)
    scaled = picture.resize((20, 12), Image.Resampling.BICUBIC)  # the shorter side fits, the middle stays
    assert found.dtype == np.uint8 and found.shape == (3, 12, 12)
    assert (found.transpose(1, 2, 0) == np.asarray(scaled)[:, 4:16]).all()


def test_a_picture_of_the_right_size_is_untouched_and_rgb(tmp_path):
    picture = noise((16, 16))
    picture.save(tmp_path / "a.png")
    assert (load_picture(tmp_path / "a.png", 16) == np.asarray(picture).transpose(2, 0, 1)).all()


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (200, 3), (7, 8), (8, 8), (33, 31)])
def test_any_shape_becomes_the_square(tmp_path, size):
    noise(size).save(tmp_path / "a.png")
    assert load_picture(tmp_path / "a.png", 8).shape == (3, 8, 8)


@pytest.mark.parametrize(
    ("mode", "ending", "colour", "expected"),
    [
        ("L", "png", 90, (90, 90, 90)),
        ("LA", "png", (90, 255), (90, 90, 90)),
        ("1", "png", 1, (255, 255, 255)),
        ("RGBA", "png", (200, 30, 10, 255), (200, 30, 10)),
        ("L", "jpg", 90, (90, 90, 90)),
        ("RGB", "jpg", (200, 30, 10), (200, 30, 10)),
        ("CMYK", "jpg", (0, 255, 255, 0), (255, 0, 0)),
        ("RGB", "webp", (200, 30, 10), (200, 30, 10)),
    ],
)
def test_every_kind_of_picture_becomes_rgb(tmp_path, mode, ending, colour, expected):
    Image.new(mode, (64, 48), colour).save(tmp_path / f"a.{ending}")
    found = load_picture(tmp_path / f"a.{ending}", 8)
    assert np.abs(found.mean(axis=(1, 2)) - expected).max() <= 4


@pytest.mark.parametrize("ending", ["png", "gif"])
def test_a_palette_becomes_its_colours(tmp_path, ending):
    Image.new("RGB", (20, 20), COLOURS[0]).convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / f"a.{ending}")
    assert np.abs(load_picture(tmp_path / f"a.{ending}", 8).mean(axis=(1, 2)) - COLOURS[0]).max() <= 2


def test_a_large_jpeg_is_close_to_its_full_decoding(tmp_path):
    gradient = np.linspace(0, 255, 640)[None, :, None] * np.ones((480, 1, 3))
    Image.fromarray(gradient.astype(np.uint8)).save(tmp_path / "a.jpg", quality=95)
    with Image.open(tmp_path / "a.jpg") as file:
        whole = np.asarray(file.resize((21, 16), Image.Resampling.BICUBIC))[:, 2:18].transpose(2, 0, 1)
    assert np.abs(load_picture(tmp_path / "a.jpg", 16).astype(int) - whole).max() <= 8


@pytest.mark.parametrize("content", [b"", b"no picture", "half"])
def test_a_broken_picture_is_named(tmp_path, content):
    path = tmp_path / "broken.png"
    if content == "half":
        noise().save(path)
        content = path.read_bytes()[:900]
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"broken\.png: no readable picture .*; accepted: ") as error:
        load_picture(path, 8)
    assert "\n" not in str(error.value)


def test_a_missing_picture_is_named(tmp_path):
    with pytest.raises(UserError, match=r"gone\.png: no readable picture"):
        load_picture(tmp_path / "gone.png", 8)


@pytest.fixture(scope="module")
def data(sample_table):
    settings = LoaderSettings(tokens_per_batch=600, num_workers=0, frames=1, image_size=16)
    shares = {"split": "random", "validation": 0.2, "test": 0.2, "split_seed": 0}
    encoding = EncoderSettings(style="ours", max_length=64, answer_tokens=0, tokenizer=None, vocab_size=400)
    return TweetDataModule(sample_table.frame, settings, encoding, **shares, seed=0)


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_a_loader_yields_every_row_of_its_part_once(data, part):
    loaders = {"train": data.train_dataloader, "validation": data.val_dataloader, "test": data.test_dataloader}
    batches = list(loaders[part]())
    rows = torch.cat([batch.rows for batch in batches])
    frame = data.frames[part]
    assert sorted(rows.tolist()) == list(range(frame.height)) and frame.height > 10
    likes = torch.cat([batch.likes for batch in batches])
    assert likes.tolist() == frame["likes"].gather(rows.numpy()).to_list()
    pictures = sum(0 if batch.pixel_values is None else len(batch.pixel_values) for batch in batches)
    assert pictures == (frame["images"].list.len() > 0).sum() > 0


def test_training_batches_keep_the_budget(data):
    for batch in data.train_dataloader():
        assert batch.input_ids.numel() <= 600 or len(batch.rows) == 1
        assert (batch.attention_mask.sum(dim=1) <= 64).all()
        assert (batch.input_ids[batch.attention_mask == 0] == data.encoder.tokenizer.pad_token_id).all()


def test_parts_cover_the_table(data, sample_table):
    assert sum(frame.height for frame in data.frames.values()) + data.dropped == sample_table.rows
    assert data.train_likes.tolist() == data.frames["train"]["likes"].to_list()


def test_a_model_runs_on_a_real_batch(data, tiny_model):
    task = OmegaConf.load(CONF / "task" / "behaviour.yaml")
    model = tiny_model(facts=data_facts(task, data.encoder, LikesBins.fit(data.train_likes, 12)))
    batch = next(iter(data.train_dataloader()))
    with torch.no_grad():
        loss, estimates = model.score(batch.inputs(), targets_of(batch))
    assert loss.isfinite()
    assert all(len(values) == len(batch.rows) and torch.isfinite(values).all() for values in estimates.values())

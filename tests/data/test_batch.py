"""From encoded tweets and pictures to tensors."""

import numpy as np
import pytest
import torch

from behavesim.data.batch import TweetDataset
from behavesim.data.encoded import EncodedTweets, offsets_of

TEXTS = [[1, 5, 6, 7], [1, 8], [1, 9, 10]]
COLOURS = [(200, 30, 10), (20, 220, 40), (10, 40, 230)]


class Pictures:
    """Small pictures in memory, each of one colour."""

    states = None

    def load(self, index):
        return np.tile(np.array(COLOURS[index], np.uint8)[:, None, None], (1, 8, 8))


def dataset(images=((), (), ()), frames=1, reader=None):
    encoded = EncodedTweets(
        tokens=np.concatenate(TEXTS).astype(np.int32),
        offsets=np.array([0, 4, 6, 9]),
        answer_length=np.array([2, 0, 1]),
        features=np.arange(6, dtype=np.float32).reshape(3, 2),
        statistics=np.arange(24, dtype=np.float32).reshape(3, 2, 4),
        prior=np.array([[0.5, 5], [1.5, 15], [2.5, 25]], dtype=np.float32),
        history=np.arange(36, dtype=np.float32).reshape(3, 2, 2, 3),
        history_valid=np.array([[[True, True], [False, False]], [[True, False]] * 2, [[False, False]] * 2]),
        likes=np.array([3.0, np.nan, 7.0]),
        pictures=np.array([index for row in images for index in row], dtype=np.int64),
        picture_offsets=offsets_of([len(row) for row in images]),
    )
    return TweetDataset(encoded, pad_id=0, frames=frames, reader=reader or Pictures())


def test_texts_are_padded_on_the_right_to_the_longest_of_the_batch():
    batch = dataset().__getitems__([1, 2])
    assert batch.input_ids.tolist() == [[1, 8, 0], [1, 9, 10]]
    assert batch.attention_mask.tolist() == [[1, 1, 0], [1, 1, 1]]
    assert dataset()[0].input_ids.tolist() == [TEXTS[0]]


def test_numbers_follow_the_order_of_the_rows():
    batch = dataset().__getitems__([2, 0, 1])
    assert batch.rows.tolist() == [2, 0, 1] and batch.features.tolist() == [[4, 5], [0, 1], [2, 3]]
    assert batch.prior[:, 0].tolist() == [2.5, 0.5, 1.5] and batch.answer_length.tolist() == [1, 2, 0]
    assert batch.likes[:2].tolist() == [7, 3] and batch.likes[2].isnan()
    assert batch.statistics[:, 0, 0].tolist() == [16, 0, 8] and batch.history[:, 1, 0, 0].tolist() == [30, 6, 18]
    assert batch.history_valid[1].tolist() == [[True, True], [False, False]] and batch.history_valid.dtype == torch.bool
    types = (batch.rows, batch.input_ids, batch.attention_mask)
    assert [value.dtype for value in types] == [torch.int64] * 3
    types = (batch.features, batch.statistics, batch.prior, batch.history, batch.likes)
    assert [value.dtype for value in types] == [torch.float32] * 5


def test_the_model_is_given_no_likes():
    assert set(dataset()[0].inputs()) == {
        "input_ids",
        "attention_mask",
        "features",
        "statistics",
        "history",
        "history_valid",
        "pixel_values",
        "image_slot",
    }


def test_each_row_is_shown_in_the_view_that_is_chosen():
    batch = dataset().__getitems__([2, 0, 1])
    seen = batch.view(torch.tensor([1, 0, 1]))
    assert seen.prior.tolist() == [[25], [0.5], [15]] and seen.statistics[:, 0, 0].tolist() == [20, 0, 12]
    assert seen.history.shape == (3, 1, 2, 3) and seen.history_valid.shape == (3, 1, 2)
    for name in ("statistics", "history", "history_valid"):
        whole = getattr(batch, name)
        assert torch.equal(seen.inputs()[name], torch.stack([whole[0, 1], whole[1, 0], whole[2, 1]]))
        assert torch.equal(batch.inputs()[name], whole[:, 0])
    for name in ("rows", "input_ids", "features", "likes"):
        assert getattr(seen, name) is getattr(batch, name)


@pytest.mark.parametrize(
    ("frames", "slots", "shown"),
    [(1, [0, 2], [0, 2]), (2, [0, 1, 4], [0, 1, 2]), (3, [0, 1, 6], [0, 1, 2])],
)
def test_a_picture_s_slot_is_its_row_and_frame(frames, slots, shown):
    batch = dataset([[0, 1], [], [2]], frames).__getitems__([0, 1, 2])
    assert batch.image_slot.tolist() == slots and batch.image_slot.dtype == torch.int64
    assert batch.pixel_values.shape == (len(slots), 3, 8, 8) and batch.pixel_values.dtype == torch.uint8
    assert [tuple(picture[:, 4, 4].tolist()) for picture in batch.pixel_values] == [COLOURS[i] for i in shown]


def test_slots_count_places_in_the_batch_not_rows_of_the_table():
    batch = dataset([[0], [], [2]], 2).__getitems__([2, 1])
    assert batch.image_slot.tolist() == [0]


@pytest.mark.parametrize("frames", [0, 1, 2])
def test_a_batch_without_pictures_has_no_pixels(frames):
    images = [[0, 1, 2]] * 3 if frames == 0 else [[], [], []]
    batch = dataset(images, frames).__getitems__([0, 1])
    assert batch.pixel_values is None and batch.image_slot is None


def test_only_the_pictures_that_are_seen_are_loaded():
    class Counted(Pictures):
        def load(self, index):
            loaded.append(index)
            return super().load(index)

    loaded = []
    dataset([[0, 1, 2], [], [2, 1]], 2, Counted()).__getitems__([2, 0])
    assert loaded == [2, 1, 0, 1]


def test_stored_states_take_the_place_of_pixels():
    class States:
        states = (4, 5)

        def load(self, index):
            return np.full((4, 5), index, np.float32)

    batch = dataset([[7], [], [9]], reader=States()).__getitems__([2, 0])
    assert batch.pixel_values.shape == (2, 4, 5) and batch.pixel_values.dtype == torch.float32
    assert batch.pixel_values[:, 0, 0].tolist() == [9, 7] and batch.image_slot.tolist() == [0, 1]

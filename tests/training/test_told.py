"""What a training row is told of its account."""

import pytest
import torch

from behavesim.training.module import Telling

ROWS = 4000
SOME = Telling(nothing=0.3, others=0.5, mirrored=0.4)
SHARES = [
    (0.0, 0.0, 0.0),
    (0.3, 0.0, 0.0),
    (0.0, 0.6, 0.0),
    (0.0, 0.0, 0.4),
    (0.3, 0.6, 0.4),
    (0.2, 1.0, 0.4),
    (0.2, 0.5, 1.0),
    (1.0, 0.5, 0.5),
]


@pytest.fixture(scope="module")
def batch(batch_of):
    return batch_of([3] * ROWS)


def views_of(seen):
    """The number of the view that each row was given: [B]; see `batch_of`."""
    return ((seen.prior[:, 0] - 1) / 10).round().long()


@pytest.mark.parametrize(("nothing", "others", "mirrored"), SHARES)
def test_rows_see_all_others_or_look_back_or_ahead_or_at_nothing_in_the_given_shares(batch, nothing, others, mirrored):
    views = views_of(Telling(nothing, others, mirrored).draw(batch))
    shares = torch.bincount(views, minlength=4).double() / ROWS
    one_way = (1 - nothing) * (1 - others)
    expected = [(1 - nothing) * others, one_way * (1 - mirrored), one_way * mirrored, nothing]
    assert shares.tolist() == pytest.approx(expected, abs=0.04)
    assert all(share == 0 for share, wanted in zip(shares, expected, strict=True) if wanted == 0)


def test_unless_told_otherwise_rows_look_back(batch):
    assert views_of(Telling().draw(batch)).unique().tolist() == [1]


def test_all_that_is_told_of_a_row_is_of_one_view(batch):
    seen = SOME.draw(batch)
    views = views_of(seen)
    assert views.unique().tolist() == [0, 1, 2, 3]
    rows = torch.arange(ROWS)
    for name in ("statistics", "prior", "history", "history_valid"):
        found = getattr(seen, name)
        assert found.shape[:2] == (ROWS, 1)
        assert torch.equal(found[:, 0], getattr(batch, name)[rows, views]), name


def test_a_row_is_told_something_else_in_every_epoch(batch):
    first, second = views_of(SOME.draw(batch)), views_of(SOME.draw(batch))
    assert (first == second).double().mean() < 0.5


def test_what_a_row_shows_itself_stays(batch):
    seen, untouched = SOME.draw(batch), ("rows", "input_ids", "attention_mask", "answer_length", "features", "likes")
    assert all(torch.equal(getattr(seen, name), getattr(batch, name)) for name in untouched)
    assert batch.prior.shape == (ROWS, 4)  # nor does the batch itself change


def test_a_model_reads_the_first_view(batch):
    inputs = batch.inputs()
    for name in ("statistics", "history", "history_valid"):
        assert torch.equal(inputs[name], getattr(batch, name)[:, 0])

"""Which past a training row is told of."""

import pytest
import torch

from behavesim.training.module import told

ROWS = 4000


@pytest.fixture(scope="module")
def batch(batch_of):
    return batch_of([3] * ROWS)


def views_of(seen):
    """The number of the view that each row was given: [B]; see `batch_of`."""
    return ((seen.prior[:, 0] - 1) / 10).round().long()


@pytest.mark.parametrize(("nothing", "mirrored"), [(0.0, 0.0), (0.3, 0.0), (0.0, 0.4), (0.3, 0.4), (1.0, 0.5)])
def test_rows_look_back_ahead_or_at_nothing_in_the_given_shares(batch, nothing, mirrored):
    views = views_of(told(batch, nothing, mirrored))
    shares = torch.bincount(views, minlength=3).double() / ROWS
    expected = [(1 - nothing) * (1 - mirrored), (1 - nothing) * mirrored, nothing]
    assert shares.tolist() == pytest.approx(expected, abs=0.04)
    assert all(share == 0 for share, wanted in zip(shares, expected, strict=True) if wanted == 0)


def test_all_that_is_told_of_a_row_is_of_one_view(batch):
    seen = told(batch, 0.3, 0.4)
    views = views_of(seen)
    rows = torch.arange(ROWS)
    for name in ("statistics", "prior", "history", "history_valid"):
        found = getattr(seen, name)
        assert found.shape[:2] == (ROWS, 1)
        assert torch.equal(found[:, 0], getattr(batch, name)[rows, views]), name


def test_a_row_that_is_told_nothing_has_no_name_and_the_others_keep_theirs(batch):
    seen = told(batch, 0.3, 0.4)
    hidden = views_of(seen) == 2
    assert seen.names[hidden].abs().max() == 0 and batch.names[hidden].max() > 0
    assert torch.equal(seen.names[~hidden], batch.names[~hidden])


def test_what_a_row_shows_itself_stays(batch):
    seen, untouched = told(batch, 0.5, 0.5), ("rows", "input_ids", "attention_mask", "features", "likes")
    assert all(torch.equal(getattr(seen, name), getattr(batch, name)) for name in untouched)
    assert batch.names.max() > 0 and batch.prior.shape == (ROWS, 3)  # nor does the batch itself change


def test_validation_is_told_of_the_past_alone(batch):
    inputs = batch.inputs()
    for name in ("statistics", "history", "history_valid"):
        assert torch.equal(inputs[name], getattr(batch, name)[:, 0])
    assert torch.equal(inputs["names"], batch.names)

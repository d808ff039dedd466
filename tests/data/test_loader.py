"""Reading a plan from any place in it."""

import random

import numpy as np
import pytest
import torch
from lightning.fabric.utilities.types import _Stateful

from behavesim.data.batching import plan_batches
from behavesim.data.loader import TweetLoader

LENGTHS = np.random.default_rng(0).integers(10, 60, 60)


class Rows:
    """A dataset whose batches are their own row positions; it remembers which were decoded."""

    def __init__(self):
        self.decoded = []

    def __getitems__(self, rows):
        self.decoded.append(rows)
        return torch.tensor(rows)


class Draws:
    """A dataset that draws."""

    def __getitems__(self, rows):
        return torch.rand(1).item()


@pytest.fixture
def loader():
    """Builder of a loader over `Rows`."""

    def build(dataset=None, **settings):
        return TweetLoader(Rows() if dataset is None else dataset, plan, **settings)

    return build


def plan(epoch):
    return plan_batches(LENGTHS, 300, shuffle=True, seed=3, epoch=epoch)


def planned(epoch):
    return [batch.tolist() for batch in plan(epoch)]


def read(loader):
    return [batch.tolist() for batch in loader]


def test_an_epoch_is_read_in_the_order_of_its_plan(loader):
    epoch = 0
    made = loader(epoch=lambda: epoch)
    assert read(made) == planned(0) == read(made) and len(made) == len(planned(0)) > 5
    epoch = 1
    assert read(made) == planned(1) != planned(0) and len(made) == len(planned(1))


def test_reading_goes_on_where_it_stopped_and_decodes_nothing_before(loader):
    made = loader(epoch=lambda: 2, start=lambda: 3)
    assert read(made) == planned(2)[3:] == made.dataset.decoded
    assert len(made) == len(planned(2))


def test_the_place_is_asked_for_when_the_first_batch_is_fetched(loader):
    place = {"epoch": 0, "start": 0}
    made = loader(epoch=lambda: place["epoch"], start=lambda: place["start"])
    made_early = iter(made)
    place |= {"epoch": 4, "start": 2}
    assert next(made_early).tolist() == planned(4)[2]
    place |= {"start": 0}  # too late: reading has begun
    assert next(made_early).tolist() == planned(4)[3]


def test_iterators_that_are_not_read_cost_nothing(loader):
    def fail(*_):
        raise AssertionError("asked for")

    made = TweetLoader(Rows(), fail, num_workers=2, epoch=fail, start=fail)
    for _ in range(3):
        iter(made)


def test_an_epoch_is_planned_once():
    planned_epochs = []
    made = TweetLoader(Rows(), lambda epoch: planned_epochs.append(epoch) or plan(epoch), epoch=lambda: 1)
    len(made), read(made), len(made), read(made)
    assert planned_epochs == [1]


def test_a_finished_epoch_has_no_batches_left(loader):
    assert read(loader(start=lambda: len(planned(0)))) == []


def test_workers_give_the_same_batches(loader):
    one, two = (read(loader(num_workers=workers, start=lambda: 1)) for workers in (0, 2))
    assert one == two == planned(0)[1:]


@pytest.mark.parametrize("workers", [0, 2])
def test_the_global_random_state_is_left_alone(loader, workers):
    def state():
        return torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate()

    before = state()
    read(loader(num_workers=workers))
    assert state() == before


def test_workers_draw_the_same_again_and_something_else_in_another_epoch_or_with_another_seed(loader):
    def drawn(**settings):
        return list(loader(Draws(), num_workers=2, **settings))

    assert drawn() == drawn()
    assert len({str(found) for found in (drawn(), drawn(epoch=lambda: 1), drawn(seed=1))}) == 3


def test_the_trainer_takes_it_for_one_that_can_be_resumed(loader):
    made = loader()
    assert isinstance(made, _Stateful)
    made.load_state_dict(made.state_dict())

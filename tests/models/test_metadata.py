"""Members read a tweet's numbers apart from each other, and forget some in training."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from behavesim.models.metadata import HistoryProjector, MetadataReaders, MetadataShape

SHAPE = MetadataShape(observed=4, summary=3, statistics=5)
DROPPED = ("feature_dropout", "summary_dropout", "dropout")


def readers(members=3, shape=SHAPE, **settings):
    settings = {"width": 16} | dict.fromkeys(DROPPED, 0.0) | settings
    return MetadataReaders(shape, 8, members=members, **settings)


def told(rows=4):
    return torch.randn(rows, 7), torch.randn(rows, 5)


@torch.no_grad()
def test_members_do_not_know_each_other():
    model, numbers = readers(), told()
    before = model(*numbers)
    assert before.shape == (4, 3, 8)
    for name, weight in model.named_parameters():
        weight[1] += 1
        after = model(*numbers)
        assert torch.equal(after[:, [0, 2]], before[:, [0, 2]]), name
        assert (after[:, 1] - before[:, 1]).abs().amax(dim=1).max() > 1e-3, name
        before = after


def test_a_members_gradient_stays_its_own():
    model = readers()
    model(*told())[:, 1].square().sum().backward()
    for name, weight in model.named_parameters():
        assert weight.grad[[0, 2]].abs().max() == 0 and weight.grad.abs().max() > 0, name


def test_members_start_apart():
    found = readers()(*told())
    assert (found[:, 0] - found[:, 1]).abs().max() > 1e-2


@torch.no_grad()
def test_every_number_is_read():
    model = readers().eval()
    features, statistics = told()
    before = model(features, statistics)
    for given in (features, statistics):
        for place in range(given.shape[1]):
            given[:, place] += 1
            after = model(features, statistics)
            assert (after - before).abs().amax(dim=2).min() > 1e-4
            before = after


@torch.no_grad()
@pytest.mark.parametrize("kind", ["observed", "summary", "statistics"])
def test_a_kind_of_numbers_may_be_missing(kind):
    shape = replace(SHAPE, **{kind: 0})
    features, statistics = torch.randn(4, shape.observed + shape.summary), torch.randn(4, shape.statistics)
    found = readers(shape=shape)(features, statistics)
    assert found.shape == (4, 3, 8) and found.isfinite().all()


@pytest.mark.parametrize("name", DROPPED)
def test_something_is_hidden_in_training_alone(name):
    model, numbers = readers(**{name: 0.5}), told()
    model.train()
    assert not torch.equal(model(*numbers), model(*numbers))
    model.eval()
    assert torch.equal(model(*numbers), model(*numbers))
    plain = readers()
    plain.load_state_dict(model.state_dict())
    assert torch.equal(model(*numbers), plain(*numbers))
    plain.train()
    assert torch.equal(plain(*numbers), plain(*numbers))


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "hidden"),
    [("feature_dropout", (True, False, True)), ("summary_dropout", (False, True, False))],
    ids=DROPPED[:2],
)
def test_each_share_hides_its_own_numbers(name, hidden):
    """Of observed ones, the summary and statistics."""
    model, (features, statistics) = readers(**{name: 0.5}).train(), told()
    parts = (*features.split([4, 3], dim=1), statistics)
    for place, hides in enumerate(hidden):
        alone = [part if at == place else torch.zeros_like(part) for at, part in enumerate(parts)]
        numbers = (torch.cat(alone[:2], dim=1), alone[2])
        assert torch.equal(model(*numbers), model(*numbers)) is not hides


@torch.no_grad()
def test_each_member_misses_other_numbers():
    model = readers(summary_dropout=0.5).train()
    for weight in model.parameters():  # all members are the same
        weight.copy_(weight[:1].clone())
    found = model(*told())
    assert (found[:, 0] - found[:, 1]).abs().max() > 1e-3
    model.eval()
    found = model(*told())
    assert_close(found[:, 0], found[:, 1])


def test_gradients_reach_every_weight():
    model = readers()
    found = model(*told())
    (found * torch.randn_like(found)).sum().backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None and weight.grad.abs().max() > 0, name


def test_posts_become_one_token_each():
    model, posts = HistoryProjector(6, 8), torch.randn(2, 3, 6)
    tokens = model(posts)
    assert tokens.shape == (2, 3, 8)
    assert_close(model(posts[:, 1:2]), tokens[:, 1:2])
    (tokens * torch.randn_like(tokens)).sum().backward()
    assert all(weight.grad.abs().max() > 0 for weight in model.parameters())

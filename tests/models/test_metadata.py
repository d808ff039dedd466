"""Members read a tweet's numbers apart from each other, remember names weakly, and forget some in training."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from behavesim.models.metadata import HistoryProjector, MetadataReaders, MetadataShape

SHAPE = MetadataShape(observed=4, summary=3, statistics=5, accounts=6, companies=2, rows=50)
NAMES = torch.tensor([[1, 1], [0, 0], [6, 2], [3, 0]])
DROPPED = ("name_dropout", "feature_dropout", "summary_dropout", "dropout")


def readers(members=3, shape=SHAPE, **settings):
    settings = {"width": 16, "name_width": 4, "name_penalty": 0.5} | dict.fromkeys(DROPPED, 0.0) | settings
    return MetadataReaders(shape, 8, members=members, **settings)


def told(rows=4):
    return torch.randn(rows, 7), torch.randn(rows, 5), NAMES[:rows]


def lively(model):
    """Names that count."""
    torch.nn.init.normal_(model.accounts)
    torch.nn.init.normal_(model.companies)
    return model


@torch.no_grad()
def test_members_do_not_know_each_other():
    model, numbers = readers(), told()
    before = model(*numbers)
    assert before.shape == (4, 3, 8)
    for name, weight in model.named_parameters():
        place = (slice(None), 1) if name in ("accounts", "companies") else (1,)
        weight[place] += 1
        after = model(*numbers)
        assert torch.equal(after[:, [0, 2]], before[:, [0, 2]]), name
        assert (after[:, 1] - before[:, 1]).abs().amax(dim=1).max() > 1e-3, name
        before = after


def test_a_members_gradient_stays_its_own():
    model = readers()
    model(*told())[:, 1].square().sum().backward()
    for name, weight in model.named_parameters():
        others = weight.grad[:, [0, 2]] if name in ("accounts", "companies") else weight.grad[[0, 2]]
        assert others.abs().max() == 0 and weight.grad.abs().max() > 0, name


def test_members_start_apart():
    found = readers()(*told())
    assert (found[:, 0] - found[:, 1]).abs().max() > 1e-2


@torch.no_grad()
def test_whoever_is_unknown_takes_the_same_vector():
    model = lively(readers()).eval()
    features, statistics, _ = told(1)
    rows = [[0, 0], [0, 0], [2, 0], [0, 1]]
    found = model(features.expand(4, -1), statistics.expand(4, -1), torch.tensor(rows))
    assert_close(found[0], found[1])
    assert (found[2:] - found[0]).abs().amax(dim=2).min() > 1e-3
    model.accounts[0] += 1
    after = model(features.expand(4, -1), statistics.expand(4, -1), torch.tensor(rows))
    assert (after[[0, 1, 3]] - found[[0, 1, 3]]).abs().amax(dim=2).min() > 1e-3
    assert torch.equal(after[2], found[2])


@torch.no_grad()
def test_every_number_is_read():
    model = lively(readers()).eval()
    features, statistics, names = told()
    before = model(features, statistics, names)
    for given in (features, statistics):
        for place in range(given.shape[1]):
            given[:, place] += 1
            after = model(features, statistics, names)
            assert (after - before).abs().amax(dim=2).min() > 1e-4
            before = after


@torch.no_grad()
def test_the_penalty_weighs_squares_against_all_training_rows():
    model = readers()
    for vectors in (model.accounts, model.companies):
        vectors.zero_()
    assert model.penalty() == 0
    model.accounts[0] += 7
    model.companies[0] += 7
    assert model.penalty() == 0  # nobody's vector is free
    model.accounts[2, 1] += 2
    assert_close(model.penalty(), torch.tensor(0.5 * 4 * 2**2 / (3 * 50)))
    model.companies[1] += 1
    assert_close(model.penalty(), torch.tensor(0.5 * (4 * 2**2 + 3 * 4) / (3 * 50)))
    once = model.penalty()
    for vectors in (model.accounts, model.companies):
        vectors *= 3
    assert_close(model.penalty(), 9 * once)


@torch.no_grad()
def test_more_training_rows_weigh_more_than_the_penalty():
    few, many = (lively(readers(shape=replace(SHAPE, rows=rows))) for rows in (10, 1000))
    many.load_state_dict(few.state_dict())
    assert_close(few.penalty(), 100 * many.penalty())


@pytest.mark.parametrize("name", DROPPED)
def test_something_is_hidden_in_training_alone(name):
    model, numbers = lively(readers(**{name: 0.5})), told()
    model.train()
    assert not torch.equal(model(*numbers), model(*numbers))
    model.eval()
    assert torch.equal(model(*numbers), model(*numbers))
    plain = lively(readers())
    plain.load_state_dict(model.state_dict())
    assert torch.equal(model(*numbers), plain(*numbers))
    plain.train()
    assert torch.equal(plain(*numbers), plain(*numbers))


@torch.no_grad()
def test_each_member_misses_other_numbers():
    model = readers(summary_dropout=0.5).train()
    for name, weight in model.named_parameters():  # all members are the same
        weight.copy_(weight[:, :1].clone() if name in ("accounts", "companies") else weight[:1].clone())
    found = model(*told())
    assert (found[:, 0] - found[:, 1]).abs().max() > 1e-3
    model.eval()
    found = model(*told())
    assert_close(found[:, 0], found[:, 1])


@torch.no_grad()
def test_a_share_of_rows_is_told_no_name_and_half_of_it_no_company():
    model = lively(readers(name_dropout=0.4)).train()
    account, company = model._remembered(torch.ones(3000, 2, dtype=torch.int64))
    assert account.shape == company.shape == (3000, 3, 4)
    for vectors, found, share in ((model.accounts, account, 0.4), (model.companies, company, 0.2)):
        hidden = (found == vectors[0]).all(dim=2)
        assert (hidden | (found == vectors[1]).all(dim=2)).all()
        assert hidden.double().mean().item() == pytest.approx(share, abs=0.02)
    hidden = (account == model.accounts[0]).all(dim=2)
    assert (hidden[:, 0] != hidden[:, 1]).any()  # members are told apart


def test_gradients_reach_every_weight():
    model = readers()
    found = model(*told())
    ((found * torch.randn_like(found)).sum() + model.penalty()).backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None and weight.grad.abs().max() > 0, name
    # All vectors are used or drawn to zero: that of nobody, those in the batch, and those that are not.
    for vectors in (model.accounts, model.companies):
        assert (vectors.grad.abs().amax(dim=2) > 0).all()


def test_without_known_names_there_is_nobodys_vector_alone():
    model = readers(shape=replace(SHAPE, accounts=0, companies=0))
    features, statistics, names = told()
    assert model(features, statistics, names * 0).shape == (4, 3, 8)
    assert model.penalty() == 0


def test_posts_become_one_token_each():
    model, posts = HistoryProjector(6, 8), torch.randn(2, 3, 6)
    tokens = model(posts)
    assert tokens.shape == (2, 3, 8)
    assert_close(model(posts[:, 1:2]), tokens[:, 1:2])
    (tokens * torch.randn_like(tokens)).sum().backward()
    assert all(weight.grad.abs().max() > 0 for weight in model.parameters())

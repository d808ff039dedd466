"""The composed model: which inputs it takes, what a frozen tower keeps, and what a head over likes reads."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from behavesim.models.head import Hidden, Targets
from behavesim.models.vision import MEAN, STD

TEXTS = [[11, 12, 13, 14, 15], [21, 22, 23]]
CLOSE = {"atol": 1e-5, "rtol": 1e-5}


@pytest.fixture
def looking_back(tiny_model, data_facts):
    """A model that is told three earlier posts."""
    facts = data_facts()
    return tiny_model(facts=replace(facts, history=(3, facts.history[1])))


@torch.no_grad()
def test_places_without_an_earlier_post_change_nothing(looking_back, model_inputs):
    inputs = model_inputs(TEXTS, {0: 1}, history=3)
    assert inputs["history_valid"].tolist() == [[True, True, False], [True, True, False]]
    expected = looking_back(**inputs).logits
    noise = torch.where(inputs["history_valid"][:, :, None], inputs["history"], 50 * torch.randn(2, 3, 6))
    assert_close(looking_back(**inputs | {"history": noise}).logits, expected, **CLOSE)
    shorter = {name: inputs[name][:, :2] for name in ("history", "history_valid")}
    assert_close(looking_back(**inputs | shorter).logits, expected, **CLOSE)
    seen = inputs["history_valid"].clone()
    seen[0, 2] = True
    change = (looking_back(**inputs | {"history_valid": seen}).logits - expected).abs().amax(dim=(1, 2))
    assert change[0] > 1e-3 and change[1] < 1e-5


@torch.no_grad()
def test_an_account_without_posts_is_as_without_history(looking_back, model_inputs):
    inputs = model_inputs(TEXTS, {0: 1}, history=3)
    expected = looking_back(**inputs | {"history": None, "history_valid": None}).logits
    nothing = {"history_valid": torch.zeros(2, 3, dtype=torch.bool)}
    assert_close(looking_back(**inputs | nothing).logits, expected, **CLOSE)


@torch.no_grad()
def test_rows_do_not_depend_on_their_neighbours(looking_back, model_inputs):
    texts = [*TEXTS, [34, 35], [41, 42, 43, 44]]
    pictures = {0: 1, 2: 5}
    prior = torch.tensor([1.0, 2.0, 3.0, 4.0])
    found = looking_back(**model_inputs(texts, pictures, history=3, pad_to=7), prior=prior).logits
    for row, text in enumerate(texts):
        own = {0: pictures[row]} if row in pictures else None
        alone = looking_back(**model_inputs([text], own, history=3), prior=prior[row : row + 1]).logits
        assert_close(alone[0], found[row], **CLOSE)


@torch.no_grad()
@pytest.mark.parametrize("name", ["features", "statistics", "history"])
def test_all_that_is_told_of_an_account_matters_to_its_own_row(looking_back, model_inputs, name):
    inputs = model_inputs(TEXTS, history=3)
    told = inputs[name].clone()
    told[1] += 1
    change = (looking_back(**inputs | {name: told}).logits - looking_back(**inputs).logits).abs()
    assert change[0].max() < 1e-5 and change[1].amax(dim=1).min() > 1e-3  # every member of the other row


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 2])
def test_without_slots_every_row_has_all_its_frames(tiny_model, model_inputs, frames):
    model = tiny_model(frames=frames)
    inputs = model_inputs(TEXTS, {slot: slot for slot in range(2 * frames)})
    pixels = inputs["pixel_values"]
    expected = model(**inputs).logits
    whole = [pixels] if frames == 1 else []
    for given in (*whole, pixels.view(2, frames, 3, 16, 16)):
        assert_close(model(**inputs | {"pixel_values": given, "image_slot": None}).logits, expected)


@torch.no_grad()
def test_fewer_frames_than_known_are_the_first_ones_of_their_own_rows(tiny_model, model_inputs):
    model = tiny_model(frames=3)
    inputs = model_inputs(TEXTS, {0: 1, 1: 2, 3: 3, 4: 4})
    expected = model(**inputs).logits
    pixels = inputs["pixel_values"].view(2, 2, 3, 16, 16)
    assert_close(model(**inputs | {"pixel_values": pixels, "image_slot": None}).logits, expected)


@torch.no_grad()
def test_a_picture_that_is_no_frame_gets_no_frame_embedding(tiny_model, model_inputs):
    model = tiny_model(frames=2)
    inputs = model_inputs(TEXTS, {0: 1, 2: 2}) | {"image_slot": None}
    framed = inputs | {"pixel_values": inputs["pixel_values"][:, None]}
    assert not torch.allclose(model(**inputs).logits, model(**framed).logits)
    model.frame_embedding.zero_()
    assert_close(model(**inputs).logits, model(**framed).logits)


def test_more_frames_than_known_are_refused(tiny_model, model_inputs):
    inputs = model_inputs(TEXTS, {0: 1, 1: 2}) | {"image_slot": None}
    with pytest.raises(ValueError, match="2 frames, the model knows 1"):
        tiny_model()(**inputs | {"pixel_values": inputs["pixel_values"].view(1, 2, 3, 16, 16)})


@torch.no_grad()
def test_normalised_floats_are_the_bytes_they_came_from(tiny_model, model_inputs):
    model, inputs = tiny_model(), model_inputs(TEXTS, {0: 1, 1: 2})
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    floats = (inputs["pixel_values"] / 255 - mean) / std
    expected = model(**inputs).logits
    assert_close(model(**inputs | {"pixel_values": floats}).logits, expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_an_empty_batch_of_pictures_is_none(tiny_model, model_inputs):
    model, inputs = tiny_model(), model_inputs(TEXTS)
    empty = {"pixel_values": torch.zeros(0, 3, 16, 16, dtype=torch.uint8), "image_slot": torch.zeros(0).long()}
    assert torch.equal(model(**inputs | empty).logits, model(**inputs).logits)


def test_a_frozen_tower_gives_the_same_gradients_and_keeps_none(tiny_model, model_inputs):
    inputs = model_inputs(TEXTS, {0: 1, 1: 2})
    targets = Targets(torch.ones(2), torch.zeros(2).long(), torch.tensor([3.0, 40.0]))
    trained, frozen = (tiny_model(train=[*parts, "projector", "head"]) for parts in (["vision"], []))
    for model in (trained, frozen):
        model.train().loss(inputs, targets).backward()
    assert all(p.grad is None for p in frozen.vision.parameters())
    assert all(p.grad is not None for p in trained.vision.parameters())
    for one, other in zip(trained.projector.parameters(), frozen.projector.parameters(), strict=True):
        assert one.grad.abs().max() > 0
        assert_close(one.grad, other.grad)


@torch.no_grad()
def test_token_dropout_hides_its_share_of_the_text_in_training_alone(tiny_model, model_inputs):
    model, inputs = tiny_model(token_dropout=0.4), model_inputs([list(range(10, 210))] * 4, {0: 1})
    embeddings, _, prefix, _ = model.train()._sequence(**inputs)
    hidden = (embeddings[:, prefix:] == 0).all(dim=2).double().mean().item()
    assert hidden == pytest.approx(0.4, abs=4 * (0.24 / 800) ** 0.5)
    assert (embeddings[0, :prefix].abs().amax(dim=1) > 0).all()
    embeddings, *_ = model._sequence(**inputs, legible=torch.tensor([True, False, True, False])[:, None])
    shown = (embeddings[:, prefix:].abs().amax(dim=2) > 0).all(dim=1)
    assert shown.tolist() == [True, False, True, False]
    embeddings, *_ = model.eval()._sequence(**inputs)
    assert (embeddings[:, prefix:].abs().amax(dim=2) > 0).all()


@torch.no_grad()
def test_the_last_text_token_is_the_one_before_the_padding():
    states = torch.randn(3, 7, 4)
    valid = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 0, 0, 0, 0]]).bool()
    found = Hidden(states, 2, valid, torch.zeros(3, 1, 4)).last_text()
    assert torch.equal(found, torch.stack([states[0, 6], states[1, 3], states[2, 2]]))


@torch.no_grad()
def test_the_summary_is_the_mean_picture_plus_what_each_member_reads(tiny_model, model_inputs):
    model = tiny_model(frames=2)
    inputs = model_inputs(TEXTS, {0: 1, 1: 5, 2: 2})
    summary = model.hidden(**inputs).summary
    tokens, _ = model.image_tokens(inputs["pixel_values"], inputs["image_slot"], rows=2)
    numbers = model.metadata(inputs["features"], inputs["statistics"])
    assert_close(summary, torch.stack([tokens[0].mean(dim=0), tokens[1, :5].mean(dim=0)])[:, None] + numbers)
    assert model.hidden(**model_inputs(TEXTS, features=False)).summary.tolist() == [[[0.0] * 32]] * 2


@torch.no_grad()
def test_the_mean_of_the_members_is_a_prefix_token_behind_the_posts(looking_back, model_inputs):
    inputs = model_inputs(TEXTS, history=3)
    told = {name: inputs[name] for name in ("features", "statistics", "history", "history_valid")}
    tokens, valid, summary = looking_back.prefix(2, None, None, **told)
    assert_close(tokens[:, :3], looking_back.history(inputs["history"]))
    assert_close(tokens[:, 3], summary.mean(dim=1))
    assert torch.equal(valid, torch.cat([inputs["history_valid"], torch.ones(2, 1).bool()], dim=1))


def test_the_training_loss_is_that_of_the_score_where_nothing_is_dropped(tiny_model, model_inputs):
    model, inputs = tiny_model(), model_inputs(TEXTS)
    targets = Targets(torch.ones(2), torch.zeros(2).long(), torch.tensor([3.0, 40.0]))
    assert_close(model.loss(inputs, targets), model.score(inputs, targets)[0])


@torch.no_grad()
@pytest.mark.parametrize("head", ["histogram", "regression"])
def test_a_head_over_likes_scores_what_forward_gives(tiny_model, model_inputs, head):
    model, inputs = tiny_model(head=head), model_inputs(TEXTS, {0: 1})
    targets = Targets(torch.tensor([1.0, 4.0]), torch.zeros(2).long(), torch.tensor([3.0, 50.0]))
    logits = model(**inputs, prior=targets.prior).logits
    loss, estimates = model.score(inputs, targets)
    assert_close(loss, model.head.loss(logits, targets.likes, targets.prior))
    for name, values in model.head.estimates(logits, targets.prior).items():
        assert torch.equal(estimates[name], values)
    _, other = model.score(inputs, replace(targets, prior=targets.prior + 1))
    assert (other["logmean"] > estimates["logmean"] + 0.1).all()  # the prior counts
    assert model.score(inputs, Targets(targets.prior, targets.answer_length))[0] is None


@torch.no_grad()
def test_the_text_head_gives_logits_over_the_vocabulary_everywhere(tiny_model, model_inputs):
    assert tiny_model(head="text")(**model_inputs(TEXTS, {0: 1})).logits.shape == (2, 5 + 1 + 5, 300)

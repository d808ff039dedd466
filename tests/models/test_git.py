"""The composed model: which inputs it takes, what a frozen tower keeps, and what a head over likes reads."""

import pytest
import torch
from torch.testing import assert_close

from behavesim.models.head import Hidden, Targets
from behavesim.models.vision import MEAN, STD

TEXTS = [[11, 12, 13, 14, 15], [21, 22, 23]]


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
    embeddings, *_ = model.eval()._sequence(**inputs)
    assert (embeddings[:, prefix:].abs().amax(dim=2) > 0).all()


@torch.no_grad()
def test_the_last_text_token_is_the_one_before_the_padding():
    states = torch.randn(3, 7, 4)
    valid = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 0, 0, 0, 0]]).bool()
    found = Hidden(states, 2, valid, torch.zeros(3, 4)).last_text()
    assert torch.equal(found, torch.stack([states[0, 6], states[1, 3], states[2, 2]]))


@torch.no_grad()
def test_the_summary_is_the_mean_picture_plus_the_metadata_token(tiny_model, model_inputs):
    model = tiny_model(frames=2)
    inputs = model_inputs(TEXTS, {0: 1, 1: 5, 2: 2})
    summary = model.hidden(**inputs).summary
    tokens, _ = model.image_tokens(inputs["pixel_values"], inputs["image_slot"], rows=2)
    numbers = model.metadata(inputs["features"])[:, 0]
    assert_close(summary, torch.stack([tokens[0].mean(dim=0), tokens[1, :5].mean(dim=0)]) + numbers)
    assert model.hidden(**model_inputs(TEXTS, features=False)).summary.tolist() == [[0.0] * 32] * 2


@torch.no_grad()
@pytest.mark.parametrize("head", ["histogram", "regression"])
def test_a_head_over_likes_scores_what_forward_gives(tiny_model, model_inputs, head):
    model, inputs = tiny_model(head=head), model_inputs(TEXTS, {0: 1})
    targets = Targets(torch.tensor([1.0, 4.0]), torch.zeros(2).long(), torch.tensor([3.0, 50.0]))
    logits = model(**inputs, prior=targets.prior).logits
    loss, estimates = model.score(inputs, targets)
    assert_close(loss, model.head.loss(logits, targets.likes))
    assert_close(loss, model.loss(inputs, targets))
    for name, values in model.head.estimates(logits).items():
        assert torch.equal(estimates[name], values)
    assert (logits - model(**inputs).logits).abs().max() > 0.1  # the prior counts
    assert model.score(inputs, Targets(targets.prior, targets.answer_length))[0] is None


@torch.no_grad()
def test_the_text_head_gives_logits_over_the_vocabulary_everywhere(tiny_model, model_inputs):
    assert tiny_model(head="text")(**model_inputs(TEXTS, {0: 1})).logits.shape == (2, 5 + 1 + 5, 300)

"""Who sees whom: the prefix mask itself, and what it makes of a real model's states."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from behavesim.models.mask import additive, prefix_mask

TEXTS = [[11, 12, 13, 14, 15], [21, 22, 23]]
PREFIX = 5 + 1  # class token, four patches, metadata
EXACT = {"atol": 1e-6, "rtol": 0}
CLOSE = {"atol": 1e-5, "rtol": 1e-5}
DTYPES = st.sampled_from([torch.float32, torch.bfloat16, torch.float16])


@st.composite
def packed_rows(draw):
    """Rows (start, prefix, length) anywhere in a width: padding left, right or on both sides."""
    size = draw(st.integers(1, 8))
    rows = []
    for _ in range(draw(st.integers(1, 3))):
        length = draw(st.integers(0, size))
        rows.append((draw(st.integers(0, size - length)), draw(st.integers(0, length)), length))
    return rows, size


def mask_of(rows, size, dtype=torch.float32):
    start, prefix, length = torch.tensor(rows).unbind(1)
    return prefix_mask(torch.arange(size) - start[:, None], prefix, length, dtype)


@settings(deadline=None)
@given(packed_rows(), DTYPES)
def test_the_mask_is_the_naive_one(naive_mask, drawn, dtype):
    rows, size = drawn
    mask, expected = mask_of(rows, size, dtype), naive_mask(rows, size)[:, None]
    assert mask.dtype == dtype and mask.shape == expected.shape
    assert torch.equal(mask == 0, expected)
    assert (mask[~expected] == torch.finfo(dtype).min).all()


@settings(deadline=None)
@given(packed_rows(), DTYPES)
def test_every_query_sees_something_so_that_softmax_is_a_number(drawn, dtype):
    weights = mask_of(*drawn, dtype).softmax(dim=-1)
    assert torch.isfinite(weights).all()
    assert_close(weights.sum(dim=-1), torch.ones(weights.shape[:-1], dtype=dtype), atol=0.02, rtol=0)


def test_tokens_give_no_weight_to_padding_even_beside_large_scores():
    mask = mask_of([(1, 2, 4)], 6)[0, 0]
    scores = torch.tensor([1e4, 0, 0, 0, 0, 1e4]).expand(6, 6)  # the padding would win by far
    weights = (scores + mask).softmax(dim=-1)[1:5]
    assert (weights[:, [0, 5]] == 0).all()


@given(st.lists(st.booleans(), min_size=1, max_size=9), DTYPES)
def test_the_additive_form_is_zero_where_allowed(allowed, dtype):
    found = additive(torch.tensor([allowed]), dtype)
    assert found.tolist() == [[0.0 if value else torch.finfo(dtype).min for value in allowed]]


@torch.no_grad()
def test_the_prefix_is_blind_to_text(tiny_model, model_inputs):
    model = tiny_model()
    inputs = model_inputs(TEXTS, {0: 1, 1: 2})
    before = model.hidden(**inputs)
    after = model.hidden(**inputs | {"input_ids": inputs["input_ids"] + 40})
    assert before.prefix_slots == PREFIX and before.text.shape == (2, 5, 32)
    assert_close(after.states[:, :PREFIX], before.states[:, :PREFIX], **EXACT)
    assert (after.text[:, 0] - before.text[:, 0]).abs().max() > 1e-2


@torch.no_grad()
def test_prefix_tokens_see_each_other_in_both_directions(tiny_model, model_inputs):
    model = tiny_model()
    inputs = model_inputs(TEXTS, {0: 1, 1: 2})
    before = model.hidden(**inputs).states
    after = model.hidden(**inputs | {"features": inputs["features"] + 1}).states
    assert ((after - before)[:, :5].abs().amax(dim=2) > 1e-4).all()  # the metadata token comes last


@torch.no_grad()
def test_text_sees_the_pictures_of_its_own_row_alone(tiny_model, model_inputs):
    model = tiny_model()
    before = model.hidden(**model_inputs(TEXTS, {0: 1, 1: 2}))
    after = model.hidden(**model_inputs(TEXTS, {0: 1, 1: 3}))
    change = (after.text - before.text).abs().amax(dim=2)
    assert (change[1, :3] > 1e-4).all() and change[0].max() <= 1e-6


@torch.no_grad()
@pytest.mark.parametrize("place", range(5))
def test_text_is_causal(tiny_model, model_inputs, place):
    model = tiny_model()
    inputs = model_inputs(TEXTS, {0: 1})
    before = model.hidden(**inputs).text[0]
    inputs["input_ids"][0, place] = 99
    after = model.hidden(**inputs).text[0]
    change = (after - before).abs().amax(dim=1)
    assert (change[:place] <= 1e-6).all() and (change[place:] > 1e-4).all()


@torch.no_grad()
@pytest.mark.parametrize("pictures", [None, {0: 1, 1: 2}, {1: 2}])
def test_right_padding_changes_no_prediction(tiny_model, model_inputs, pictures):
    model = tiny_model()
    together = model(**model_inputs(TEXTS, pictures, pad_to=9)).logits
    for row, text in enumerate(TEXTS):
        alone = {0: pictures[row]} if pictures and row in pictures else None
        assert_close(model(**model_inputs([text], alone)).logits[0], together[row], **CLOSE)


@torch.no_grad()
def test_what_stands_at_padded_places_changes_no_prediction(tiny_model, model_inputs):
    model = tiny_model()
    inputs = model_inputs(TEXTS, {0: 1})
    before = model(**inputs).logits
    inputs["input_ids"][1, 3:] = 77
    assert_close(model(**inputs).logits, before, **EXACT)


@torch.no_grad()
@pytest.mark.parametrize("features", [True, False])
def test_a_row_without_picture_is_the_same_beside_rows_with_one(tiny_model, model_inputs, features):
    model = tiny_model()
    mixed = model(**model_inputs(TEXTS, {0: 1}, features=features)).logits
    plain = model(**model_inputs(TEXTS, features=features)).logits
    assert_close(mixed[1], plain[1], **CLOSE)
    assert (mixed[0] - plain[0]).abs().max() > 1e-3


@torch.no_grad()
def test_an_empty_frame_is_as_if_it_were_not_there(tiny_model, model_inputs):
    two = tiny_model(frames=2)
    full = two(**model_inputs(TEXTS, {0: 1, 1: 5, 2: 2})).logits  # row 1 lacks its second picture
    alone = two(**model_inputs(TEXTS[1:], {0: 2})).logits
    assert_close(full[1], alone[0], **CLOSE)
    second = two(**model_inputs(TEXTS[1:], {1: 2})).logits
    assert (second - alone).abs().max() > 1e-4  # another frame is another place


@torch.no_grad()
@pytest.mark.parametrize("features", [True, False])
@pytest.mark.parametrize("pictures", [None, {0: 1}, {0: 1, 3: 2}])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_state_is_nan(tiny_model, model_inputs, pictures, features, dtype):
    model = tiny_model(frames=2).to(dtype)
    inputs = model_inputs(TEXTS, pictures, features=features, pad_to=8)
    for name in ("features", "statistics") if features else ():
        inputs[name] = inputs[name].to(dtype)
    assert torch.isfinite(model.hidden(**inputs).states).all()
    assert torch.isfinite(model(**inputs).logits).all()

"""Who sees whom: the prefix mask itself, and what it makes of a real model's states."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from behavesim.models.mask import positions, prefix_mask

TEXTS = [[11, 12, 13, 14, 15], [21, 22, 23]]
EXACT = {"atol": 1e-6, "rtol": 0}
CLOSE = {"atol": 1e-5, "rtol": 1e-5}


def naive_mask(prefix_valid, text_valid):
    """Element by element, as the docstring says it."""
    valid = prefix_valid + text_valid
    prefix = len(prefix_valid)

    def seen(query, key):
        if query == key:
            return True
        if query < prefix:
            return valid[key] and key < prefix
        return valid[key] and key <= query

    return [[seen(query, key) for key in range(len(valid))] for query in range(len(valid))]


@st.composite
def validity(draw):
    rows, prefix, text = draw(st.integers(1, 3)), draw(st.integers(0, 4)), draw(st.integers(1, 5))

    def table(columns):
        return [draw(st.lists(st.booleans(), min_size=columns, max_size=columns)) for _ in range(rows)]

    return table(prefix), table(text)


def as_bool(table):
    return torch.tensor(table, dtype=torch.bool).reshape(len(table), -1)


@settings(deadline=None)
@given(validity(), st.sampled_from([torch.float32, torch.bfloat16, torch.float16]))
def test_the_mask_is_the_naive_one(tables, dtype):
    prefix, text = tables
    mask = prefix_mask(as_bool(prefix), as_bool(text), dtype)
    expected = torch.tensor([naive_mask(p, t) for p, t in zip(prefix, text, strict=True)])[:, None]
    assert mask.dtype == dtype and mask.shape == expected.shape
    assert torch.equal(mask == 0, expected)
    assert (mask[~expected] == torch.finfo(dtype).min).all()


@given(st.lists(st.booleans(), min_size=1, max_size=12))
def test_positions_count_the_valid_tokens(valid):
    found = positions(torch.tensor([valid]))[0].numpy()
    assert (found[valid] == np.arange(sum(valid))).all()
    assert (found >= 0).all() and (np.diff(found) >= 0).all()


@torch.no_grad()
def test_the_prefix_is_blind_to_text(tiny_model, model_inputs):
    model = tiny_model()
    inputs = model_inputs(TEXTS, {0: 1, 1: 2})
    before = model.hidden(**inputs)
    after = model.hidden(**inputs | {"input_ids": inputs["input_ids"] + 40})
    assert before.prefix_length == 5 + 1  # class token, four patches, metadata
    assert_close(after.states[:, :6], before.states[:, :6], **EXACT)
    assert (after.states[:, 6] - before.states[:, 6]).abs().max() > 1e-2


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
    change = (after.states - before.states)[:, 6:].abs().amax(dim=2)
    assert (change[1, :3] > 1e-4).all() and change[0].max() <= 1e-6


@torch.no_grad()
@pytest.mark.parametrize("place", range(5))
def test_text_is_causal(tiny_model, model_inputs, place):
    model = tiny_model()
    inputs = model_inputs(TEXTS, {0: 1})
    before = model.hidden(**inputs).states[0, 6:]
    inputs["input_ids"][0, place] = 99
    after = model.hidden(**inputs).states[0, 6:]
    change = (after - before).abs().amax(dim=1)
    assert (change[:place] <= 1e-6).all() and (change[place:] > 1e-4).all()


@torch.no_grad()
@pytest.mark.parametrize("pictures", [None, {0: 1, 1: 2}, {1: 2}])
def test_right_padding_changes_no_prediction(tiny_model, model_inputs, pictures):
    model = tiny_model()
    together = model(**model_inputs(TEXTS, pictures, pad_to=9))
    for row, text in enumerate(TEXTS):
        alone = {0: pictures[row]} if pictures and row in pictures else None
        assert_close(model(**model_inputs([text], alone))[0], together[row], **CLOSE)


@torch.no_grad()
def test_what_stands_at_padded_places_changes_no_prediction(tiny_model, model_inputs):
    model = tiny_model()
    inputs = model_inputs(TEXTS, {0: 1})
    before = model(**inputs)
    inputs["input_ids"][1, 3:] = 77
    assert_close(model(**inputs), before, **EXACT)


@torch.no_grad()
@pytest.mark.parametrize("features", [True, False])
def test_a_row_without_picture_is_the_same_beside_rows_with_one(tiny_model, model_inputs, features):
    model = tiny_model()
    mixed = model(**model_inputs(TEXTS, {0: 1}, features=features))
    plain = model(**model_inputs(TEXTS, features=features))
    assert_close(mixed[1], plain[1], **CLOSE)
    assert (mixed[0] - plain[0]).abs().max() > 1e-3


@torch.no_grad()
def test_an_empty_frame_is_as_if_it_were_not_there(tiny_model, model_inputs):
    two = tiny_model(frames=2)
    full = two(**model_inputs(TEXTS, {0: 1, 1: 5, 2: 2}))  # row 1 lacks its second picture
    alone = two(**model_inputs(TEXTS[1:], {0: 2}))
    assert_close(full[1], alone[0], **CLOSE)
    second = two(**model_inputs(TEXTS[1:], {1: 2}))
    assert (second - alone).abs().max() > 1e-4  # another frame is another place


@torch.no_grad()
@pytest.mark.parametrize("features", [True, False])
@pytest.mark.parametrize("pictures", [None, {0: 1}, {0: 1, 3: 2}])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_state_is_nan(tiny_model, model_inputs, pictures, features, dtype):
    model = tiny_model(frames=2).to(dtype)
    inputs = model_inputs(TEXTS, pictures, features=features, pad_to=8)
    if features:
        inputs["features"] = inputs["features"].to(dtype)
    assert torch.isfinite(model.hidden(**inputs).states).all()
    assert torch.isfinite(model(**inputs)).all()

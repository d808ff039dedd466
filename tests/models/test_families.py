"""Each family of language models is fed as its own stock model would be: text, prefix, positions and padding."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from behavesim.errors import UserError
from behavesim.models.llm import llm_config, positions, random_llm, vocabulary_logits

TEXTS = [[11, 12, 13, 14, 15], [21, 22, 23]]
CLOSE = {"atol": 1e-5, "rtol": 1e-5}


class Lookup(nn.Module):
    """A projector of posts that brings rows of the vocabulary, so that the stock model knows the same prefix."""

    def __init__(self, table):
        super().__init__()
        self.table = table

    def forward(self, posts):
        return F.embedding(posts.long(), self.table)


def text_logits(model, inputs):
    """Logits at the text's places: [B, T, V]."""
    return model(**inputs).logits[:, -inputs["input_ids"].shape[1] :]


def assert_same_at_tokens(found, expected, inputs):
    valid = inputs["attention_mask"].bool()
    assert_close(found[valid], expected[valid], **CLOSE)


@torch.no_grad()
def test_text_alone_is_what_the_stock_model_makes_of_it(family, family_model, stock, model_inputs):
    model = family_model(family)
    inputs = model_inputs(TEXTS, features=False, pad_to=7)
    expected = stock(model.llm)(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits
    assert_same_at_tokens(text_logits(model, inputs), expected, inputs)
    assert expected[0].std(dim=0).mean() > 0.1  # places differ, so a wrong place would show


@torch.no_grad()
def test_a_prefix_of_known_tokens_is_what_the_stock_model_makes_of_them(
    family, family_model, stock, naive_mask, model_inputs
):
    model = family_model(family)
    model.history = Lookup(model.llm.get_input_embeddings().weight)
    prefix = torch.tensor([[101, 102, 103], [104, 105, 106]])
    inputs = model_inputs(TEXTS, features=False) | {"history": prefix, "history_valid": torch.ones(2, 3).bool()}
    allowed = naive_mask([(0, 3, 8), (0, 3, 6)], 8)[:, None]
    mask = torch.zeros(allowed.shape).masked_fill(~allowed, torch.finfo(torch.float32).min)
    oracle, places = stock(model.llm), {"position_ids": torch.arange(8).expand(2, -1)}
    if family == "opt":  # no positions before the text: row 0 of OPT's table stands for position -2
        oracle.get_decoder().embed_positions.weight[0] = 0
        places = {"position_ids": torch.tensor([-2, -2, -2, 0, 1, 2, 3, 4]).expand(2, -1)}
    if family == "mpt":  # ALiBi counts for itself
        places = {}
    ids = torch.cat([prefix, inputs["input_ids"]], dim=1)
    expected = oracle(input_ids=ids, attention_mask=mask, **places).logits
    found = model(**inputs).logits
    assert_close(found[:, :3], expected[:, :3], **CLOSE)
    assert_same_at_tokens(found[:, 3:], expected[:, 3:], inputs)


@torch.no_grad()
@pytest.mark.parametrize("pictures", [None, {0: 1, 1: 2}, {1: 2}])
def test_padding_and_neighbours_change_nothing(family, family_model, model_inputs, pictures):
    model = family_model(family)
    inputs = model_inputs(TEXTS, pictures, pad_to=9)
    inputs["input_ids"][1, 3:] = 77
    together = text_logits(model, inputs)
    for row, text in enumerate(TEXTS):
        alone = {0: pictures[row]} if pictures and row in pictures else None
        assert_close(
            text_logits(model, model_inputs([text], alone))[0], together[row, : len(text)], atol=2e-5, rtol=1e-5
        )


@torch.no_grad()
def test_empty_slots_change_nothing(family, family_model, model_inputs):
    model = family_model(family, frames=3)
    full = text_logits(model, model_inputs(TEXTS, {0: 1, 1: 5, 2: 6, 3: 2}))
    alone = text_logits(model, model_inputs(TEXTS[1:], {0: 2}))
    assert_close(full[1, :3], alone[0], atol=2e-5, rtol=1e-5)


@torch.no_grad()
def test_a_gap_inside_the_prefix_is_closed(family, family_model, model_inputs):
    model = family_model(family, frames=3)
    model.frame_embedding.zero_()  # places of pictures differ by their embedding alone
    gap = text_logits(model, model_inputs(TEXTS[:1], {0: 1, 2: 6}))
    together = text_logits(model, model_inputs(TEXTS[:1], {0: 1, 1: 6}))
    assert_close(gap, together, **CLOSE)
    swapped = (together - text_logits(model, model_inputs(TEXTS[:1], {0: 6, 1: 1}))).abs().max()
    assert swapped < 1e-5 if family == "opt" else swapped > 1e-3  # OPT gives its prefix no order of its own


@torch.no_grad()
@pytest.mark.parametrize("change", ["picture", "number", "no picture", "no number"])
def test_a_prefix_matters(family, family_model, model_inputs, change):
    model = family_model(family)
    inputs = model_inputs(TEXTS, {0: 1, 1: 2})
    before = text_logits(model, inputs)
    other = {
        "picture": model_inputs(TEXTS, {0: 3, 1: 2}),
        "number": inputs | {"features": inputs["features"] + torch.tensor([[1.0], [0.0]])},
        "no picture": model_inputs(TEXTS, {1: 2}),
        "no number": inputs | {"features": None},
    }[change]
    moved = (text_logits(model, other) - before).abs().amax(dim=2)
    assert (moved[0] > 1e-3).all()
    assert moved[1].max() < 1e-4 or change == "no number"


@torch.no_grad()
def test_opt_with_a_narrower_embedding_is_what_the_stock_model_makes_of_it(family_model, stock, model_inputs):
    model = family_model("opt", shape={"word_embed_proj_dim": 16})
    inputs = model_inputs(TEXTS, features=False)
    expected = stock(model.llm)(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits
    assert_same_at_tokens(text_logits(model, inputs), expected, inputs)
    with_picture = text_logits(model, model_inputs(TEXTS, {0: 1}))
    assert (with_picture[0] - expected[0]).abs().max() > 1e-2
    assert family_model("opt", shape={"word_embed_proj_dim": 16}, head="histogram")(**inputs).logits.shape == (2, 2, 12)


@torch.no_grad()
def test_the_cap_on_logits_is_the_familys_own(family_model, stock, model_inputs):
    model = family_model("gemma", shape={"model_type": "gemma2", "final_logit_softcapping": 2.0, "sliding_window": 64})
    inputs = model_inputs(TEXTS, features=False)
    oracle = stock(model.llm)
    states = oracle.get_decoder()(input_ids=inputs["input_ids"]).last_hidden_state
    expected = oracle(input_ids=inputs["input_ids"]).logits
    assert_close(vocabulary_logits(model.llm, states), expected, **CLOSE)
    assert expected.abs().max() < 2 and oracle.get_output_embeddings()(states).abs().max() > 2.5


def test_text_of_opt_starts_at_zero_and_other_families_run_on(family_shape):
    offsets, prefix, length = torch.arange(-1, 6)[None], torch.tensor([2]), torch.tensor([5])
    found = {
        family: positions(random_llm(llm_config(family_shape(family))), offsets, prefix, length)[0].tolist()
        for family in ("opt", "llama")
    }
    assert found == {"opt": [-2, -2, -2, 0, 1, 2, -1], "llama": [0, 0, 1, 2, 3, 4, 5]}


def test_logits_are_fp32_and_weights_of_the_dtype_asked_for(family, family_shape):
    llm = random_llm(llm_config(family_shape(family)), dtype="bfloat16")
    assert {p.dtype for p in llm.parameters()} == {torch.bfloat16}
    assert vocabulary_logits(llm, torch.randn(2, 32, dtype=torch.bfloat16)).dtype == torch.float32


def test_keys_that_a_family_does_not_know_are_ignored_and_old_ones_kept(family_shape):
    shape = family_shape("llama", rope_theta=500.0, dtype="float16", torch_dtype="float16", architectures=["X"])
    config = llm_config(shape | {"lora": {"r": 4}, "image_tokens": 17, "bos_token_id": 7})
    assert not hasattr(config, "lora") and not hasattr(config, "image_tokens")
    assert (config.num_key_value_heads, config.bos_token_id, config.rope_parameters["rope_theta"]) == (2, 7, 500.0)
    assert random_llm(config).dtype == torch.float32
    assert llm_config(family_shape("mpt")).hidden_size == 32
    assert llm_config({"model_type": "mpt", "hidden_size": 48}).d_model == 48  # by its common name


@pytest.mark.parametrize("kind", [None, "git_llama", "clip", "t5"])
def test_a_family_that_is_no_causal_language_model_is_refused(kind):
    with pytest.raises(UserError, match=f"model.llm: found model_type {kind}; accepted: ") as error:
        llm_config({"model_type": kind, "hidden_size": 8})
    assert "\n" not in str(error.value)

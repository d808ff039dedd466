"""Families that cannot be fed prefix tokens are refused when the model is built, others pass."""

import pytest
import torch

from behavesim.errors import UserError
from behavesim.models.family_check import KNOWN, check_family
from behavesim.models.llm import llm_config, random_llm

SIZES = {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
MORE = {"intermediate_size": 64, "num_key_value_heads": 2}
GPT2 = {"vocab_size": 64, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
IDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


def model(kind, **keys):
    return random_llm(llm_config({"model_type": kind, **keys, **IDS}))


@pytest.mark.parametrize(
    ("kind", "keys"),
    [
        ("gpt2", GPT2),
        ("mistral", SIZES | MORE),
        ("qwen3", SIZES | MORE | {"head_dim": 8}),
        ("cohere", SIZES | MORE | {"logit_scale": 0.3}),
        ("granite", SIZES | MORE | {"logits_scaling": 4.0}),
        ("gemma2", SIZES | MORE | {"head_dim": 8, "final_logit_softcapping": 5.0}),
    ],
)
def test_families_that_agree_pass(kind, keys):
    llm = model(kind, **keys).train()
    assert kind not in KNOWN
    check_family(llm)
    assert llm.training


def test_a_family_without_such_an_input_is_refused():
    with pytest.raises(UserError, match=r"^model\.llm: found the family bloom, .*; accepted: gemma, llama") as error:
        check_family(model("bloom", vocab_size=64, hidden_size=32, n_layer=2, n_head=4))
    assert "\n" not in str(error.value)


def test_other_logits_are_refused():
    llm = model("qwen3", **SIZES, **MORE, head_dim=8)
    llm.config.final_logit_softcapping = 0.1  # as if the family had a cap of its own
    with pytest.raises(UserError, match="qwen3"):
        check_family(llm)


def test_a_model_without_weights_is_not_run():
    with torch.device("meta"):
        check_family(model("bloom", vocab_size=64, hidden_size=32, n_layer=2, n_head=4))


@pytest.mark.parametrize(
    ("kind", "keys"),
    [
        ("mamba", {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 4}),
        ("rwkv", {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2, "attention_hidden_size": 32}),
        (
            "gpt_neo",
            {
                "vocab_size": 64,
                "hidden_size": 32,
                "num_layers": 2,
                "num_heads": 4,
                "attention_types": [[["global"], 2]],
            },
        ),
    ],
)
def test_families_that_do_not_read_the_mask_are_refused(kind, keys):
    with pytest.raises(UserError, match=kind):
        check_family(model(kind, **keys))

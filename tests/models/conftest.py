"""Tiny models of each family, the stock models beside them, and checkpoints as the reference leaves them."""

import math
from dataclasses import replace

import pytest
import torch
from transformers import AutoModelForCausalLM

from behavesim.models.builders import git_hf

ROPE = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "vocab_size": 300,
}
# Untied where a random model would else repeat its last token for ever; MPT stays tied, as it is.
SHAPES = {
    "llama": ROPE,
    "opt": {
        "hidden_size": 32,
        "word_embed_proj_dim": 32,
        "ffn_dim": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 128,
        "vocab_size": 300,
        "dropout": 0.0,
        "tie_word_embeddings": False,
    },
    "mpt": {"d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 128, "vocab_size": 300},
    "qwen2": ROPE,
    "gemma": ROPE | {"head_dim": 8, "tie_word_embeddings": False},
}
TARGETS = {"mpt": ["Wqkv"]}
VISION = {"image_size": 16, "patch_size": 8, "width": 32, "layers": 1, "heads": 2}


@pytest.fixture(params=SHAPES)
def family(request):
    """Each family's name in turn."""
    return request.param


@pytest.fixture(scope="session")
def family_shape():
    """The small `config.json` of a family, keywords added."""
    return lambda family, **shape: {"model_type": family, **SHAPES[family], **shape}


@torch.no_grad()
def lively(module, seed=0):
    """Weights large enough that every token, place and picture shows in the logits, and biases that are not zero."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        size = math.sqrt(parameter.shape[-1]) if parameter.ndim > 1 else 5
        if parameter.ndim > 1 or not torch.equal(parameter, torch.ones_like(parameter)):
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / size)
    return module


@pytest.fixture(scope="session")
def lively_weights():
    """See `lively`."""
    return lively


@pytest.fixture(scope="session")
def family_model(family_shape, data_facts):
    """Builder of a `git_hf` with random weights in eval mode; keywords replace those of `git_hf`, `r` is LoRA's."""

    def build(family, *, r=0, shape=None, eos_ids=(), answering=None, **pieces):
        torch.manual_seed(0)
        facts = data_facts(**answering or {})
        defaults = {
            "llm": "",
            "llm_shape": family_shape(family, **shape or {}),
            "vision": {"name": "", "weights": "", "shape": VISION},
            "pretrained": False,
            "weights_dtype": "float32",
            "quantization": "none",
            "projector": "linear",
            "image_tokens": 3,
            "frames": 1,
            "lora": {"r": r, "alpha": 16, "dropout": 0.0, "target_modules": TARGETS.get(family, ["q_proj", "v_proj"])},
            "head": "text",
            "metadata": True,
            "token_dropout": 0.0,
            "metadata_dropout": 0.0,
            "head_dropout": 0.0,
            "gradient_checkpointing": False,
            "train": ["projector", "llm", "head"],
            "facts": replace(facts, eos_ids=eos_ids),
        }
        model = git_hf(**(defaults | pieces))
        if r == 0:
            lively(model.llm)
        if model.frame_embedding is not None:
            torch.nn.init.normal_(model.frame_embedding)
        return model.eval()

    return build


@pytest.fixture(scope="session")
def stock():
    """Builder of transformers' own model with the weights of another, untouched by this package."""

    def build(llm):
        config = type(llm.config).from_dict(llm.config.to_dict())
        model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
        model.load_state_dict(llm.state_dict())
        return model.eval()

    return build


@pytest.fixture(scope="session")
def naive_mask():
    """Who sees whom, element by element: [B, size, size] bool of rows (start, prefix, length)."""

    def seen(query, key, prefix, length):
        """Places in the row: negative before it, from `length` on after it."""
        if not 0 <= key < length:
            return query == key and (query < 0 or length == 0)
        if 0 <= query < prefix:
            return key < prefix
        return key <= query

    def build(rows, size):
        return torch.tensor(
            [
                [[seen(query - start, key - start, prefix, length) for key in range(size)] for query in range(size)]
                for start, prefix, length in rows
            ]
        )

    return build

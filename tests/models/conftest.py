"""Tiny models of each family, the stock models beside them, and checkpoints as the reference leaves them."""

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM, CLIPVisionConfig, CLIPVisionModel, PreTrainedModel

from behavesim.models.builders import git_hf
from behavesim.models.llm import causal_class, llm_config

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
def family_model(family_shape, data_facts, plain_settings):
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
            **plain_settings,
            "lora": {"r": r, "alpha": 16, "dropout": 0.0, "target_modules": TARGETS.get(family, ["q_proj", "v_proj"])},
            "head": "text",
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


@dataclass
class Reference:
    """A reference model of stock parts, its checkpoint and its `config.json`."""

    vision: CLIPVisionModel
    projection: nn.Sequential
    frames: list[torch.Tensor]  # [1, 1, width] each
    llm: PreTrainedModel
    state: dict[str, torch.Tensor]
    config: dict

    def save(self, folder: Path) -> Path:
        """As the reference leaves it."""
        folder.mkdir(exist_ok=True)
        torch.save(self.state, folder / "pytorch_model.bin")
        (folder / "config.json").write_text(json.dumps(self.config))
        return folder

    @torch.no_grad()
    def logits(self, inputs: dict[str, torch.Tensor], naive_mask) -> torch.Tensor:
        """[B, image tokens + T, V] of the parts, put together as the reference does."""
        pixels, ids = inputs["pixel_values"], inputs["input_ids"]
        states = [self.vision(pixels[:, frame]).last_hidden_state for frame in range(pixels.shape[1])]
        if self.frames:
            states = [seen + embedding for seen, embedding in zip(states, self.frames, strict=True)]
        prefix = self.projection(torch.cat(states, dim=1))
        embeddings = torch.cat([prefix, self.llm.get_input_embeddings()(ids)], dim=1)
        count, size = prefix.shape[1], embeddings.shape[1]
        rows = [(0, count, count + length) for length in inputs["attention_mask"].sum(dim=1).tolist()]
        allowed = naive_mask(rows, size)[:, None]
        mask = torch.zeros(allowed.shape).masked_fill(~allowed, torch.finfo(torch.float32).min)
        places = {"position_ids": torch.arange(size).expand(len(ids), -1)}
        if self.llm.config.model_type == "opt":  # image tokens get no position: row 0 of the table is emptied for them
            self.llm.get_decoder().embed_positions.weight[0] = 0
            places = {"position_ids": torch.tensor([-2] * count + list(range(size - count))).expand(len(ids), -1)}
        if self.llm.config.model_type == "mpt":
            places = {}
        return self.llm(inputs_embeds=embeddings, attention_mask=mask, **places).logits


@pytest.fixture
def reference(family_shape):
    """Builder of a `Reference` with random weights; keywords are those of `CLIPVisionConfig`."""

    def build(family, *, frames=0, shape=None, **vision):
        torch.manual_seed(0)
        settings = {"hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 2, "num_attention_heads": 4}
        config = CLIPVisionConfig(**settings | {"image_size": 24, "patch_size": 8} | vision)
        tower = lively(CLIPVisionModel(config), seed=1).eval()
        llm_settings = llm_config(family_shape(family, **shape or {}))
        llm = lively(causal_class(llm_settings)._from_config(llm_settings, attn_implementation="eager"), seed=2).eval()
        projection = lively(nn.Sequential(nn.Linear(config.hidden_size, 32), nn.LayerNorm(32)), seed=3)
        embeddings = [torch.randn(1, 1, 48) for _ in range(frames)]
        root = {"llama": "model", "opt": "model", "mpt": "transformer"}[family]
        seen = {name.removeprefix("vision_model."): weight for name, weight in tower.state_dict().items()}
        state = {name: weight.clone() for name, weight in llm.state_dict().items()}
        state |= {f"{root}.image_encoder.vision_model.{name}": weight for name, weight in seen.items()}
        state |= {f"{root}.visual_projection.visual_projection.{n}": w for n, w in projection.state_dict().items()}
        state |= {f"{root}.img_temporal_embedding.{place}": tensor for place, tensor in enumerate(embeddings)}
        if family == "opt":  # its own table for the text; what lies in the decoder's goes unread
            state["model.embed_positions.weight"] = state["model.decoder.embed_positions.weight"]
            state["model.decoder.embed_positions.weight"] = torch.full_like(state["model.embed_positions.weight"], 9)
        kept = {key: value for key, value in family_shape(family, **shape or {}).items() if key != "model_type"}
        written = {"family": family, "llm": kept, "vision": config.to_dict(), "lora": None}
        return Reference(tower, projection, embeddings, llm, state, written | {"image_tokens": 10, "some_key": [1]})

    return build


@pytest.fixture
def reference_inputs():
    """Builder of a reference batch: two rows of different lengths and normalised pictures of each."""

    def build(frames=1, image_size=24):
        generator = torch.Generator().manual_seed(5)
        mask = torch.tensor([[1] * 6, [1] * 4 + [0] * 2])
        ids = torch.randint(3, 300, (2, 6), generator=generator)
        pixels = torch.randn(2, frames, 3, image_size, image_size, generator=generator)
        return {"input_ids": ids, "attention_mask": mask, "pixel_values": pixels}

    return build

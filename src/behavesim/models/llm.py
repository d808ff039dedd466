"""Language models: any Hugging Face causal LM that takes `inputs_embeds` and a 4-D mask, and how they differ."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import CONFIG_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING, PreTrainedConfig, PreTrainedModel
from transformers.cache_utils import Cache

from behavesim.errors import UserError
from behavesim.models.sequence import Packed

# Families whose prefix tokens carry no position and whose text starts at position 0, as the reference trains them.
WITHOUT_PREFIX_POSITIONS = frozenset({"opt"})
# Families that scale their logits; others have the same keys in their configuration and do not read them.
LOGIT_SCALES = {
    "cohere": lambda config: config.logit_scale,
    "cohere2": lambda config: config.logit_scale,
    "granite": lambda config: 1 / config.logits_scaling,
}
NO_POSITION, PADDING_POSITION = -2, -1
# Keys that older configurations hold at the top and newer ones inside `rope_parameters`; transformers moves them.
BEFORE_TRANSFORMERS_5 = ("rope_theta", "rope_scaling", "partial_rotary_factor")


def llm_config(shape: Mapping[str, Any]) -> PreTrainedConfig:
    """The configuration of `shape`: its `model_type` and that family's own keys; others are ignored.

    Raises:
        UserError: a `model_type` that transformers does not know as a causal LM.
    """
    kind = shape.get("model_type")
    if kind not in CONFIG_MAPPING or CONFIG_MAPPING[kind] not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise UserError(f"model.llm: found model_type {kind}; accepted: a causal language model that transformers has")
    return CONFIG_MAPPING[kind](**{key: value for key, value in family_keys(shape).items() if key != "model_type"})


def family_keys(shape: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of `shape` that its family knows, and `model_type`."""
    family = CONFIG_MAPPING[shape["model_type"]]
    known = {*family.__dataclass_fields__, *family.attribute_map, *BEFORE_TRANSFORMERS_5, "model_type"} - {"dtype"}
    return {key: value for key, value in shape.items() if key in known}


def causal_class(config: PreTrainedConfig) -> type[PreTrainedModel]:
    """The class of a configuration's language model."""
    return MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]


def random_llm(config: PreTrainedConfig, *, dtype: str = "float32") -> PreTrainedModel:
    """A language model of the given shape with random weights."""
    model_class = causal_class(config)
    attention = attention_of(model_class)
    return prepared(model_class._from_config(config, attn_implementation=attention, dtype=torch_dtype(dtype)))


def ids_of(value: int | Sequence[int] | None) -> list[int]:
    """Token ids of a configuration's value, which may be one, several or none."""
    return [] if value is None else [value] if isinstance(value, int) else list(value)


def torch_dtype(name: str) -> torch.dtype:
    """A dtype by name; `half` is float16 where there is a GPU, bfloat16 elsewhere."""
    if name == "half":
        return torch.float16 if torch.cuda.is_available() else torch.bfloat16
    return getattr(torch, name)


def attention_of(model_class: type[PreTrainedModel]) -> str:
    """`sdpa`, under which a 4-D float mask is known to be exact, where the family has it (MPT has not)."""
    return "sdpa" if model_class._supports_sdpa else "eager"


def prepared(llm: PreTrainedModel) -> PreTrainedModel:
    """Make a fresh model ready for prefix tokens, in place."""
    llm.config.use_cache = False
    if llm.config.model_type in WITHOUT_PREFIX_POSITIONS:
        llm.get_decoder().embed_positions.register_forward_hook(_no_prefix_positions, with_kwargs=True)
    return llm


def _no_prefix_positions(_module: nn.Module, _args: Any, kwargs: Mapping[str, Any], embeddings: Tensor) -> Tensor:
    return embeddings.masked_fill((kwargs["position_ids"] == NO_POSITION)[:, :, None], 0)


def embedding_scale(llm: PreTrainedModel) -> Tensor | float:
    """What the family multiplies its token embeddings with (Gemma: sqrt(D)); prefix tokens need the same."""
    return getattr(llm.get_input_embeddings(), "embed_scale", 1.0)


def positions(llm: PreTrainedModel, offsets: Tensor, prefix: Tensor, length: Tensor) -> Tensor:
    """Position ids [B, L] of tokens at `offsets` [B, L] in rows of `length` [B] tokens, `prefix` [B] of them prefix."""
    if llm.config.model_type not in WITHOUT_PREFIX_POSITIONS:
        return offsets.clamp(min=0)
    # OPT's table has two rows before position 0, at -2 and -1; the second one is its position of padding.
    places = (offsets - prefix[:, None]).masked_fill(offsets >= length[:, None], PADDING_POSITION)
    return places.masked_fill(offsets < prefix[:, None], NO_POSITION)


def decode(llm: PreTrainedModel, packed: Packed, cache: Cache | None = None) -> Tensor:
    """Last hidden states [B, L, D] of packed rows; fills `cache` when one is given."""
    position_ids = positions(llm, packed.offsets, packed.prefix, packed.length)
    return run_decoder(llm, packed.embeddings, packed.mask(), position_ids, cache)


def run_decoder(
    llm: PreTrainedModel, embeddings: Tensor, mask: Tensor, position_ids: Tensor, cache: Cache | None
) -> Tensor:
    """The decoder without its vocabulary layer: [B, L, D] embeddings and [B, 1, L, K] mask → [B, L, D] states."""
    output = llm.get_decoder()(
        inputs_embeds=embeddings,
        attention_mask=mask,
        position_ids=position_ids,
        past_key_values=cache,
        use_cache=cache is not None,
    )
    return output.last_hidden_state


def vocabulary_logits(llm: PreTrainedModel, states: Tensor) -> Tensor:
    """Next-token logits in fp32: [..., D] → [..., V]."""
    logits = llm.get_output_embeddings()(states).float()
    if llm.config.model_type in LOGIT_SCALES:
        logits = logits * LOGIT_SCALES[llm.config.model_type](llm.config)
    cap = getattr(llm.config, "final_logit_softcapping", None)
    return torch.tanh(logits / cap) * cap if cap else logits

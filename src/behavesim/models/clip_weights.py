"""Hugging Face CLIP vision weights under the names of open_clip's vision transformer."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from behavesim.errors import UserError

OUTSIDE = {
    "embeddings.class_embedding": "class_embedding",
    "embeddings.patch_embedding.weight": "conv1.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "pre_layrnorm.weight": "ln_pre.weight",
    "pre_layrnorm.bias": "ln_pre.bias",
}
INSIDE = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "self_attn.out_proj": "attn.out_proj",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}
# The final norm is not part of GIT-LLM's features; older files also list the positions 0, 1, 2, ….
UNUSED = ("post_layernorm.weight", "post_layernorm.bias", "embeddings.position_ids")
QKV = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
LAYER = re.compile(rf"encoder\.layers\.(\d+)\.({'|'.join((*INSIDE, *QKV))})\.(weight|bias)")


def open_clip_weights(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a `CLIPVisionModel`, names as inside its `vision_model`, renamed and with q, k, v in one matrix.

    Raises:
        UserError: a weight that no CLIP vision model has, such as that of an adapter.
    """
    unknown = [name for name in weights if name not in (*OUTSIDE, *UNUSED) and not LAYER.fullmatch(name)]
    if unknown:
        raise UserError(f"reference: vision: found {unknown[0]}; accepted: weights of a CLIP vision model")
    renamed: dict[str, Tensor] = {OUTSIDE[name]: tensor for name, tensor in weights.items() if name in OUTSIDE}
    for name, tensor in weights.items():
        match = LAYER.fullmatch(name)
        if match is None:
            continue
        layer, module, kind = match.groups()
        if module in INSIDE:
            renamed[f"transformer.resblocks.{layer}.{INSIDE[module]}.{kind}"] = tensor
        elif all(f"encoder.layers.{layer}.{part}.{kind}" in weights for part in QKV):
            parts = [weights[f"encoder.layers.{layer}.{part}.{kind}"] for part in QKV]
            renamed[f"transformer.resblocks.{layer}.attn.in_proj_{kind}"] = torch.cat(parts)
    return renamed

"""Checkpoints of the reference implementation of GIT-LLM, read into a `GitModel`."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from behavesim.errors import UserError
from behavesim.models.clip_weights import open_clip_weights
from behavesim.models.git import GitModel
from behavesim.models.llm import ids_of, llm_config, random_llm
from behavesim.models.lora import add_lora
from behavesim.models.projector import LinearProjector
from behavesim.models.state_files import checkpoint_folder, read_state_dict
from behavesim.models.text_head import TextHead
from behavesim.models.vision import shaped_tower

FAMILIES = {"llama": "llama", "opt": "opt", "mpt": "mpt", "git_llama": "llama", "git_opt": "opt", "git_mpt": "mpt"}
PUBLISHED_LORA_ALPHA = 32
WRAPPERS = re.compile(r"^(module\.)*(base_model\.model\.)?")  # of data parallelism and of peft
PARTS = {
    "vision": re.compile(r"(?:model|transformer)(?:\.decoder)?\.image_encoder\.(?:vision_model\.)?(.+)"),
    "projector": re.compile(r"(?:model|transformer)(?:\.decoder)?\.visual_projection\.visual_projection\.(.+)"),
    "frame": re.compile(r"(?:model|transformer)(?:\.decoder)?\.img_temporal_embedding\.(\d+)"),
}
PROJECTOR = {"0.weight": "linear.weight", "0.bias": "linear.bias", "1.weight": "norm.weight", "1.bias": "norm.bias"}
ADAPTER = re.compile(r"(\.lora_[AB])\.weight$")  # as an adapter file names it
COMPUTED = re.compile(r".*rotary_emb\.inv_freq|.*\.attn_bias")  # older files list what newer code computes
EMBEDDINGS = {
    "llama": "model.embed_tokens.weight",
    "opt": "model.decoder.embed_tokens.weight",
    "mpt": "transformer.wte.weight",
}
OPT_POSITIONS, OPT_UNUSED_POSITIONS = "model.embed_positions.weight", "model.decoder.embed_positions.weight"


@dataclass(frozen=True)
class ReferenceSettings:
    """Shapes of a reference model: arguments of this package's own builders."""

    llm: Mapping[str, Any]  # with `model_type`
    vision: Mapping[str, Any]  # of `shaped_tower`
    frames: int
    lora: Mapping[str, Any] | None  # r, alpha, target_modules


def load_reference_checkpoint(folder: str | Path) -> GitModel:
    """The model of a folder with `config.json` and `pytorch_model.bin` (or its shards), in eval mode and fp32.

    Of a Trainer's folder the last `checkpoint-N` is read. Padding to the right of a text gives what it gives in the
    reference; padding before or inside it is closed up here, whereas the reference keeps the gap.

    It takes `input_ids`, `attention_mask` [B, T] and normalised `pixel_values` [B, 3, S, S] or [B, frames, 3, S, S];
    its output's `logits` are [B, image tokens + T, V]; `generate` continues greedily and returns the new ids alone.

    Raises:
        UserError: a file is missing, or weights and shapes disagree.
    """
    folder = checkpoint_folder(Path(folder))
    state = ReferenceState.read(folder)
    settings = state.settings(read_config(folder / "config.json"))
    tower = shaped_tower(**settings.vision)
    llm = random_llm(llm_config(settings.llm))
    if settings.lora is not None:
        add_lora(llm, **settings.lora, dropout=0.0)
    model = GitModel(
        vision=tower,
        projector=LinearProjector(tower.width, llm.get_input_embeddings().embedding_dim),
        llm=llm,
        head=TextHead(None),
        frames=settings.frames,
        embed_frames=state.frames is not None,
        eos_ids=ids_of(settings.llm.get("eos_token_id")),
    )
    state.load_into(model)
    return model.eval()


def read_config(path: Path) -> dict[str, Any]:
    """The reference's `config.json`.

    Raises:
        UserError: there is none, or it is no JSON object.
    """
    try:
        config = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"config={path}: {error}; accepted: the reference's config.json") from error
    if not isinstance(config, dict):
        raise UserError(f"config={path}: found a {type(config).__name__}; accepted: a JSON object")
    return config


@dataclass(frozen=True)
class ReferenceState:
    """A reference checkpoint's weights, sorted by part and freed of wrappers' prefixes."""

    llm: Mapping[str, Tensor]  # names as in the plain language model, adapters included
    vision: Mapping[str, Tensor]  # names as inside `CLIPVisionModel.vision_model`
    projector: Mapping[str, Tensor]
    frames: Tensor | None  # [frames, 1, width]

    @classmethod
    def read(cls, path: Path) -> "ReferenceState":
        """From a file, a folder of shards or a Trainer folder; nothing pickled is run."""
        parts: dict[str, dict[str, Tensor]] = {"llm": {}, "vision": {}, "projector": {}, "frame": {}}
        for name, tensor in read_state_dict(path).items():
            name = WRAPPERS.sub("", name).replace(".base_layer.", ".")
            found = [(part, match[1]) for part, form in PARTS.items() if (match := form.fullmatch(name))]
            part, inner = found[0] if found else ("llm", ADAPTER.sub(r"\1.default.weight", name))
            parts[part][inner] = tensor
        llm = {name: tensor for name, tensor in parts["llm"].items() if not COMPUTED.fullmatch(name)}
        if OPT_POSITIONS in llm:  # the reference adds its own table to the text; the decoder's goes unread
            llm[OPT_UNUSED_POSITIONS] = llm.pop(OPT_POSITIONS)
        projector = {PROJECTOR.get(name, name): tensor for name, tensor in parts["projector"].items()}
        if not (llm and parts["vision"] and projector):
            missing = [part for part in ("llm", "vision", "projector") if not (parts[part])]
            raise UserError(f"reference={path}: no weights of {', '.join(missing)}; accepted: a GIT-LLM checkpoint")
        frames = [_found(parts["frame"], str(place), "frame").view(1, -1) for place in range(len(parts["frame"]))]
        return cls(llm, parts["vision"], projector, torch.stack(frames) if frames else None)

    def settings(self, config: Mapping[str, Any]) -> ReferenceSettings:
        """Shapes: what the weights do not tell comes from the reference's `config.json`; unknown keys are ignored."""
        family = config.get("family", config.get("model_type"))
        if family not in FAMILIES:
            raise UserError(f"config: family is {family}; accepted: {', '.join(FAMILIES)}")
        shape = {**config.get("llm", config), "model_type": FAMILIES[family]}
        # The vocabulary may have grown, and its layer may be tied to the embeddings or not: the weights know.
        embeddings = _found(self.llm, EMBEDDINGS[FAMILIES[family]], "llm")
        output = self.llm.get("lm_head.weight")
        shape |= {
            "vocab_size": embeddings.shape[0],
            "tie_word_embeddings": output is None or torch.equal(output, embeddings),
        }
        frames = 1 if self.frames is None else len(self.frames)
        return ReferenceSettings(
            shape, self._vision(config.get("vision") or {}), frames, self._lora(config.get("lora"))
        )

    def _vision(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments of `shaped_tower`, read off the weights; the number of heads is not in them."""
        width, _, patch, _ = _found(self.vision, "embeddings.patch_embedding.weight", "vision").shape
        places = len(_found(self.vision, "embeddings.position_embedding.weight", "vision")) - 1
        layers = {name.split(".")[2] for name in self.vision if name.startswith("encoder.layers.")}
        return {
            "image_size": round(places**0.5) * patch,
            "patch_size": patch,
            "width": width,
            "layers": len(layers),
            "heads": config.get("num_attention_heads", width // 64),  # 64 in every CLIP of OpenAI
            "mlp_width": len(_found(self.vision, "encoder.layers.0.mlp.fc1.weight", "vision")),
            "quick_gelu": config.get("hidden_act", "quick_gelu") == "quick_gelu",
            "norm_eps": config.get("layer_norm_eps", 1e-5),
        }

    def _lora(self, config: Mapping[str, Any] | None) -> dict[str, Any] | None:
        adapters = {name: tensor for name, tensor in self.llm.items() if ".lora_A." in name}
        if not adapters:
            return None
        return {
            "r": len(next(iter(adapters.values()))),
            "alpha": (config or {}).get("lora_alpha", PUBLISHED_LORA_ALPHA),
            "target_modules": sorted({name.split(".lora_A.")[0].rsplit(".", 1)[-1] for name in adapters}),
        }

    def load_into(self, model: GitModel) -> None:
        """Copy every weight to its place.

        Raises:
            UserError: a weight has no place, a place no weight, or sizes differ.
        """
        vision = {f"transformer.{name}": tensor for name, tensor in open_clip_weights(self.vision).items()}
        places = {name.replace(".base_layer.", "."): name for name in model.llm.state_dict()}
        llm = {places.get(name, name): tensor for name, tensor in self.llm.items()}
        for part, weights in (("vision", vision), ("projector", self.projector), ("llm", llm)):
            _load(part, getattr(model, part), weights)
        if model.frame_embedding is not None:
            model.frame_embedding.data.copy_(self.frames)
        elif self.frames is not None:  # an artifact's single frame: added to every state, it is the projector's bias
            linear = model.projector.linear
            linear.bias.data += linear.weight.data @ self.frames.view(-1).to(linear.weight)


def _found(weights: Mapping[str, Tensor], name: str, part: str) -> Tensor:
    if name not in weights:
        raise UserError(f"reference: {part} without a weight {name}; accepted: all weights of a GIT-LLM checkpoint")
    return weights[name]


def _load(part: str, module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """`load_state_dict` that names what does not fit; the second name of a tied matrix may be absent."""
    try:
        keys = module.load_state_dict(weights, strict=False)
    except RuntimeError as error:  # sizes that differ
        reason = str(error).split("\n")[1].strip()
        raise UserError(f"reference: {part}: {reason}; accepted: weights that fit config.json") from error
    filled = {tensor.data_ptr() for name, tensor in module.state_dict().items() if name in weights}
    missing = [name for name in keys.missing_keys if module.state_dict()[name].data_ptr() not in filled]
    for fault, names in (("without a weight for", missing), ("with unknown weights", keys.unexpected_keys)):
        if names:
            raise UserError(
                f"reference: {part} {fault} {names[0]} ({len(names)} in all); accepted: weights that fit config.json"
            )

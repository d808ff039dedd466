"""The vision tower: an open_clip vision transformer, read at its last layer's token states."""

from functools import partial
from typing import Any

import open_clip
import torch
from open_clip.transformer import LayerNorm, QuickGELU, VisionTransformer
from torch import Tensor, nn

from behavesim.errors import UserError
from behavesim.models.hub import vision_file

# The normalisation that CLIP was trained with (Radford et al. 2021), kept for towers trained from nothing.
MEAN = open_clip.OPENAI_DATASET_MEAN
STD = open_clip.OPENAI_DATASET_STD
# Settings of towers in open_clip whose layers a plain CLIP vision transformer has not.
BEYOND_PLAIN = ("no_ln_pre", "ls_init_value", "attentional_pool", "timm_model_name")


class VisionTower(nn.Module):
    """Pictures to token states: [N, 3, S, S] → [N, 1 + (S / patch)², width].

    uint8 pictures are normalised as CLIP was trained; float ones are taken as normalised already. The states are those
    of the last layer before the final norm, class token first, as GIT-LLM takes them.
    """

    def __init__(self, transformer: VisionTransformer) -> None:
        super().__init__()
        self.transformer = transformer
        # The pooled head is never read: without it every parameter of the tower gets a gradient.
        self.transformer.ln_post = nn.Identity()
        self.transformer.proj = None
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1) * 255, persistent=False)

    @property
    def width(self) -> int:
        """Size of a token state."""
        return self.transformer.conv1.out_channels

    @property
    def image_size(self) -> int:
        """Side of the square input in pixels."""
        return self.transformer.image_size[0]

    @property
    def tokens(self) -> int:
        """Number of token states a picture gives, the class token included."""
        rows, columns = self.transformer.grid_size
        return 1 + rows * columns

    def blank(self) -> Tensor:
        """A black picture: [1, 3, S, S]."""
        return torch.zeros(1, 3, self.image_size, self.image_size, dtype=torch.uint8)

    def forward(self, pixels: Tensor) -> Tensor:
        """Token states of a batch of pictures; see the class."""
        if pixels.dtype == torch.uint8:
            pixels = (pixels - self.mean) / self.std
        pixels = pixels.to(self.transformer.conv1.weight.dtype)
        self._order(batch_first=not torch.is_autocast_enabled(pixels.device.type))
        states = self.transformer.forward_intermediates(
            pixels, indices=1, output_fmt="NLC", output_extra_tokens=True, intermediates_only=True
        )
        return torch.cat([states["image_intermediates_prefix"][0], states["image_intermediates"][0]], dim=1)

    def _order(self, *, batch_first: bool) -> None:
        """Whether layers see [N, tokens, width] or [tokens, N, width]; the numbers are the same.

        Attention has a fused form for the former, but not under autocast. There the product of a frozen layer's input
        becomes one for each token, each with a copy of the weight: twenty times slower on a CPU.
        """
        layers = self.transformer.transformer
        if layers.batch_first != batch_first:
            layers.batch_first = batch_first
            for module in layers.modules():
                if isinstance(module, nn.MultiheadAttention):
                    module.batch_first = batch_first


def shaped_tower(
    *,
    image_size: int,
    patch_size: int,
    width: int,
    layers: int,
    heads: int,
    mlp_width: int | None = None,
    quick_gelu: bool = False,
    norm_eps: float = 1e-5,
) -> VisionTower:
    """A vision transformer of the given shape with random weights; `mlp_width` is 4 × width unless given."""
    return VisionTower(
        VisionTransformer(
            image_size=image_size,
            patch_size=patch_size,
            width=width,
            layers=layers,
            heads=heads,
            mlp_ratio=(mlp_width or 4 * width) / width,
            act_layer=QuickGELU if quick_gelu else nn.GELU,
            norm_layer=partial(LayerNorm, eps=norm_eps),
        )
    )


def named_shape(name: str) -> dict[str, Any]:
    """Arguments of `shaped_tower` for a model of open_clip.

    Raises:
        UserError: open_clip has no such model, or its tower is no plain vision transformer.
    """
    config = open_clip.get_model_config(name)
    if config is None:
        raise UserError(f"model.vision.name: found {name}; accepted: a model of open_clip such as ViT-B-16-quickgelu")
    vision = config["vision_cfg"]
    plain = {"image_size", "patch_size", "width", "layers"} <= set(vision) and isinstance(vision["layers"], int)
    if not plain or any(vision.get(key) for key in BEYOND_PLAIN) or vision.get("pool_type", "tok") != "tok":
        raise UserError(f"model.vision.name: found {name}, whose tower is no ViT of open_clip; accepted: ViT-B-32, …")
    return {
        "image_size": vision["image_size"],
        "patch_size": vision["patch_size"],
        "width": vision["width"],
        "layers": vision["layers"],
        "heads": vision["width"] // vision.get("head_width", 64),
        "mlp_width": int(vision["width"] * vision.get("mlp_ratio", 4)),
        "quick_gelu": config.get("quick_gelu", False),
    }


def pretrained_tower(name: str, weights: str) -> VisionTower:
    """The tower of an open_clip model with the weights of one of its tags or of a file.

    Raises:
        UserError: there is no such model, or its weights are not to be had.
    """
    named_shape(name)
    return VisionTower(open_clip.create_model(name, pretrained=str(vision_file(name, weights))).visual)

"""The vision tower: an open_clip vision transformer, read at its last layer's token states."""

import open_clip
import torch
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn

# The normalisation that CLIP was trained with (Radford et al. 2021), kept for towers trained from nothing.
MEAN = open_clip.OPENAI_DATASET_MEAN
STD = open_clip.OPENAI_DATASET_STD


class VisionTower(nn.Module):
    """Pictures to token states: [N, 3, S, S] uint8 or float in 0…255 → [N, 1 + (S / patch)², width].

    The states are those of the last layer before the final norm, class token first, as GIT-LLM takes them.
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

    def forward(self, pixels: Tensor) -> Tensor:
        """Token states of a batch of pictures; see the class."""
        pixels = (pixels.to(self.transformer.conv1.weight.dtype) - self.mean) / self.std
        states = self.transformer.forward_intermediates(
            pixels, indices=1, output_fmt="NLC", output_extra_tokens=True, intermediates_only=True
        )
        return torch.cat([states["image_intermediates_prefix"][0], states["image_intermediates"][0]], dim=1)


def tiny_tower(*, image_size: int, patch_size: int, width: int, layers: int, heads: int) -> VisionTower:
    """A vision transformer of the given shape with random weights."""
    return VisionTower(
        VisionTransformer(
            image_size=image_size, patch_size=patch_size, width=width, layers=layers, heads=heads, mlp_ratio=4.0
        )
    )

"""Token states that were computed beforehand, in the place of a vision tower."""

import torch
from torch import Tensor, nn


class StoredStates(nn.Module):
    """Stands in for `VisionTower` where a batch holds token states: [N, tokens, width] floats go through unchanged.

    It has no parameters, and so nothing that could train.
    """

    image_size = 0  # there are no pixels: whoever reads pictures to this size makes a mistake that shows at once

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.tokens = tokens
        self.width = width

    def blank(self) -> Tensor:
        """States of no picture: [1, tokens, width]."""
        return torch.zeros(1, self.tokens, self.width)

    def forward(self, states: Tensor) -> Tensor:
        """The states themselves.

        Raises:
            ValueError: they have another shape.
        """
        if states.ndim != 3 or states.shape[1:] != (self.tokens, self.width):
            raise ValueError(f"states have the shape {list(states.shape)}, not [N, {self.tokens}, {self.width}]")
        return states

"""Projectors: from what a tower or a table gives to embeddings of the language model."""

from torch import Tensor, nn


class LinearProjector(nn.Module):
    """The reference's projector, `Linear → LayerNorm`: [..., width] → [..., hidden_size]."""

    def __init__(self, width: int, hidden_size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, hidden_size)
        self.norm = nn.LayerNorm(hidden_size)

    def forward(self, states: Tensor) -> Tensor:
        """Project the last dimension."""
        return self.norm(self.linear(states))


class MetadataProjector(nn.Module):
    """A tweet's standardised numbers as one prefix token: [B, features] → [B, 1, hidden_size].

    The hidden layer lets the token express thresholds and products that a linear map cannot.
    """

    def __init__(self, features: int, hidden_size: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(features, 2 * hidden_size),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(2 * hidden_size, hidden_size),
            nn.LayerNorm(hidden_size),
        )

    def forward(self, features: Tensor) -> Tensor:
        """One token a row."""
        return self.layers(features)[:, None]

"""Projectors: from what a tower or a table gives to embeddings of the language model."""

import torch
import torch.nn.functional as F  # noqa: N812
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


class MlpProjector(nn.Module):
    """Two layers with a GELU between (Liu et al. 2023, LLaVA-1.5): [..., width] → [..., hidden_size]."""

    def __init__(self, width: int, hidden_size: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(width, hidden_size), nn.GELU(), nn.Linear(hidden_size, hidden_size))

    def forward(self, states: Tensor) -> Tensor:
        """Project the last dimension."""
        return self.layers(states)


class Resampler(nn.Module):
    """Learned queries that look at a picture's states once (Bai et al. 2023, Qwen-VL): a fixed number of tokens.

    [N, I, width] → [N, tokens, hidden_size], whatever I is.
    """

    def __init__(self, width: int, hidden_size: int, tokens: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.queries = nn.Parameter(torch.randn(tokens, hidden_size) * hidden_size**-0.5)
        self.norm_states = nn.LayerNorm(width)
        self.norm_queries = nn.LayerNorm(hidden_size)
        self.query = nn.Linear(hidden_size, hidden_size)
        self.key = nn.Linear(width, hidden_size)
        self.value = nn.Linear(width, hidden_size)
        self.out = nn.Linear(hidden_size, hidden_size)
        self.norm = nn.LayerNorm(hidden_size)

    def forward(self, states: Tensor) -> Tensor:
        """Tokens of each picture."""
        states = self.norm_states(states)
        queries = self.norm_queries(self.queries).expand(len(states), -1, -1)
        attended = F.scaled_dot_product_attention(
            self._split(self.query(queries)), self._split(self.key(states)), self._split(self.value(states))
        )
        return self.norm(self.queries + self.out(attended.transpose(1, 2).flatten(2)))

    def _split(self, tokens: Tensor) -> Tensor:
        """[N, K, D] → [N, heads, K, D / heads]."""
        return tokens.unflatten(2, (self.heads, -1)).transpose(1, 2)

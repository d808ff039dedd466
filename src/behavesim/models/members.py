"""Several small networks side by side in one tensor: a deep ensemble at the price of one call."""

import torch
from torch import Tensor, nn


class MemberLinear(nn.Module):
    """M linear layers, each with weights of its own: [B, M, in] → [B, M, out]."""

    def __init__(self, members: int, in_features: int, out_features: int) -> None:
        super().__init__()
        self.members = members
        self.in_features = in_features
        self.out_features = out_features
        bound = in_features**-0.5
        self.weight = nn.Parameter(torch.empty(members, in_features, out_features).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(members, out_features).uniform_(-bound, bound))

    def zeroed(self) -> "MemberLinear":
        """The same layer, starting at zero."""
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)
        return self

    def forward(self, states: Tensor) -> Tensor:
        """Every member's own states; [B, 1, in] are the same to all of them."""
        product = torch.bmm(states.expand(-1, self.members, -1).transpose(0, 1), self.weight)  # [M, B, out]
        return (product + self.bias[:, None].to(product.dtype)).transpose(0, 1)


class MemberGate(nn.Module):
    """A factor for each member and number, closed at first: [B, 1, D] → [B, M, D].

    A module of its own, since ZeRO-3 brings weights together for a backward pass where a module's `forward` used them.
    """

    def __init__(self, members: int, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(members, features))

    def forward(self, states: Tensor) -> Tensor:
        """In the precision of the weights."""
        return states.to(self.weight.dtype) * self.weight

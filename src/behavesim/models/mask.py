"""The GIT attention mask: a prefix that sees itself, a text that sees the prefix and its own past."""

import torch
from torch import Tensor


def prefix_mask(offsets: Tensor, prefix: Tensor, length: Tensor, dtype: torch.dtype) -> Tensor:
    """Additive attention mask of a prefix language model.

    Prefix tokens (image, metadata) see each other in both directions and no text; text is causal and sees the whole
    prefix (Wang et al. 2022, GIT, figure 2). Nothing sees padding. Padding after a text sees what the text sees, as
    in the reference; padding before a prefix sees itself alone: a row without any visible key would turn into NaN
    under softmax.

    The float form is deliberate: a boolean 4-D mask is read differently by different attention implementations. Its
    zeros and minima also become the False and True that MPT, which casts any mask to bool, reads as seen and masked.

    Args:
        offsets: [B, L] int64, place of each token in its row; negative before the row's first token.
        prefix: [B], prefix tokens of each row, which come first.
        length: [B], tokens of each row, prefix included.
        dtype: of the hidden states that the mask is added to.

    Returns:
        [B, 1, L, L]: 0 where the query (row) may look at the key (column), the dtype's minimum elsewhere.
    """
    size = offsets.shape[1]
    causal = torch.ones(size, size, dtype=torch.bool, device=offsets.device).tril()
    valid = (offsets >= 0) & (offsets < length[:, None])  # [B, L]
    in_prefix = valid & (offsets < prefix[:, None])  # [B, L]
    allowed = (causal | (in_prefix[:, :, None] & in_prefix[:, None, :])) & valid[:, None, :]  # [B, L, L]
    blind = ~allowed.any(dim=2, keepdim=True)
    allowed |= blind & torch.eye(size, dtype=torch.bool, device=offsets.device)
    return additive(allowed, dtype)[:, None]


def additive(allowed: Tensor, dtype: torch.dtype) -> Tensor:
    """True → 0, False → the dtype's minimum; any shape."""
    return torch.zeros(allowed.shape, dtype=dtype, device=allowed.device).masked_fill(~allowed, torch.finfo(dtype).min)

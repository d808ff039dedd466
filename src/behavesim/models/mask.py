"""The GIT attention mask: a prefix that sees itself, a text that sees the prefix and its own past."""

import torch
from torch import Tensor


def prefix_mask(prefix_valid: Tensor, text_valid: Tensor, dtype: torch.dtype) -> Tensor:
    """Additive attention mask of a prefix language model.

    Prefix tokens (image, metadata) see each other in both directions and no text; text is causal and sees the whole
    prefix (Wang et al. 2022, GIT, figure 2). Nothing sees a padded position, except each position itself: a row
    without any visible key would turn into NaN under softmax.

    The float form is deliberate: a boolean 4-D mask is read differently by different attention implementations.

    Args:
        prefix_valid: [B, P] bool, False where a prefix slot is empty.
        text_valid: [B, T] bool, False on padding.
        dtype: of the hidden states that the mask is added to.

    Returns:
        [B, 1, P + T, P + T]: 0 where the query (row) may look at the key (column), the dtype's minimum elsewhere.
    """
    prefix_length, text_length = prefix_valid.shape[1], text_valid.shape[1]
    total = prefix_length + text_length
    device = text_valid.device
    allowed = torch.ones(total, total, dtype=torch.bool, device=device).tril()
    allowed[:prefix_length, :prefix_length] = True
    valid = torch.cat([prefix_valid, text_valid], dim=1)  # [B, P + T]
    allowed = allowed & valid[:, None, :]  # [B, P + T, P + T]
    allowed |= torch.eye(total, dtype=torch.bool, device=device)
    mask = torch.zeros(allowed.shape, dtype=dtype, device=device).masked_fill(~allowed, torch.finfo(dtype).min)
    return mask[:, None]


def positions(valid: Tensor) -> Tensor:
    """Position ids that run on from the prefix to the text and skip padding: [B, L] bool → [B, L] int64."""
    return (valid.long().cumsum(dim=1) - 1).clamp(min=0)

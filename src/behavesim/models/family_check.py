"""Whether a language model can be fed the way this package feeds it."""

import torch
from torch import Tensor
from transformers import PreTrainedModel

from behavesim.errors import UserError
from behavesim.models.llm import decode, vocabulary_logits
from behavesim.models.sequence import pack

# Compared with the stock model in the tests, generation included.
KNOWN = frozenset({"llama", "opt", "mpt", "qwen2", "gemma"})
TOLERANCE = 0.05  # of the logits' spread: weights in halves differ by about a hundredth


@torch.no_grad()
def check_family(llm: PreTrainedModel) -> None:
    """Whether a model gives its own logits of a text, lets a prefix see itself both ways, and ignores padding.

    Families that are known to and models without weights (meta device) are not run.

    Raises:
        UserError: the model fails or does otherwise.
    """
    if llm.config.model_type in KNOWN or llm.device.type == "meta":
        return
    training = llm.training
    llm.eval()
    ids = torch.arange(8, device=llm.device)[None] % llm.config.vocab_size
    try:
        own = llm(input_ids=ids, attention_mask=torch.ones_like(ids)).logits.float()
        text = llm.get_input_embeddings()(ids)
        agrees = _same(own, _logits(llm, text)) and _sees_both_ways(llm, text) and _ignores_padding(llm, text)
    except (ValueError, TypeError, RuntimeError, AttributeError, IndexError):
        agrees = False  # such as a decoder that takes no embeddings or no 4-D mask
    finally:
        llm.train(training)
    if not agrees:
        raise UserError(
            f"model.llm: found the family {llm.config.model_type}, which cannot be fed embeddings under a 4-D mask; "
            f"accepted: {', '.join(sorted(KNOWN))}, and others that can"
        )


def _logits(llm: PreTrainedModel, embeddings: Tensor, prefix: int = 0) -> Tensor:
    packed = pack(embeddings, torch.ones(embeddings.shape[:2], dtype=torch.bool, device=llm.device), prefix)
    return vocabulary_logits(llm, decode(llm, packed))


def _sees_both_ways(llm: PreTrainedModel, text: Tensor) -> bool:
    """The first of three prefix tokens changes with the last."""
    changed = text.clone()
    changed[:, 2] = -text[:, 2]
    return not torch.equal(_logits(llm, text, 3)[:, 0], _logits(llm, changed, 3)[:, 0])


def _ignores_padding(llm: PreTrainedModel, text: Tensor) -> bool:
    """The last token is the same behind three places of padding, whatever stands there."""
    padded = torch.cat([text[:, :3], text], dim=1)
    valid = torch.arange(padded.shape[1], device=llm.device)[None] >= 3
    behind = decode(llm, pack(padded, valid, 0, left_padded=True))
    return _same(_logits(llm, text)[:, -1], vocabulary_logits(llm, behind)[:, -1])


def _same(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).abs().max() <= TOLERANCE * one.std())

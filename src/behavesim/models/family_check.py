"""Whether a language model can be fed the way this package feeds it."""

import torch
from transformers import PreTrainedModel

from behavesim.errors import UserError
from behavesim.models.llm import decode, vocabulary_logits
from behavesim.models.sequence import pack

# Compared with the stock model in the tests, generation included.
KNOWN = frozenset({"llama", "opt", "mpt", "qwen2", "gemma"})
TOLERANCE = 0.05  # of the logits' spread: weights in halves differ by about a hundredth


@torch.no_grad()
def check_family(llm: PreTrainedModel) -> None:
    """Compare a few tokens fed as embeddings under a 4-D mask with the model's own reading of their ids.

    Families that are known to agree and models without weights (meta device) are not run.

    Raises:
        UserError: the model fails or gives other logits.
    """
    if llm.config.model_type in KNOWN or llm.device.type == "meta":
        return
    training = llm.training
    llm.eval()
    ids = torch.arange(8, device=llm.device)[None] % llm.config.vocab_size
    try:
        own = llm(input_ids=ids, attention_mask=torch.ones_like(ids)).logits.float()
        packed = pack(llm.get_input_embeddings()(ids), torch.ones_like(ids, dtype=torch.bool), 0)
        ours = vocabulary_logits(llm, decode(llm, packed))
        agrees = bool(((own - ours).abs().max() <= TOLERANCE * own.std()).item())
    except (ValueError, TypeError, RuntimeError, AttributeError, IndexError):
        agrees = False  # such as a decoder that takes no embeddings or no 4-D mask
    finally:
        llm.train(training)
    if not agrees:
        raise UserError(
            f"model.llm: found the family {llm.config.model_type}, which does not give its own logits when it is fed "
            f"embeddings and a 4-D mask; accepted: {', '.join(sorted(KNOWN))}, and others that do"
        )

"""Rows that are continued token by token behind a prompt that a key-value cache holds."""

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.cache_utils import DynamicCache

from behavesim.models import llm as decoder
from behavesim.models.mask import additive
from behavesim.models.sequence import Packed


class Continuation:
    """B rows of a prompt, each continued R / B times side by side; one forward pass of the prompt, then one a token.

    Equal to recomputing everything at each step, token for token.

    Args:
        llm: the language model.
        prompt: left-padded rows.
        copies: continuations of each row.
    """

    def __init__(self, llm: PreTrainedModel, prompt: Packed, copies: int = 1) -> None:
        self.llm = llm
        self.cache = DynamicCache()  # holds the prompt once and is repeated for the copies
        logits = decoder.vocabulary_logits(llm, decoder.decode(llm, prompt, self.cache)[:, -1])
        self.cache.batch_repeat_interleave(copies)
        state = (logits, prompt.offsets >= 0, prompt.prefix, prompt.length)
        self.logits, self.seen, self.prefix, self.length = (
            tensor.repeat_interleave(copies, dim=0) for tensor in state
        )  # of the next token [R, V]; places that hold one [R, L]; tokens of the prefix and of all so far [R]

    def take(self, ids: Tensor) -> None:
        """Continue each row with one token: [R]."""
        self.seen = torch.cat([self.seen, torch.ones_like(self.seen[:, :1])], dim=1)
        embeddings = self.llm.get_input_embeddings()(ids[:, None])  # [R, 1, D]
        mask = additive(self.seen, embeddings.dtype)[:, None, None]  # [R, 1, 1, K]
        position_ids = decoder.positions(self.llm, self.length[:, None], self.prefix, self.length + 1)
        states = decoder.run_decoder(self.llm, embeddings, mask, position_ids, self.cache)
        self.length = self.length + 1
        self.logits = decoder.vocabulary_logits(self.llm, states[:, -1])

    def go_on_from(self, rows: Tensor) -> None:
        """Put rows, as many as are named, in the place of those that are there, each with all that it has seen."""
        self.cache.reorder_cache(rows)
        self.seen, self.prefix, self.length = self.seen[rows], self.prefix[rows], self.length[rows]

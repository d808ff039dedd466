"""Prompts and answers as rows of token ids."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedTokenizerBase

from behavesim.data.task import Prompt
from behavesim.errors import UserError


@dataclass(frozen=True)
class TokenRows:
    """How prompts and answers become rows.

    Args:
        tokenizer: a fast one.
        max_length: tokens of a row; a prompt's content is cut at its end until it fits.
        answer_tokens: room kept for an answer, whether a row has one or not.
    """

    tokenizer: PreTrainedTokenizerBase
    max_length: int
    answer_tokens: int

    def joined(self, prompts: Sequence[Prompt], answers: Sequence[str]) -> tuple[list[np.ndarray], np.ndarray]:
        """Rows in which each answer goes on in the prompt's own text, and the answers' lengths [N]; "" is none.

        Raises:
            UserError: the tokenizer joins both, or has no end of text.
        """
        if not prompts:
            return [], np.zeros(0, np.int64)
        # Prompt and answer in one piece: tokens at a seam of separately encoded parts would be ones never seen whole.
        encoded = self._encoded([prompt.text + answer for prompt, answer in zip(prompts, answers, strict=True)])
        return _transposed(self._row(*row) for row in zip(prompts, answers, *encoded, strict=True))

    def apart(self, prompts: Sequence[Prompt], texts: Sequence[str]) -> tuple[list[np.ndarray], np.ndarray]:
        """The same with texts that are encoded on their own, as they are written: whatever they begin with.

        One that is too long is cut and has no end.
        """
        if not prompts:
            return [], np.zeros(0, np.int64)
        end = self.tokenizer.eos_token_id
        if end is None:
            raise UserError("task: found content, but the tokenizer has no end-of-text token; accepted: behaviour")
        ids = self.tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        answers = [np.array([*text, end][: self.answer_tokens] if text else [], dtype=np.int32) for text in ids]
        encoded = self._encoded([prompt.text for prompt in prompts])
        asked = (self._row(prompt, "", *each)[0] for prompt, *each in zip(prompts, *encoded, strict=True))
        return _transposed((np.concatenate([row, text]), len(text)) for row, text in zip(asked, answers, strict=True))

    def _encoded(self, texts: list[str]) -> tuple[list[list[int]], list[list[tuple[int, int]]]]:
        """Ids of each text, and the characters at which each token starts and ends."""
        encoded = self.tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True)
        return encoded["input_ids"], encoded["offset_mapping"]

    def _row(
        self, prompt: Prompt, answer: str, ids: list[int], offsets: list[tuple[int, int]]
    ) -> tuple[np.ndarray, int]:
        """One row with its content cut to fit; the end of the prompt and the answer are never cut."""
        spans = np.array(offsets, dtype=np.int64).reshape(-1, 2)
        seams = np.cumsum([len(prompt.before), len(prompt.content), len(prompt.after)])
        head, body, tail, written = np.split(np.array(ids, dtype=np.int32), np.searchsorted(spans[:, 0], seams))
        # The prompt would end in the answer's first digit; or characters were dropped, and no seam can be found.
        across = (spans[:, 0] < seams[2]) & (spans[:, 1] > seams[2])
        if answer and (across.any() or spans[-1, 1] != seams[2] + len(answer)):
            raise UserError(f"task: the tokenizer joins the answer {answer!r} to the prompt; accepted: another one")
        bos = self.tokenizer.bos_token_id
        first = [] if bos is None else [bos]
        room = max(0, self.max_length - len(first) - len(head) - len(tail) - self.answer_tokens)
        if answer and self.tokenizer.eos_token_id is None:
            raise UserError("model.head: found text, but the tokenizer has no end-of-text token; accepted: histogram")
        last = [self.tokenizer.eos_token_id] if answer else []  # supervised: one that never saw an end would not stop
        row = np.concatenate([first, head, body[:room], tail, written, last]).astype(np.int32)
        return row, len(written) + len(last)


def _transposed(rows: Iterable[tuple[np.ndarray, int]]) -> tuple[list[np.ndarray], np.ndarray]:
    """Rows and their answers' lengths [N]."""
    ids, lengths = zip(*rows, strict=True)
    return list(ids), np.array(lengths, dtype=np.int64)

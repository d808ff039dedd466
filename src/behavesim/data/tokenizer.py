"""Tokenizers: a language model's own, or a byte-level BPE learned from the training prompts."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from behavesim.errors import UserError

# Markers of the published table; split in pieces they would inflate every length and every n-gram score.
MARKERS = ("<hyperlink>", "<mention>")
PAD, BOS, EOS = "<pad>", "<bos>", "<eos>"


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """Learn merges from `texts`; any string can be encoded and decoded back."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[PAD, BOS, EOS, *MARKERS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        additional_special_tokens=list(MARKERS),
        clean_up_tokenization_spaces=False,
    )


def load_tokenizer(folder: Path, *, key: str = "model.llm") -> PreTrainedTokenizerBase:
    """The tokenizer of a language model's folder; `key` is the setting that errors name.

    Raises:
        UserError: there is none, or it cannot tell where in a text its tokens start.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{key}: {folder}: no readable tokenizer ({reason}); accepted: tokenizer.json") from error
    if not tokenizer.is_fast:
        raise UserError(f"{key}: {folder}: a tokenizer without tokenizer.json; accepted: one with it")
    return tokenizer


def add_markers(tokenizer: PreTrainedTokenizerBase) -> None:
    """Make each of `MARKERS` a single token, in place; new ones stand behind all others."""
    tokenizer.add_tokens([AddedToken(marker, normalized=False) for marker in MARKERS])


def decoded(tokenizer: PreTrainedTokenizerBase, rows: Sequence[Sequence[int]]) -> list[str]:
    """Texts of N sequences of ids, as they were before they were tokenized."""
    texts = tokenizer.batch_decode(rows)
    for marker in MARKERS:
        # Llama-2's puts a space before every stretch of text, and so behind each token that stands for itself.
        if tokenizer.decode(tokenizer(f"{marker}a", add_special_tokens=False)["input_ids"]) == f"{marker} a":
            texts = [text.replace(f"{marker} ", marker) for text in texts]
    return texts


def marker_pieces(tokenizer: PreTrainedTokenizerBase) -> dict[int, list[int]]:
    """Of those of `MARKERS` that are single tokens, the ids of the tokens that their parts `<`, word, `>` are."""
    single = markers(tokenizer)
    found = {}
    for marker, number in zip(MARKERS, tokenizer.convert_tokens_to_ids(list(MARKERS)), strict=True):
        if number in single:
            parts = tokenizer([marker[0], marker[1:-1], marker[-1]], add_special_tokens=False)["input_ids"]
            found[number] = [piece for part in parts for piece in part]
    return found


def markers(tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Ids of those of `MARKERS` that are single tokens."""
    found = tokenizer.convert_tokens_to_ids(list(MARKERS))
    return {number for number in found if number not in (None, tokenizer.unk_token_id)}


def unwritten(tokenizer: PreTrainedTokenizerBase) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Ids that no written text holds, and further ids that none begins with.

    The first are special tokens but for the text's end and `MARKERS`. The second are the end and what shows nothing or
    begins a line: a text that begins with none of them is not blank.
    """
    never = tuple(sorted(set(tokenizer.all_special_ids) - {tokenizer.eos_token_id, *markers(tokenizer)}))
    texts = tokenizer.batch_decode([[number] for number in range(len(tokenizer))], clean_up_tokenization_spaces=False)
    blank = (number for number, text in enumerate(texts) if not text.strip() or text.lstrip(" ").startswith("\n"))
    return never, tuple(sorted({tokenizer.eos_token_id, *blank} - set(never)))

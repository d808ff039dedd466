"""Tokenizers: a language model's own, or a byte-level BPE learned from the training prompts."""

from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
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

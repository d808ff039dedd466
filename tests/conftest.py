"""Fixtures that several folders of tests share."""

import copy
import hashlib
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from behavesim.data.gp import process
from behavesim.data.parts import PictureSettings
from behavesim.data.pictures.origins import ColumnPictures
from behavesim.data.prepare import Job, prepare
from behavesim.data.sample import ensure_sample
from behavesim.models.binning import LikesBins
from behavesim.models.builders import DataFacts, git_tiny
from behavesim.models.metadata import MetadataShape
from behavesim.models.text_head import Answering

SPACE = "\u2581"  # what Llama-2's tokenizer sees in the place of a space
POST = 6  # numbers of an earlier post
SHARED = Path(__file__).resolve().parents[2] / "shared"

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture(autouse=True, scope="session")
def _fitted_once():
    """Most tests train on rows of one sample, and the same rows give the same kernel: each table's is fitted once."""
    fitted, fit = {}, process.fit_kernel

    def fit_once(points, values, groups, *, drifts=True):
        tensors = (*vars(points).values(), values, *groups)
        told = repr(([tuple(each.shape) for each in tensors], drifts)).encode()
        key = hashlib.sha256(told + b"".join(each.numpy().tobytes() for each in tensors)).digest()
        if key not in fitted:
            fitted[key] = fit(points, values, groups, drifts=drifts)
        return copy.deepcopy(fitted[key])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(process, "fit_kernel", fit_once)
        yield


@pytest.fixture(scope="session")
def sample_source(tmp_path_factory):
    """The file of the sample's first 200 rows, its pictures beside it."""
    return ensure_sample(tmp_path_factory.mktemp("sample") / "sample", rows=200)


@pytest.fixture(scope="session")
def sample_table(sample_source, tmp_path_factory):
    """The same, prepared: every row has likes."""
    origin = ColumnPictures("local_path", sample_source.parent)
    pictures = PictureSettings(size=64, quality=90, max_pixels=1_000_000)
    return prepare(Job(sample_source, tmp_path_factory.mktemp("prepared") / "sample", origin, pictures))


@pytest.fixture(scope="session")
def sample_frame(sample_table):
    """All its rows in memory."""
    return sample_table.all().frame()


@pytest.fixture(scope="session", params=["bytes", "spaces"])
def published_tokenizer(request, sample_frame):
    """Builder of a tokenizer that knows no markers: byte-level as GPT-2's, or with marked spaces as Llama-2's."""

    def build():
        tokenizer = Tokenizer(models.BPE(byte_fallback=request.param == "spaces", fuse_unk=True, unk_token="<unk>"))
        special = ["<unk>", "<s>", "</s>"]
        if request.param == "bytes":
            tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
            tokenizer.decoder, alphabet = decoders.ByteLevel(), pre_tokenizers.ByteLevel.alphabet()
        else:
            special += [f"<0x{byte:02X}>" for byte in range(256)]
            tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)])
            back = [
                decoders.Replace(SPACE, " "),
                decoders.ByteFallback(),
                decoders.Fuse(),
                decoders.Strip(" ", 1, 0),
            ]
            tokenizer.decoder, alphabet = decoders.Sequence(back), []
        trainer = trainers.BpeTrainer(
            vocab_size=600, special_tokens=special, initial_alphabet=alphabet, show_progress=False
        )
        words = sample_frame["content"].str.replace_all("<hyperlink>|<mention>", "")
        tokenizer.train_from_iterator(words.to_list(), trainer)
        return PreTrainedTokenizerFast(
            tokenizer_object=tokenizer,
            unk_token="<unk>",
            bos_token="<s>",
            eos_token="</s>",
            clean_up_tokenization_spaces=False,
        )

    return build


@pytest.fixture(scope="session")
def shared():
    """Folder of real data and golden files beside the repository."""
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED}: no such folder; it holds real data that is not part of the repository")
    return SHARED


def facts_of(**replaced):
    """What a small table would decide about a model; keywords replace those of `Answering`."""
    answering = {
        # A stand-in for a tokenizer: ids from 10 to 19 are digits, anything else ends the number.
        "read": lambda ids: torch.tensor([read_digits(row) for row in ids.tolist()], dtype=torch.float64),
        "decode": "expected",
        "samples": 8,
        "max_new_tokens": 4,
        "supervise": "answer",
        "seed": 0,
        "limit": 1e6,
    }
    facts = {
        "bins": LikesBins.fit(np.geomspace(1, 10_000, 400) - 1, 12),
        "vocab_size": 300,
        "metadata": MetadataShape(observed=3, summary=2, statistics=3),
        "history": (0, POST),
        "eos_ids": [2],
        "pad_id": 0,
        "answering": Answering(**(answering | replaced)),
    }
    return DataFacts(**facts)


@pytest.fixture(scope="session")
def data_facts():
    """See `facts_of`."""
    return facts_of


def read_digits(ids):
    """The number that ids of digits spell, nan without one."""
    digits = "".join(str(i - 10) for i in itertools.takewhile(lambda i: 10 <= i < 20, ids))
    return float(digits) if digits else float("nan")


@pytest.fixture(scope="session")
def plain_settings():
    """Settings that every builder takes, each at its plainest."""
    return {
        "projector": "linear",
        "image_tokens": 3,
        "frames": 1,
        "smoothing": 1.0,
        "squared": 0.5,
        "metadata": True,
        "readers": {
            "members": 2,
            "width": 8,
            "feature_dropout": 0.0,
            "summary_dropout": 0.0,
            "dropout": 0.0,
        },
        "token_dropout": 0.0,
        "head_dropout": 0.0,
        "text_dropout": 0.0,
        "gradient_checkpointing": False,
    }


@pytest.fixture(scope="session")
def tiny_model(plain_settings):
    """Builder of a real `git_tiny` in eval mode; keywords replace those of `git_tiny`, `r` is LoRA's.

    Unless `fresh`, its head is not zero at the start and the text's gate is open, as in a trained model: predictions
    depend on every input.
    """

    def build(*, r=0, seed=0, fresh=False, **pieces):
        torch.manual_seed(seed)
        defaults = {
            **plain_settings,
            "vision": {"image_size": 16, "patch_size": 8, "width": 32, "layers": 1, "heads": 2},
            "llm": {"hidden_size": 32, "layers": 2, "heads": 2},
            "lora": {"r": r, "alpha": 16, "dropout": 0.0, "target_modules": ["q_proj", "v_proj"]},
            "head": "histogram",
            "train": ["vision", "projector", "llm", "head"],
            "facts": facts_of(),
        }
        model = git_tiny(**(defaults | pieces))
        if fresh:
            return model.eval()
        if pieces.get("head") != "text":
            torch.nn.init.normal_(model.head.linear.weight)
            torch.nn.init.normal_(model.head.gate.weight)
        if model.frame_embedding is not None:
            torch.nn.init.normal_(model.frame_embedding)
        return model.eval()

    return build


@pytest.fixture(scope="session")
def model_inputs():
    """Builder of a batch for `tiny_model`: texts as lists of ids, pictures as {slot: seed}, right-padded.

    `history` is the number of places for earlier posts; the first of them is filled in every row, the last in none.
    """

    def build(texts, pictures=None, *, features=True, history=0, pad_to=0):
        length = max(pad_to, *(len(text) for text in texts))
        slots = sorted(pictures or {})
        drawn = [np.random.default_rng(pictures[slot]).integers(0, 256, (3, 16, 16), np.uint8) for slot in slots]
        # Rows take the numbers of their first token, so that a row is the same in every batch.
        rows = [np.random.default_rng(text[0]) for text in texts]
        numbers, statistics, posts = (
            torch.from_numpy(np.stack([row.standard_normal(shape, np.float32) for row in rows]))
            for shape in (5, 3, (history, POST))
        )
        filled = [[post < 1 + text[0] % max(1, history - 1) for post in range(history)] for text in texts]
        return {
            "input_ids": torch.tensor([list(text) + [0] * (length - len(text)) for text in texts]),
            "attention_mask": torch.tensor([[1] * len(text) + [0] * (length - len(text)) for text in texts]),
            "features": numbers if features else None,
            "statistics": statistics if features else None,
            "history": posts if history else None,
            "history_valid": torch.tensor(filled) if history else None,
            "pixel_values": torch.from_numpy(np.stack(drawn)) if slots else None,
            "image_slot": torch.tensor(slots) if slots else None,
        }

    return build


@pytest.fixture(scope="session")
def tiny_shapes():
    """Overrides by which each `model=` choice is built in a second, with random weights and nothing downloaded."""
    common = [
        "model.pretrained=false",
        "model.weights_dtype=float32",
        "model.vision.shape={image_size: 16, patch_size: 8, width: 32, layers: 1, heads: 2}",
    ]
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 400}
    llama = {**sizes, "intermediate_size": 64, "max_position_embeddings": 512}
    shapes = {
        "git_llama2": llama,
        "git_opt": {**sizes, "ffn_dim": 64, "word_embed_proj_dim": 32, "max_position_embeddings": 512},
        "git_mpt": {"d_model": 32, "n_layers": 2, "n_heads": 4, "vocab_size": 400, "max_seq_len": 512},
        "git_hf": {"model_type": "qwen2", **llama, "num_key_value_heads": 2},
    }

    def overrides(model):
        if model == "git_tiny":
            return ["model=git_tiny", "model.llm.hidden_size=32", "model.llm.vocab_size=400", "model.vision.width=32"]
        if model == "git_hf":
            body = ", ".join(f"{key}: {value}" for key, value in shapes[model].items())
            return [f"model={model}", "model.llm=none", f"model.llm_shape={{{body}}}", *common]
        return [f"model={model}", *(f"model.llm_shape.{key}={value}" for key, value in shapes[model].items()), *common]

    return overrides

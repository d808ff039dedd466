"""Training that starts from the weights of an artifact."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

STILL = ("optim.lr=1e-12", "optim.numbers_lr=1e-12", "trainer.max_steps=1", "run_name=next")


def weights(folder):
    return load_file(Path(folder) / "model.safetensors")


def close(one, other):
    return one.shape == other.shape and np.allclose(one, other, atol=1e-6)


def test_weights_that_fit_are_taken_and_the_tokenizer_with_them(here, trained, train_tiny, caplog):
    with caplog.at_level("INFO", logger="behavesim"):
        train_tiny(*STILL, f"init_from={trained.artifact}", "seed=5", "data.split_seed=3")
    before, after = weights(trained.artifact), weights("checkpoints/next")
    names = [name for name in before if not name.startswith("head.") or name.endswith("weight")]
    assert all(close(before[name], after[name]) for name in names) and len(names) > 20
    assert f"of {trained.artifact}" in caplog.text and "anew" not in caplog.text
    tokenizers = [Path(folder) / "tokenizer/tokenizer.json" for folder in (trained.artifact, "checkpoints/next")]
    assert tokenizers[0].read_text() == tokenizers[1].read_text()


def test_another_task_starts_from_what_both_have(here, trained, train_tiny, caplog):
    short = ("task.content.text_tokens=8", "task.content.max_length=60", "task=joint")
    with caplog.at_level("INFO", logger="behavesim"):
        train_tiny(*STILL, f"init_from={trained.artifact}", "seed=5", *short)
    before, after = weights(trained.artifact), weights("checkpoints/next")
    for name, tensor in before.items():
        if not name.startswith("head.") or name.endswith("weight"):
            assert close(tensor, after[name.replace("head.", "head.likes.")]), name
    # A model that only writes reads fewer numbers: what reads them starts anew.
    with caplog.at_level("INFO", logger="behavesim"):
        train_tiny(*STILL, "task=content", "task.text_tokens=8", "task.max_length=60", f"init_from={trained.artifact}")
    after = weights("checkpoints/next")
    assert close(before["llm.model.embed_tokens.weight"], after["llm.model.embed_tokens.weight"])
    assert "anew, at least in part: projector" in caplog.text


@pytest.mark.parametrize(
    ("folder", "line"),
    [
        ("nowhere", "init_from: found nowhere, which does not exist; accepted: an artifact directory"),
        ("empty", "init_from=empty: without model.safetensors, tokenizer; accepted: an artifact directory"),
    ],
)
def test_a_folder_that_is_no_artifact_is_one_line(here, main, sizes, sample_overrides, folder, line):
    Path("empty").mkdir()
    run = main("train", *sizes, *sample_overrides, "logger=none", f"init_from={folder}")
    assert run.code == 2 and any(said.startswith(f"error: {line}") for said in run.lines), run.err


def test_another_width_starts_anew(here, trained, train_tiny, caplog):
    with caplog.at_level("INFO", logger="behavesim"):
        train_tiny(*STILL, f"init_from={trained.artifact}", "model.llm.hidden_size=24")
    assert "anew, at least in part: " in caplog.text

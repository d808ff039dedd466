"""A process as a file: nothing is lost, and one key is fitted once."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from safetensors import safe_open

from behavesim.data.gp.conditioning import Asked, Known
from behavesim.data.gp.files import fitted_once, read_process, write_process
from behavesim.data.gp.kernel import Points


@pytest.fixture(scope="session")
def example(points_of, process_of):
    """A process of some rows, by seed."""

    def made(seed=0, **shape):
        points = points_of(20, seed=seed, **shape)
        # Codes of names are of either sign.
        points = Points(points.shown, points.text, points.time, points.company * 2**62 - 2**62, points.account)
        return process_of(points, np.random.default_rng(seed).standard_normal(20))

    return made


def bits(process, *, without=True):
    """All that a process holds, as bytes."""
    tensors = dict(process.kernel.state_dict()) | {"weights": process.weights}
    tensors |= {f"inducing {field.name}": getattr(process.inducing, field.name) for field in fields(Points)}
    tensors |= {f"without {code}": weights for code, weights in process.without.items()} if without else {}
    found = {name: (tensor.dtype, tensor.shape, tensor.numpy().tobytes()) for name, tensor in tensors.items()}
    return found | {"units": (process.centre, process.scale)}


def names_in(file):
    with safe_open(file, "pt") as opened:
        return set(opened.keys())


@pytest.mark.parametrize("shape", [{}, {"text": 0}, {"columns": 0}, {"columns": 0, "text": 0}, {"companies": 1}])
def test_what_is_read_is_what_was_written_to_the_last_bit(tmp_path, example, shape):
    process = example(**shape)
    write_process(process, tmp_path / "process.safetensors", training=True)
    read = read_process(tmp_path / "process.safetensors")
    assert bits(read) == bits(process) and len(read.without) == len(process.without) > 0
    assert not any(weights.requires_grad for weights in read.kernel.parameters())


def test_companies_that_an_account_links_are_kept_with_the_same_weights(tmp_path, points_of, process_of):
    points = points_of(20)
    linked = replace(points, account=points.account.where(points.company == 0, 7))
    process = process_of(linked, np.random.default_rng(0).standard_normal(20))
    write_process(process, tmp_path / "process.safetensors", training=True)
    read = read_process(tmp_path / "process.safetensors")
    assert bits(read) == bits(process) and list(read.without) == [0, 1, 2]
    assert torch.equal(read.without[1], read.without[2]) and not torch.equal(read.without[0], read.without[1])


def test_what_is_read_answers_alike(tmp_path, example, points_of):
    process = example()
    write_process(process, tmp_path / "process.safetensors", training=True)
    read = read_process(tmp_path / "process.safetensors")
    times = np.arange(20)
    known = Known(process.inducing, torch.ones(20).double(), times, times % 2 == 0)
    asked = Asked(process.inducing, np.arange(20) + 1)
    for new in (False, True):
        first, second = process.expect(known, asked, new=new), read.expect(known, asked, new=new)
        for name in ("mean", "shared", "variance"):
            assert getattr(first, name).numpy().tobytes() == getattr(second, name).numpy().tobytes()


def test_an_artifact_holds_nothing_that_is_for_training(tmp_path, example):
    process = example()
    write_process(process, tmp_path / "artifact.safetensors")
    write_process(process, tmp_path / "training.safetensors", training=True)
    beyond = names_in(tmp_path / "training.safetensors") - names_in(tmp_path / "artifact.safetensors")
    assert beyond == {f"without.{code}" for code in process.without}
    read = read_process(tmp_path / "artifact.safetensors")
    assert not read.without and bits(read) == bits(process, without=False)


def test_one_key_is_fitted_once_and_another_one_again(tmp_path, example):
    file, calls = tmp_path / "new folder" / "process.safetensors", []

    def fit(seed):
        calls.append(seed)
        return example(seed)

    asked = [("a", 0), ("a", 1), ("b", 1), ("b", 2), ("a", 3)]
    found = [fitted_once(file, key, lambda seed=seed: fit(seed)) for key, seed in asked]
    assert calls == [0, 1, 3]
    assert [bits(process) for process in found] == [bits(example(seed)) for seed in (0, 0, 1, 1, 3)]
    assert all(process.without for process in found)
    assert {path.name for path in file.parent.iterdir()} <= {file.name, f".{file.name}.lock"}


def test_a_file_without_a_key_is_not_taken_for_one_with(tmp_path, example):
    file = tmp_path / "process.safetensors"
    write_process(example(0), file, training=True)
    assert bits(fitted_once(file, "a", lambda: example(1))) == bits(example(1))


def test_those_that_come_together_wait_for_one_fit(tmp_path, example):
    calls = []

    def ask(number):
        return fitted_once(tmp_path / "process.safetensors", "a", lambda: calls.append(number) or example(number))

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(ask, range(4)))
    assert len(calls) == 1
    assert all(bits(process) == bits(example(calls[0])) for process in found)


def test_a_fit_that_fails_leaves_what_was_there(tmp_path, example):
    file = tmp_path / "process.safetensors"
    fitted_once(file, "a", lambda: example(0))

    def fail():
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        fitted_once(file, "b", fail)
    assert bits(fitted_once(file, "a", fail)) == bits(example(0))
    assert bits(fitted_once(file, "b", lambda: example(1))) == bits(example(1))

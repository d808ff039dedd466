"""A Gaussian process as a file, and fitted once by the processes of a run."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import torch
from filelock import FileLock
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from behavesim.data.gp.kernel import Kernel, Points
from behavesim.data.gp.process import GaussianProcess

_KERNEL, _INDUCING, _WITHOUT, _KEY = "kernel.", "inducing.", "without.", "key"


def write_process(process: GaussianProcess, file: Path, *, key: str = "", training: bool = False) -> None:
    """Write all that answers; for training also the weights without each company's group."""
    tensors = {_KERNEL + name: tensor for name, tensor in process.kernel.state_dict().items()}
    tensors |= {_INDUCING + field.name: getattr(process.inducing, field.name) for field in fields(Points)}
    tensors |= {"weights": process.weights, "units": torch.tensor([process.centre, process.scale]).double()}
    if training:
        # Copies: companies of one group have a tensor in common, which a file may not hold twice.
        tensors |= {f"{_WITHOUT}{code}": weights.clone() for code, weights in process.without.items()}
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, file, metadata={_KEY: key})


def read_process(file: Path) -> GaussianProcess:
    """What `write_process` wrote."""
    with safe_open(file, "pt") as opened:
        # Copies lie in memory as fresh tensors do: elsewhere a product may round otherwise.
        found = {name: opened.get_tensor(name).clone() for name in opened.keys()}  # noqa: SIM118

    def under(prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): tensor for name, tensor in found.items() if name.startswith(prefix)}

    inducing = Points(**under(_INDUCING))
    kernel = Kernel(inducing.shown.shape[1])
    kernel.load_state_dict(under(_KERNEL))
    without = {int(code): weights for code, weights in under(_WITHOUT).items()}
    centre, scale = found["units"].tolist()
    return GaussianProcess(kernel.requires_grad_(False), centre, scale, inducing, found["weights"], without)


def fitted_once(file: Path, key: str, fit: Callable[[], GaussianProcess]) -> GaussianProcess:
    """What `file` holds for this key; or `fit` is called, and its result written there, while other processes wait."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file.with_name(f".{file.name}.lock")):
        if not file.exists() or _key_of(file) != key:
            partial = file.with_name(f".{file.name}.partial")
            write_process(fit(), partial, key=key, training=True)
            partial.replace(file)
        return read_process(file)


def _key_of(file: Path) -> str | None:
    with safe_open(file, "pt") as opened:
        return (opened.metadata() or {}).get(_KEY)

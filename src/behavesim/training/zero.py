"""DeepSpeed's ZeRO, on GPUs over NCCL and on CPUs over gloo."""

import os
from typing import Any

import torch
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.plugins.precision import DeepSpeedPrecision
from lightning.pytorch.strategies import DeepSpeedStrategy

AUTOCAST = {"bf16-mixed": "bfloat16", "16-mixed": "float16"}


class ZeroPrecision(DeepSpeedPrecision):
    """Mixed precision as elsewhere: weights stay as they are built, products are made in half precision.

    Lightning's own would cast a batch to half precision too, and no half holds 176,441 likes.
    """

    def convert_input(self, data: Any) -> Any:
        """The batch as it is."""
        return data


class ZeroStrategy(DeepSpeedStrategy):
    """Lightning's strategy, which also runs on CPUs and leaves weights in the precision in which they were built.

    DeepSpeed would otherwise cast the whole model to half precision, the adapters and the head with it.
    """

    def setup_environment(self) -> None:
        """Start the process group."""
        self.precision_plugin = ZeroPrecision(self.precision_plugin.precision)
        if not isinstance(self.accelerator, CPUAccelerator):
            super().setup_environment()
            return
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
        _without_compiled_messages()
        # Lightning refuses a CPU in this method alone; what it calls in its own base class does not.
        super(DeepSpeedStrategy, self).setup_environment()

    def setup_distributed(self) -> None:
        """Join the processes."""
        if self.root_device.type != "cpu":
            super().setup_distributed()
            return
        self.set_world_ranks()
        self._init_deepspeed_distributed()

    @property
    def root_device(self) -> torch.device:
        """The device of this process; a CPU too has an index, which DeepSpeed asks for."""
        device = super().root_device
        return torch.device("cpu", self.local_rank) if device.type == "cpu" else device

    def _format_config(self) -> None:
        super()._format_config()
        for half in ("fp16", "bf16"):
            self.config.pop(half, None)
        dtype = AUTOCAST.get(self.precision_plugin.precision)
        if dtype is not None:
            self.config["torch_autocast"] = {"enabled": True, "dtype": dtype}


def _without_compiled_messages() -> None:
    """Use gloo between CPUs: an extension of DeepSpeed's own would be compiled for a minute or two first."""
    import deepspeed

    # Where it is not there yet: to make the whole list, DeepSpeed would compile a small program for each of its parts.
    vars(deepspeed.ops).setdefault("__compatible_ops__", {})["deepspeed_shm_comm"] = False

"""PyTorch's fully sharded data parallelism."""

from functools import partial
from typing import Any

from lightning.pytorch.strategies import FSDPStrategy
from torch.distributed.fsdp.wrap import size_based_auto_wrap_policy

MIN_PARAMETERS = 20_000_000  # of a part that is gathered by itself: a layer of a 7B has ten times as many


class FsdpStrategy(FSDPStrategy):
    """Lightning's strategy with checkpoints that are one file and hold what every other one holds.

    Frozen and trainable weights stand in one layer where LoRA is, hence `use_orig_params`.

    Args:
        settings: of `FSDPStrategy`.
    """

    def __init__(self, **settings: Any) -> None:
        policy = partial(size_based_auto_wrap_policy, min_num_params=MIN_PARAMETERS)
        super().__init__(**{"auto_wrap_policy": policy, "use_orig_params": True, "state_dict_type": "full", **settings})

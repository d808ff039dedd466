"""PyTorch's fully sharded data parallelism, its second version (Zhao et al. 2023), which knows frozen weights."""

from lightning.pytorch.strategies import ModelParallelStrategy
from torch import nn
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method

# What the training module calls of a `GitModel`: each brings the weights together first, as `forward` does.
METHODS = ("loss", "score", "generate", "write")


class FsdpStrategy(ModelParallelStrategy):
    """Each process holds its share of every weight, gradient and moment; checkpoints are one file, as without it."""

    def __init__(self) -> None:
        super().__init__(tensor_parallel_size=1, save_distributed_checkpoint=False)

    def setup_environment(self) -> None:
        """Join the processes, all of which see different rows."""
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()

    def shard(self, model: nn.Module) -> None:
        """Share a `GitModel` out, layer by layer; once."""
        if isinstance(model, FSDPModule):
            return
        mesh = self.device_mesh["data_parallel"]
        model.to(self.root_device)
        for layer in _layers(model):
            fully_shard(layer, mesh=mesh)
        fully_shard(model, mesh=mesh)
        for name in METHODS:
            register_fsdp_forward_method(model, name)


def _layers(module: nn.Module) -> list[nn.Module]:
    """The layers of all stacks of layers."""
    if isinstance(module, nn.ModuleList):
        return list(module)
    return [layer for child in module.children() for layer in _layers(child)]

"""Floating point operations of one step of a `GitModel`.

Counted are matrix products and attention, two operations a multiply-add (Chowdhery et al. 2022, PaLM, appendix B): what
the model asks for, without padding and without the second forward pass of gradient checkpointing. A matrix costs
twice its size where it is applied; training adds as much for the gradient of its input, if anything before it trains,
and as much for its own gradient, if it trains. Mixtures of experts are not known here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

from peft.tuners.lora import LoraLayer
from torch import nn
from transformers.pytorch_utils import Conv1D

from behavesim.models.git import GitModel
from behavesim.models.head import LikesHead
from behavesim.models.members import MemberLinear
from behavesim.models.projector import Resampler
from behavesim.models.text_head import TextHead
from behavesim.models.vision import VisionTower


@dataclass(frozen=True)
class Flops:
    """Operations for one of each; see `of`."""

    row: float
    picture: float
    place: float  # in the language model, prefix and text
    square: float  # attention: a pair of places of one row
    answer: float  # a place at which the vocabulary layer is read

    def of(self, *, rows: float, pictures: float, places: float, squares: float, answers: float) -> float:
        """Operations of a step: `squares` is the sum of the rows' squared lengths, `places` that of their lengths."""
        return (
            self.row * rows
            + self.picture * pictures
            + self.place * places
            + self.square * squares
            + self.answer * answers
        )


def training_flops(model: GitModel) -> Flops:
    """Of a training step: forward and backward."""
    return _flops(model, training=True)


def prediction_flops(model: GitModel) -> Flops | None:
    """Of a prediction step; None for written answers, whose lengths are known only when they are written."""
    return None if isinstance(model.head, TextHead) else _flops(model, training=False)


class _Matrix(NamedTuple):
    size: int  # multiply-adds at one place
    trains: bool
    behind: bool = False  # whether it reads what a trainable adapter made


@dataclass
class _Walk:
    """A way through modules in the order in which they run."""

    training: bool
    reached: bool = False  # whether something that trains lies before: gradients flow back to here

    def product(self, matrix: _Matrix, reached: bool) -> float:
        """Operations at one place."""
        passes = 1 + self.training * ((reached or matrix.behind) + matrix.trains)
        return 2 * matrix.size * passes

    def block(self, module: nn.Module) -> float:
        """Operations of a block at one place: all its layers but the last read its input, the last what they made."""
        *first, last = [*_layers(module)] or [()]
        inside = self.reached or any(matrix.trains for layer in first for matrix in layer)
        total = sum(self.product(matrix, self.reached) for layer in first for matrix in layer)
        total += sum(self.product(matrix, inside) for matrix in last)
        self.pass_by(module)
        return total

    def layer(self, module: nn.Module, width: int) -> tuple[float, float]:
        """Operations of a transformer layer at one place, and of its attention for a pair of places.

        Its attention is the first block that has matrices.
        """
        linear = pair = 0.0
        for child in module.children():
            attends = not pair and any(True for _ in _layers(child))
            if attends:
                *first, _ = _layers(child)
                flows = self.reached or any(matrix.trains for matrix in chain.from_iterable(first))
                pair = 4 * width * (1 + 2 * (self.training and flows))
            linear += self.block(child)
        return linear, pair

    def pass_by(self, module: nn.Module | nn.Parameter | None) -> None:
        """Take note of what trains in a module, or of a parameter."""
        parameters = module.parameters() if isinstance(module, nn.Module) else [module] if module is not None else []
        self.reached |= any(parameter.requires_grad for parameter in parameters)


def _layers(module: nn.Module) -> Iterator[tuple[_Matrix, ...]]:
    """The linear layers inside a module, each with its adapters."""
    if isinstance(module, LoraLayer):
        base = next(iter(_layers(module.get_base_layer())))
        for name in module.lora_A:
            down, up = _matrix(module.lora_A[name]), _matrix(module.lora_B[name])
            base = (*base, down, up._replace(behind=down.trains))
        yield base
    elif isinstance(module, nn.Linear | Conv1D):
        yield (_matrix(module),)
    elif isinstance(module, MemberLinear):
        yield (_Matrix(module.weight.numel(), module.weight.requires_grad),)
    elif isinstance(module, nn.MultiheadAttention):
        yield (_Matrix(3 * module.embed_dim**2, module.in_proj_weight.requires_grad),)
        yield (_matrix(module.out_proj),)
    else:
        for child in module.children():
            yield from _layers(child)


def _matrix(module: nn.Module) -> _Matrix:
    # By the declared sizes: weights of four bits and those that are shared out over processes have other shapes.
    size = module.nx * module.nf if isinstance(module, Conv1D) else module.in_features * module.out_features
    return _Matrix(size, module.weight.requires_grad)


def _flops(model: GitModel, *, training: bool) -> Flops:
    pictures, numbers = _Walk(training), _Walk(training)
    picture = _tower(pictures, model.vision) if isinstance(model.vision, VisionTower) else 0.0
    pictures.pass_by(model.frame_embedding)
    picture += _projector(pictures, model.projector, model.vision.tokens)
    row = 0.0
    if model.metadata is not None:
        row = numbers.block(model.metadata)
    if model.history is not None:
        numbers.pass_by(model.history)  # its own products are a few posts' and left out
    text = _Walk(training, pictures.reached or numbers.reached)
    text.pass_by(model.llm.get_input_embeddings())
    place, square = _decoder(text, model)
    answer = text.block(model.llm.get_output_embeddings()) if isinstance(model.head, TextHead) else 0.0
    if isinstance(model.head, LikesHead):
        text.pass_by(model.head.gate)  # lies before its layers
    return Flops(row + text.block(model.head), picture, place, square, answer)


def _tower(walk: _Walk, tower: VisionTower) -> float:
    """Operations of one picture."""
    transformer, tokens = tower.transformer, tower.tokens
    stem = transformer.conv1
    patch = _Matrix(stem.in_channels * stem.out_channels * stem.kernel_size[0] ** 2, stem.weight.requires_grad)
    total = walk.product(patch, reached=False) * (tokens - 1)
    for parameter in (stem.weight, transformer.class_embedding, transformer.positional_embedding):
        walk.pass_by(parameter)
    for block in transformer.transformer.resblocks:
        linear, pair = walk.layer(block, tower.width)
        total += linear * tokens + pair * tokens**2
    return total


def _projector(walk: _Walk, projector: nn.Module, tokens: int) -> float:
    """Operations for one picture of `tokens` states."""
    if not isinstance(projector, Resampler):
        return walk.block(projector) * tokens
    walk.pass_by(projector)
    queries, width = projector.queries.shape
    total = sum(walk.block(module) * queries for module in (projector.query, projector.out))
    total += sum(walk.block(module) * tokens for module in (projector.key, projector.value))
    return total + 4 * width * queries * tokens * (1 + 2 * (walk.training and walk.reached))


def _decoder(walk: _Walk, model: GitModel) -> tuple[float, float]:
    """Operations of the language model at one place, and of its attention for a pair of places of one row."""
    config = model.llm.config
    heads = config.num_attention_heads
    width = heads * (getattr(config, "head_dim", None) or config.hidden_size // heads)
    place = square = 0.0
    for child in model.llm.get_decoder().children():
        if isinstance(child, nn.ModuleList):
            for layer in child:
                linear, pair = walk.layer(layer, width)
                place, square = place + linear, square + pair
        else:
            place += walk.block(child)
    return place, square


def picture_places(model: GitModel) -> int:
    """Places that one picture takes in the language model."""
    return len(model.projector.queries) if isinstance(model.projector, Resampler) else model.vision.tokens

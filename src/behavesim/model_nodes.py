"""The nodes of a configuration's `model`."""

from typing import Annotated, Any, Literal

from pydantic import Field

from behavesim.nodes import Count, Given, Natural, Node, Positive, Rate

Part = Literal["vision", "projector", "llm", "lora", "head"]
Names = Annotated[list[str], Field(min_length=1)]


class Vision(Node):
    """Shape of a vision transformer."""

    image_size: Count
    patch_size: Count
    width: Count
    layers: Count
    heads: Count


class LanguageModel(Node):
    """Shape of a language model with random weights."""

    vocab_size: Annotated[int, Field(ge=300)]  # 256 bytes, the special tokens and some merges
    hidden_size: Count
    layers: Count
    heads: Count


class Readers(Node):
    """`model.readers`: small networks that read numbers."""

    members: Count
    width: Count
    feature_dropout: Rate
    summary_dropout: Rate
    dropout: Rate


class Lora(Node):
    """LoRA; r = 0 is none."""

    r: Natural
    alpha: Positive
    dropout: Rate
    target_modules: Names


class Model(Node):
    """What every `model` has."""

    tokens_per_batch: Count
    rows_per_batch: Count | None
    train: Annotated[list[Part], Field(min_length=1)]
    projector: Literal["linear", "mlp", "resampler"]
    image_tokens: Count
    frames: Count
    lora: Lora
    gradient_checkpointing: bool
    head: Literal["histogram", "regression", "text"]
    bins: Annotated[int, Field(ge=3)]
    smoothing: Positive
    squared: Annotated[float, Field(ge=0)]
    metadata: bool
    readers: Readers
    token_dropout: Rate
    head_dropout: Rate
    text_dropout: Rate


class TinyModel(Model):
    """`model=git_tiny`."""

    target: Literal["behavesim.models.builders.git_tiny"] = Field(alias="_target_")
    vision: Vision
    llm: LanguageModel


class NamedVision(Node):
    """A vision tower of open_clip."""

    name: str
    weights: str
    shape: Vision | None


class HfModel(Model):
    """`model=git_hf` and its named kin."""

    target: Literal["behavesim.models.builders.git_hf"] = Field(alias="_target_")
    pretrained: bool
    vision: NamedVision
    llm: Given
    llm_shape: dict[str, Any] | None
    weights_dtype: Literal["float32", "bfloat16", "float16", "half"]
    quantization: Literal["none", "nf4"]

"""The typed schema of every command's configuration."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from behavesim.nodes import (
    Answering,
    Data,
    Given,
    GivenAnswering,
    HfModel,
    LabelledData,
    Logger,
    Node,
    Optim,
    Paths,
    RunName,
    ScoredData,
    Seed,
    Target,
    Task,
    TinyModel,
    Trainer,
)


class Train(Node):
    """`python -m behavesim.train`."""

    data: Data
    model: Annotated[TinyModel | HfModel, Field(discriminator="target")]
    task: Task
    optim: Optim
    trainer: Trainer
    callbacks: dict[str, Target | None] | None
    logger: Logger
    paths: Paths
    run_name: RunName
    seed: Seed
    ckpt_path: str | None
    export_dir: str
    dry_run: bool
    optimized_metric: str


class Evaluate(Node):
    """`python -m behavesim.evaluate`."""

    data: LabelledData
    task: Answering
    trainer: Trainer
    paths: Paths
    run_name: RunName
    ckpt: Given


class Predict(Node):
    """`python -m behavesim.predict`."""

    trainer: Trainer
    paths: Paths
    run_name: RunName
    data: ScoredData
    task: Answering
    ckpt: Given
    input: Given
    output: Given


class Convert(Node):
    """`python -m behavesim.convert`."""

    paths: Paths
    run_name: RunName
    reference: Given
    config: str | None
    tokenizer: str | None
    output: Given
    max_length: Annotated[int, Field(ge=8)]
    image_column: str | None
    task: GivenAnswering


class Export(Node):
    """`python -m behavesim.export`."""

    paths: Paths
    run_name: RunName
    ckpt: Given
    output: Given
    format: Literal["adapter", "merged"]


SCHEMAS: Mapping[str, type[Node]] = {
    "train": Train,
    "evaluate": Evaluate,
    "predict": Predict,
    "export": Export,
    "convert": Convert,
}

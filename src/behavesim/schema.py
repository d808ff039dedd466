"""The typed schema of every command's configuration."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from behavesim.model_nodes import HfModel, TinyModel
from behavesim.nodes import (
    Asked,
    Count,
    Data,
    FolderName,
    Given,
    GivenAnswering,
    LabelledData,
    Logger,
    Natural,
    Node,
    Optim,
    Paths,
    Positive,
    RunName,
    ScoredData,
    Seed,
    Share,
    Target,
    Task,
    Trainer,
)


class Train(Node):
    """`python -m behavesim.train`."""

    data: Data
    model: Annotated[TinyModel | HfModel, Field(discriminator="target")]
    task: Task
    optim: Optim
    strategy: Target
    trainer: Trainer
    callbacks: dict[str, Target | None] | None
    logger: Logger
    paths: Paths
    run_name: RunName
    seed: Seed
    ckpt_path: str | None
    init_from: str | None
    export_dir: str
    dry_run: bool
    optimized_metric: str


class Benchmark(Node):
    """`python -m behavesim.benchmark`."""

    data: Data
    model: Annotated[TinyModel | HfModel, Field(discriminator="target")]
    task: Task
    optim: Optim
    strategy: Target
    trainer: Trainer
    paths: Paths
    run_name: RunName
    seed: Seed
    steps: Count
    warmup_steps: Natural
    seconds: Positive | None


class Trees(Node):
    """`lightgbm` of the baselines."""

    learning_rate: Positive
    num_leaves: Annotated[int, Field(ge=2)]
    min_child_samples: Count
    subsample: Annotated[float, Field(gt=0, le=1)]
    colsample_bytree: Annotated[float, Field(gt=0, le=1)]
    trees: Count
    patience: Count


class Baselines(Node):
    """`python -m behavesim.baselines`."""

    data: Data
    task: Asked
    strategy: Target
    trainer: Trainer
    logger: Logger
    paths: Paths
    run_name: RunName
    seed: Seed
    ckpt: str | None
    lightgbm: Trees


class Evaluate(Node):
    """`python -m behavesim.evaluate`."""

    data: LabelledData
    task: Asked
    strategy: Target
    trainer: Trainer
    logger: Logger
    paths: Paths
    run_name: RunName
    history: str | None
    ckpt: Given


class Predict(Node):
    """`python -m behavesim.predict`."""

    strategy: Target
    trainer: Trainer
    paths: Paths
    run_name: RunName
    data: ScoredData
    task: Asked
    history: str | None
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
    image_size: Count
    task: GivenAnswering


class Prepare(Node):
    """`python -m behavesim.prepare`."""

    paths: Paths
    run_name: RunName
    source: Given
    name: FolderName
    media: Literal["skip", "column", "folder", "download"]
    image_column: str | None
    images_dir: str | None
    image_size: Count
    image_quality: Annotated[int, Field(ge=1, le=95)]
    max_megapixels: Positive
    max_megabytes: Positive
    concurrency: Count
    per_host: Count
    retries: Natural
    timeout: Positive
    deadline: Positive
    allow_private: bool
    retry_failed: bool
    validation: Share
    test: Share
    split_seed: int
    features: bool
    seed: Seed
    model: Annotated[TinyModel | HfModel, Field(discriminator="target")]


class Export(Node):
    """`python -m behavesim.export`."""

    paths: Paths
    run_name: RunName
    ckpt: Given
    output: Given
    format: Literal["adapter", "merged"]


class Compare(Node):
    """`python -m behavesim.compare`."""

    paths: Paths
    run_name: RunName
    tracking_uri: str
    experiment_name: str
    sweep: str | None
    metric: str
    top: Count


SCHEMAS: Mapping[str, type[Node]] = {
    "train": Train,
    "evaluate": Evaluate,
    "predict": Predict,
    "export": Export,
    "convert": Convert,
    "prepare": Prepare,
    "compare": Compare,
    "benchmark": Benchmark,
    "baselines": Baselines,
}

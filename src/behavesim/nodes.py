"""The nodes of configurations: one class a node, plain types alone."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

MISSING = "???"  # omegaconf's mark of a value without a default


def _given(value: str) -> str:
    if value == MISSING:
        raise ValueError("a value, there is no default")
    return value


Given = Annotated[str, BeforeValidator(_given)]


def _moment(value: str) -> str:
    try:
        if datetime.fromisoformat(value).tzinfo is None:
            return value
    except ValueError:
        pass
    raise ValueError("a date such as '2020-06-01' or '2020-06-01 12:00:00' (UTC)")


Moment = Annotated[str, AfterValidator(_moment)]
Share = Annotated[float, Field(gt=0, lt=1)]
# It names folders and an MLflow run.
RunName = Annotated[str, Field(pattern=r"^[^/\\'.][^/\\']*$")]
FolderName = Annotated[RunName, BeforeValidator(_given)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Rate = Annotated[float, Field(ge=0, lt=1)]
HistoryMode = Literal["none", "train", "rolling"]
BadRowPolicy = Literal["error", "skip"]
Limit = Annotated[int | float, Field(ge=0)] | None


class Node(BaseModel):
    """A mapping whose keys are all known."""

    # Strict: the values themselves are used, and the text `no`, which could be read as false, is true in Python.
    model_config = ConfigDict(extra="forbid", populate_by_name=True, strict=True)


class Target(BaseModel):
    """A node that hydra instantiates; its other keys are checked against the target's signature in `build`."""

    model_config = ConfigDict(extra="allow", strict=True)
    target: str = Field(alias="_target_")


class Sample(Node):
    """Where and how the synthetic table is made."""

    folder: str
    rows: Annotated[int, Field(ge=50)]
    seed: int


class Data(Node):
    """`data` of training."""

    path: Given | None
    sample: Sample | None
    image_column: str | None
    use_images: bool
    only_pictures: bool
    image_size: Count | None
    image_features: str | None
    on_bad_row: BadRowPolicy
    history: HistoryMode
    split: Literal["random", "unseen_time", "unseen_company"]
    split_seed: int
    validation: Share
    test: Share
    fold: Natural
    validation_from: Moment | None
    test_from: Moment | None
    tokens_per_batch: Count | None
    rows_per_batch: Count | None
    num_workers: Natural | None


class ScoredData(Node):
    """`data` of prediction."""

    image_column: str | None
    image_features: str | None
    on_bad_row: BadRowPolicy
    history: HistoryMode
    tokens_per_batch: Count
    num_workers: Natural | None


class LabelledData(ScoredData):
    """`data` of evaluation."""

    path: Given


Shows = Literal["time", "media", "wording"]
Stage = Literal["align", "instruct"]


class Behaviour(Node):
    """`task` of models that predict likes."""

    name: Literal["behaviour"]
    metric: str
    stages: list[Stage]
    prompt: Literal["ours", "reference"]
    names: bool
    shows: Annotated[list[Shows], Field(min_length=1)]
    max_length: Annotated[int, Field(ge=8)]
    history: Natural
    history_text: bool
    history_dropout: Rate
    others: Rate
    mirrored: Rate
    text_summary: Natural
    supervise: Literal["answer", "all"]
    decode: Literal["greedy", "expected"]
    samples: Count
    sample_seed: Seed
    answer_tokens: Count


class Writing(Node):
    """What a request to write a tweet holds, and how its text is decoded."""

    names: bool
    shows: list[Literal["time", "media"]]
    examples: Natural
    condition_on_likes: bool
    max_length: Annotated[int, Field(ge=16)]
    text_tokens: Annotated[int, Field(ge=2)]
    decode: Literal["greedy", "beam", "sampled", "consensus"]
    alternatives: Count
    draws: Count
    beams: Count
    length_penalty: Annotated[float, Field(ge=0)]
    temperature: Positive
    top_p: Annotated[float, Field(gt=0, le=1)]
    copying: Annotated[float, Field(ge=0, lt=1)]
    repetition_penalty: Positive
    sample_seed: Seed


class Content(Writing):
    """`task` of models that write tweets."""

    name: Literal["content"]
    metric: str
    stages: list[Stage]


class Joint(Behaviour):
    """`task` of models that do both."""

    name: Literal["joint"]
    ratio: Share
    content: Writing


Task = Annotated[Behaviour | Content | Joint, Field(discriminator="name")]


class Asked(Node):
    """`task` of prediction and evaluation: null keeps what the artifact was trained with."""

    name: Literal["behaviour", "content"] | None
    decode: Literal["greedy", "expected", "beam", "sampled", "consensus"] | None
    samples: Count | None
    level: Literal["lowest", "low", "middle", "high", "highest"] | None
    alternatives: Count | None
    text_tokens: Annotated[int, Field(ge=2)] | None
    draws: Count | None
    beams: Count | None
    length_penalty: Annotated[float, Field(ge=0)] | None
    temperature: Positive | None
    top_p: Annotated[float, Field(gt=0, le=1)] | None
    copying: Annotated[float, Field(ge=0, lt=1)] | None
    repetition_penalty: Positive | None
    sample_seed: Seed | None


class GivenAnswering(Node):
    """`task` of conversion."""

    decode: Literal["greedy", "expected"]
    samples: Count


class Optim(Node):
    """`optim`."""

    lr: Positive
    numbers_lr: Positive | None
    weight_decay: Annotated[float, Field(ge=0)]
    warmup: Rate
    schedule: Literal["cosine", "linear", "constant"]
    optimizer: Target


class Trainer(Target):
    """`trainer`: what every file of the group has; further keys are arguments of `lightning.Trainer`."""

    accelerator: str
    devices: int | str | list[int]
    num_nodes: Count
    precision: str | int
    max_epochs: Annotated[int, Field(ge=-1)] | None
    max_steps: Annotated[int, Field(ge=-1)]


class Logger(Node):
    """`logger`."""

    name: Literal["mlflow", "csv", "none"]
    tracking_uri: str | None = None
    experiment_name: str | None = None


class Paths(Node):
    """`paths`."""

    output: str
    data: str
    checkpoints: str

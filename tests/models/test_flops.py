"""Operations as counted from the matrices against those that torch counts while a step runs."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from behavesim.models.flops import picture_places, prediction_flops, training_flops
from behavesim.models.head import Targets

TEXT, ROWS, ANSWER = 40, 3, 4
# Biases, softmax, norms and dropout are no matrix products; neither side counts them.
EXACT = 1e-9
# Where adapters of queries and values are the first thing that trains, the first layer's keys get no gradient. torch
# leaves that product out and the formula does not: 3.1 % of a model of two layers, less of deeper ones.
KEYS = 0.035


@pytest.fixture
def batch(model_inputs):
    """Three rows of one length with a picture each, so that nothing is padded."""
    texts = [[3 + (row + place) % 200 for place in range(TEXT)] for row in range(ROWS)]
    return model_inputs(texts, {row: row for row in range(ROWS)})


def targets(likes=True):
    known = torch.tensor([3.0, 10.0, 200.0]) if likes else None
    return Targets(prior=torch.ones(ROWS), answer_length=torch.full((ROWS,), ANSWER), likes=known)


def load(model, *, supervise="answer"):
    length = TEXT + picture_places(model) + 1
    answers = ANSWER if supervise == "answer" else TEXT - 1
    sizes = {"rows": ROWS, "pictures": ROWS, "places": ROWS * length, "squares": ROWS * length**2}
    return sizes | {"answers": ROWS * answers}


def counted(step):
    """What torch counts; attention written out, whose fused form has a formula of its own."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        step()
    return counter.get_total_flops()


def of_training(model, batch):
    model.train()
    return counted(lambda: model.loss(batch, targets()).backward())


def _tolerance(train):
    return KEYS if "lora" in train and "projector" not in train else EXACT


PARTS = [
    ["vision", "projector", "llm", "head"],
    ["projector", "llm", "head"],
    ["llm", "head"],
    ["projector", "head"],
    ["head"],
]


@pytest.mark.parametrize("train", PARTS, ids=",".join)
@pytest.mark.parametrize("projector", ["linear", "mlp", "resampler"])
def test_training_of_the_default_model(tiny_model, batch, train, projector):
    model = tiny_model(train=train, projector=projector)
    assert training_flops(model).of(**load(model)) == pytest.approx(of_training(model, batch), rel=EXACT)


@pytest.mark.parametrize("train", [["projector", "lora", "head"], ["lora", "head"]], ids=",".join)
def test_training_with_adapters(tiny_model, batch, train):
    model = tiny_model(train=train, r=4)
    assert training_flops(model).of(**load(model)) == pytest.approx(of_training(model, batch), rel=_tolerance(train))


@pytest.mark.parametrize("family", ["llama", "opt", "mpt", "qwen2"])
@pytest.mark.parametrize("train", [["projector", "llm", "head"], ["projector", "lora"], ["lora"]], ids=",".join)
@pytest.mark.parametrize("supervise", ["answer", "all"])
def test_training_of_families_that_write(family_model, batch, family, train, supervise):
    r = 4 if "lora" in train else 0
    model = family_model(family, train=train, r=r, answering={"supervise": supervise})
    expected = pytest.approx(of_training(model, batch), rel=_tolerance(train))
    assert training_flops(model).of(**load(model, supervise=supervise)) == expected


@pytest.mark.parametrize("family", ["llama", "opt", "mpt", "gemma"])
@torch.no_grad()
def test_prediction(family_model, batch, family):
    model = family_model(family, head="histogram")
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # one fused call of the tower that torch does not count
    try:
        seen = counted(lambda: model.score(batch, targets(likes=False)))
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    assert prediction_flops(model).of(**load(model)) == pytest.approx(seen, rel=EXACT)


def test_written_answers_have_no_figure_for_prediction(tiny_model):
    assert prediction_flops(tiny_model(head="text")) is None


def test_checkpointing_counts_once(tiny_model):
    plain, twice = tiny_model(), tiny_model(gradient_checkpointing=True)
    assert training_flops(plain) == training_flops(twice)

"""`benchmark`: how fast training and prediction run here."""

import json
import re

import pytest

from behavesim import build, inputs
from behavesim.benchmarking import measuring
from behavesim.cli import compose
from behavesim.errors import UserError

FIGURES = {
    "samples_per_second",
    "tokens_per_second",
    "padding_share",
    "data_wait_share",
    "peak_memory_gib",
    "mfu",
    "best_tflops",
    "steps",
    "seconds",
}


@pytest.fixture
def benchmark(here, main, sizes, sample_overrides):
    """`benchmark` as a user calls it, two steps of the small sample; `found` is what it wrote."""

    def call(*arguments, model=sizes):
        arguments = ("run_name=fast", "steps=2", "warmup_steps=1", *model, *sample_overrides, *arguments)
        run = main("benchmark", *arguments)
        written = here / "outputs" / "fast" / "benchmark.json"
        run.found = json.loads(written.read_text()) if written.exists() else None
        return run

    return call


def test_training_and_prediction_are_measured_in_one_table(benchmark, here):
    run = benchmark()
    assert run.code == 0
    for name in ("training", "prediction"):
        found = run.found[name]
        assert set(found) == FIGURES and found["steps"] == 2
        assert 0 < found["mfu"] < 1.5  # a busy machine may be measured slower than it is
        assert 0 <= found["padding_share"] < 1 and 0 <= found["data_wait_share"] < 1
        assert found["samples_per_second"] > 0 and found["tokens_per_second"] > found["samples_per_second"]
        [line] = re.findall(rf"^ +{name} .*", run.out, flags=re.MULTILINE)
        assert f"{found['tokens_per_second']:,.0f}" in line and f"{found['mfu']:.1%}" in line
    for name in ("machine", "devices", "versions", "model", "data", "command"):
        assert f"{name} " in run.out and run.found[name] in run.out
    assert "git_tiny" in run.found["model"] and "32-true" in run.found["devices"]
    assert "deepspeed" not in run.found["versions"]
    assert run.found["command"].startswith("python -m behavesim.benchmark run_name=fast steps=2 ")
    page = (here / "outputs" / "fast" / "benchmark.md").read_text()
    assert page.splitlines()[2].startswith("| training | ") and f"- machine: {run.found['machine']}" in page


def test_nothing_is_left_but_its_output(benchmark, here):
    benchmark()
    assert {path.name for path in here.iterdir()} == {"data", "outputs"}
    assert {path.name for path in (here / "data").iterdir()} == {"cache"}
    left = {path.name for path in (here / "outputs" / "fast").iterdir()}
    assert left == {".hydra", "benchmark.log", "benchmark.md", "benchmark.json"}


def test_weights_are_random_and_nothing_is_looked_for(benchmark, tiny_shapes, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("published weights were asked for")

    monkeypatch.setattr("behavesim.models.builders.pretrained_llm", refuse)
    monkeypatch.setattr("behavesim.models.builders.pretrained_tower", refuse)
    model, *shapes = tiny_shapes("git_llama2")
    shapes = [text for text in shapes if not text.startswith(("model.pretrained", "model.vision.shape"))]
    monkeypatch.setattr("behavesim.inputs.named_shape", lambda _: TOWER)
    monkeypatch.setattr("behavesim.models.builders.named_shape", lambda _: TOWER)
    run = benchmark("model.head=text", "model.lora.r=2", "task.samples=2", model=[model, *shapes])
    assert run.code == 0, run.err
    assert run.found["model"].startswith("git_llama2, head text, ")
    assert "mfu" in run.found["training"] and "mfu" not in run.found["prediction"]


TOWER = {"image_size": 16, "patch_size": 8, "width": 32, "layers": 1, "heads": 2}


def test_batches_of_prediction_are_those_of_the_test_rows(here, sizes, sample_overrides):
    cfg = measuring.measurable(compose("benchmark", [*sizes, *sample_overrides, "steps=7", "warmup_steps=1"]))
    data = inputs.datamodule(cfg)
    seen = []

    class Trainer:
        callbacks = (measuring.Throughput(),)

        def predict(self, _module, loader, **_):
            self.callbacks[0].run = {"any": 1.0}
            seen.extend(batch.rows.tolist() for batch in loader)

    measuring.predict(cfg, Trainer(), None, data)
    assert len(seen) == 8
    expected = {tuple(batch.rows.tolist()) for batch in data.test_dataloader()}
    assert {tuple(rows) for rows in seen} == expected


def test_a_time_that_is_over_before_a_step_is_measured_is_refused(benchmark):
    run = benchmark("seconds=1e-9", "warmup_steps=3")
    assert run.code == 2 and run.found is None
    [line] = [line for line in run.lines if line.startswith("error")]
    assert line.startswith(
        "error: seconds: found 1e-09, over before 3 steps of warm-up and one more were done; accepted: "
    )


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["steps=0"], "steps: found 0; accepted: greater than or equal to 1"),
        (["warmup_steps=-1"], "warmup_steps: found -1"),
        (["seconds=0"], "seconds: found 0"),
        (["+trainer.fast_dev_run=true"], "trainer.fast_dev_run: found True; accepted: false, a benchmark has steps="),
        (["logger=none"], "logger: no such key"),
        (["+trainer.no_such=1"], "trainer.no_such: no such argument"),
        (
            ["model=git_llama2", "trainer=gpu", "model.quantization=nf4"],
            "model.quantization: found nf4; accepted: none, random weights are not quantized",
        ),
    ],
    ids=str,
)
def test_settings_that_cannot_be_meant_are_refused(here, sample_overrides, arguments, line):
    with pytest.raises(UserError) as caught:
        build.check_targets(compose("benchmark", [*sample_overrides, *arguments]))
    assert line in str(caught.value)

"""Several processes that train one model: DDP, DeepSpeed's ZeRO and FSDP over gloo."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import polars as pl
import psutil
import pytest
import torch
from safetensors.torch import load_file

from behavesim.errors import UserError

HERE = Path(__file__).parent

# All training rows in one step, and nothing drawn: the global batch of two processes is that of one.
WHOLE = (
    "data.tokens_per_batch=1000000",
    *(f"model.{place}_dropout=0" for place in ("token", "head", "text")),
    *(f"model.readers.{place}dropout=0" for place in ("", "feature_", "summary_")),
    "task.history_dropout=0",
    "task.others=0",
    "task.mirrored=0",
    "trainer.max_epochs=6",
    "trainer.log_every_n_steps=1",
    "optim.lr=3e-3",
    "logger=csv",
    "run_name=a",
)
# In float32, sums in another order: relative.
TOLERANCE = 1e-4
CALIBRATED = ("head.anchors", "head.levels", "head.mean_scale", "head.trust")  # buffers, which no optimiser moves
LORA = ("model.lora.r=2", "model.train=[projector,lora,head]")
SLOW = pytest.mark.slow
ZEROS = ["ddp_zero1", pytest.param("ddp_zero2", marks=SLOW), pytest.param("ddp_zero3", marks=SLOW)]
STRATEGIES = ["ddp", *ZEROS, pytest.param("fsdp", marks=SLOW)]
BUT_FOR_DDP = [pytest.param("ddp", marks=SLOW), *STRATEGIES[1:]]


@pytest.fixture(scope="module")
def alone(tmp_path_factory, train_tiny):
    """The same training by one process."""
    folder = tmp_path_factory.mktemp("alone")
    train_tiny(*WHOLE, f"paths.output={folder}/outputs/a", f"export_dir={folder}/checkpoints/a")
    return folder


def losses(folder, name):
    frame = pl.read_csv(folder / "outputs/a/csv/metrics.csv").filter(pl.col(name).is_not_null())
    return frame.sort("step")[name].to_numpy()


def scores(folder):
    return json.loads((folder / "outputs/a/metrics.json").read_text())


def last(folder):
    return folder / "outputs/a/checkpoints/last.ckpt"


@pytest.mark.parametrize("trainer", STRATEGIES)
def test_two_processes_reach_the_loss_of_one(tmp_path, train_together, alone, trainer, sample_source, main):
    folder = train_together(tmp_path / "two", *WHOLE, f"trainer={trainer}", "trainer.precision=32-true")
    for name in ("train/loss", "val/loss", "val/rmsle"):
        found, expected = losses(folder, name), losses(alone, name)
        assert len(found) == len(expected) == 6
        np.testing.assert_allclose(found, expected, rtol=TOLERANCE)
    assert losses(alone, "train/loss")[-1] < losses(alone, "train/loss")[0] - 0.05
    assert scores(folder) == pytest.approx(scores(alone), rel=TOLERANCE)

    os.chdir(tmp_path)
    predicted = []
    for number, artifact in enumerate((folder, alone)):
        arguments = [f"ckpt={artifact / 'checkpoints/a'}", f"input={sample_source}", f"output={number}.parquet"]
        assert main("predict", *arguments).code == 0
        predicted.append(pl.read_parquet(f"{number}.parquet").select("likes", "likes_logmean").to_numpy())
    np.testing.assert_allclose(*predicted, rtol=TOLERANCE, atol=2e-3)  # predictions are written with three decimals


@pytest.mark.parametrize("trainer", ZEROS)
def test_each_process_holds_half_of_the_optimisers_state(tmp_path, train_together, trainer):
    folder = train_together(tmp_path, f"trainer={trainer}", "trainer.max_steps=2")
    shares = [moments(file) for file in sorted(last(folder).glob("checkpoint/*optim_states.pt"))]
    stored = load_file(folder / "checkpoints/a/model.safetensors")
    weights = sum(tensor.numel() for name, tensor in stored.items() if name not in CALIBRATED)
    assert len(shares) == 2
    assert abs(shares[0] - shares[1]) < 0.02 * weights
    assert weights <= sum(shares) / 2 < 1.02 * weights  # two moments a weight, and padding


def moments(file):
    """Numbers in the two moments of a share of the optimiser's state."""
    state = torch.load(file, weights_only=False, mmap=True)["optimizer_state_dict"]
    state = state.get("base_optimizer_state") or state["optimizer_state_dict"]
    entries = state["state"].values() if isinstance(state, dict) else state
    return sum(entry[name].numel() for entry in entries for name in ("exp_avg", "exp_avg_sq"))


@pytest.mark.parametrize("trainer", BUT_FOR_DDP)
def test_checkpoints_hold_what_trains(tmp_path, train_together, trainer):
    wide = ("model.llm.vocab_size=4000", "model.llm.hidden_size=128", *LORA)
    folder = train_together(tmp_path, f"trainer={trainer}", "trainer.max_steps=2", *wide)
    files = [path for path in [last(folder), *last(folder).rglob("*")] if path.is_file() and path.suffix != ".py"]
    weights = load_file(folder / "checkpoints/a/model.safetensors")
    parts = ("projector", "head", "metadata", "history")
    trained = sum(t.numel() for name, t in weights.items() if ".lora_" in name or name.startswith(parts))
    everything = sum(tensor.numel() for tensor in weights.values())
    # Weights and two moments of 4 bytes each, under ZeRO master weights too; names, counts and shapes.
    assert sum(path.stat().st_size for path in files) < 16 * trained + 150_000 < 4 * everything


@SLOW
@pytest.mark.parametrize("trainer", STRATEGIES)
def test_a_killed_run_ends_where_an_uninterrupted_one_does(tmp_path, train_together, trainer):
    settings = [
        f"trainer={trainer}",
        "trainer.precision=32-true",
        "trainer.max_epochs=2",
        "callbacks.last.every_n_steps=2",
        "+callbacks.recorder._target_=recorder.Recorder",
    ]
    if trainer == "ddp":
        settings.append("model.head=regression")  # whose buffer each process fills with rows of its own
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    train_together(whole, *settings, f"+callbacks.recorder.path={whole}/steps")
    at = len((whole / "steps").read_text().splitlines()) - 3
    recorded = f"+callbacks.recorder.path={killed}/steps"
    train_together(killed, *settings, recorded, f"+callbacks.recorder.kill_at={at}", codes=(-9, -9))
    train_together(killed, *settings, recorded, "ckpt_path=last")
    for rank in ("", "_1"):
        assert steps(killed / f"steps{rank}") == steps(whole / f"steps{rank}")
    assert steps(whole / "steps") != steps(whole / "steps_1")
    for name in ("checkpoints/a/model.safetensors", "outputs/a/metrics.json"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes(), name


def steps(path):
    return {(epoch, index): rows for epoch, index, rows in map(json.loads, path.read_text().splitlines())}


@pytest.mark.parametrize(
    "trainer", ["ddp", pytest.param("ddp_zero2", marks=SLOW), pytest.param("ddp_zero3", marks=SLOW)]
)
@pytest.mark.parametrize("head", ["histogram", pytest.param("text", marks=SLOW)])
def test_batches_without_pictures_wait_for_those_with(tmp_path, train_together, tweets, trainer, head):
    # One tweet in eight has a picture: of the two batches of a step often one has none.
    rare = tweets.with_row_index().with_columns(
        local_path=pl.when(pl.col("index") % 8 == 0).then(pl.col("local_path")), media=pl.lit("")
    )
    rare.drop("index").write_csv(tmp_path / "rare.csv")
    table = (f"data.path={tmp_path / 'rare.csv'}", "data.image_column=local_path", "data.rows_per_batch=3")
    settings = (f"model.head={head}", "task.samples=2", "trainer.max_steps=12", "model.frames=2")
    folder = train_together(tmp_path / "run", f"trainer={trainer}", *table, *settings)
    assert scores(folder)["n"] > 10


WRITERS = ["ddp", *(pytest.param(name, marks=SLOW) for name in ("ddp_zero1", "ddp_zero3", "fsdp"))]


@pytest.mark.parametrize("trainer", WRITERS)
def test_two_processes_train_a_model_that_writes(tmp_path, train_together, trainer):
    short = ("task=joint", "task.content.text_tokens=6", "task.content.max_length=50")
    folder = train_together(tmp_path, f"trainer={trainer}", *short)
    texts = pl.read_csv(folder / "outputs/a/texts.csv")
    found = json.loads((folder / "outputs/a/metrics.json").read_text())
    assert texts["id"].n_unique() == texts.height == found["texts"] == found["n"]
    assert texts["written"].null_count() == 0 and found["empty_texts"] == 0
    assert (folder / "outputs/a/previews").is_dir()


@pytest.mark.parametrize("processes", [1, 2])
def test_a_table_without_pictures(tmp_path, train_together, processes):
    settings = ("trainer=ddp", "data.use_images=false", "trainer.max_steps=4")
    folder = train_together(tmp_path, *settings, codes=(0,) * processes, processes=processes)
    assert scores(folder)["n"] > 10


@SLOW
@pytest.mark.parametrize("trainer", ["ddp", "ddp_zero1", "ddp_zero3", "fsdp"])
def test_two_nodes_are_as_two_processes_of_one(tmp_path, train_together, trainer):
    settings = (f"trainer={trainer}", "trainer.precision=32-true", "trainer.max_steps=4")
    folders = [train_together(tmp_path / str(nodes), *settings, nodes=nodes) for nodes in (1, 2)]
    one, two = (load_file(folder / "checkpoints/a/model.safetensors") for folder in folders)
    for name, values in one.items():  # a process that has a node for itself may take more threads
        torch.testing.assert_close(two[name], values, rtol=TOLERANCE, atol=1e-5)
    assert scores(folders[0]) == pytest.approx(scores(folders[1]), rel=TOLERANCE)


@SLOW
@pytest.mark.parametrize(
    ("trainer", "precision"),
    [
        *((trainer, precision) for trainer in ("ddp_zero1", "ddp_zero3") for precision in ("bf16-mixed", "16-mixed")),
        *((trainer, "bf16-mixed") for trainer in ("ddp", "fsdp")),
    ],
)
def test_mixed_precision_and_gathered_gradients(tmp_path, train_together, trainer, precision):
    settings = (f"trainer.precision={precision}", "trainer.accumulate_grad_batches=2", "trainer.max_epochs=2", *LORA)
    folder = train_together(tmp_path, f"trainer={trainer}", *settings, "model.gradient_checkpointing=true")
    weights = load_file(folder / "checkpoints/a/model.safetensors")
    assert all(tensor.isfinite().all() and tensor.dtype == torch.float32 for tensor in weights.values())
    assert all(tensor.any() for name, tensor in weights.items() if "lora_B" in name)


@SLOW
@pytest.mark.parametrize("trainer", STRATEGIES)
def test_a_language_model_with_a_vocabulary_layer_trains_in_halves(tmp_path, train_together, tiny_shapes, trainer):
    """Of several kinds of numbers: the language model is kept in bfloat16, what is built around it in float32."""
    lora = ["model.train=[projector,lora,head]"] if trainer in ("ddp_zero3", "fsdp") else []
    whole = ["model.train=[vision,projector,llm,head]", "model.lora.r=0"]
    shapes = [text for text in tiny_shapes("git_llama2") if "weights_dtype" not in text]
    settings = (*shapes, *(lora or whole), "trainer.precision=bf16-mixed", "trainer.max_epochs=1")
    folder = train_together(tmp_path, f"trainer={trainer}", *settings)
    weights = load_file(folder / "checkpoints/a/model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} >= {torch.bfloat16, torch.float32}
    assert all(tensor.isfinite().all() for tensor in weights.values())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_the_published_model_trains_on_a_gpu(here, sample_overrides):
    """GIT-LLM at its real size with random weights: bf16, a small checkpoint, and on from there."""
    size = ("model=git_llama2", "model.pretrained=false", "trainer=ddp_zero1", "run_name=a", "logger=none")
    command = [sys.executable, "-m", "behavesim.train", *size, *sample_overrides, "data.rows_per_batch=2"]
    for steps, extra in ((2, ()), (4, ("ckpt_path=last",))):
        done = subprocess.run([*command, f"trainer.max_steps={steps}", *extra], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        state = torch.load(next(last(here).rglob("*model_states.pt")), map_location="cpu", weights_only=True)
        assert state["global_step"] == steps
        assert "bfloat16" in str(state["ds_config"])
    trained = sum(shape.numel() for group in state["param_shapes"] for shape in group.values())
    assert trained < 20_000_000
    assert sum(path.stat().st_size for path in last(here).rglob("*") if path.is_file()) < 16 * trained + 2**20


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_the_published_model_is_measured_on_a_gpu(here, main, sample_overrides):
    arguments = ("model=git_llama2", "trainer=gpu", "steps=5", "warmup_steps=2", "run_name=fast", *sample_overrides)
    assert main("benchmark", *arguments).code == 0
    found = json.loads(Path("outputs/fast/benchmark.json").read_text())
    assert found["training"]["tokens_per_second"] > 0 and 0 < found["training"]["mfu"] < 1


def test_other_processes_and_another_strategy_do_not_go_on(tmp_path, train_together, train_tiny, monkeypatch):
    folder = train_together(tmp_path, "trainer=ddp_zero1", "trainer.max_steps=1")
    monkeypatch.chdir(folder)
    again = ("run_name=a", "trainer.max_steps=2", "ckpt_path=last")
    with pytest.raises(UserError, match=r"last.ckpt is a checkpoint of DeepSpeed, a folder; accepted: one of another"):
        train_tiny(*again)
    with pytest.raises(UserError, match=r"is shared out over 2 processes, found 1; accepted: trainer.devices and"):
        train_tiny(*again, "trainer=ddp_zero1", "trainer.accelerator=cpu")


def test_processes_that_are_started_together_need_a_name(monkeypatch, main, here):
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "none"}.items():
        monkeypatch.setenv(name, value)
    found = main("train", "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "dry_run=true")
    assert found.code == 2
    assert found.lines == [
        "error: run_name: found none for processes that were started together; accepted: run_name=NAME"
    ]


@SLOW
def test_the_command_starts_its_processes(here, sizes, sample_overrides, database, runs_named):
    """`python -m behavesim.train trainer=ddp_zero1`: one name, one tracked run, one voice."""
    job = ("trainer=ddp_zero1", "trainer.accelerator=cpu", "trainer.devices=2", "trainer.max_steps=5", "logger=mlflow")
    command = [sys.executable, "-m", "behavesim.train", *sizes, *sample_overrides, *database, *job]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    [folder] = Path("outputs").iterdir()
    assert [path.name for path in Path("checkpoints").iterdir()] == [folder.name]
    [run] = runs_named(folder.name)
    assert run.info.status == "FINISHED"
    assert run.data.params["trainer"] == "ddp_zero1" and run.data.params["strategy"] == "zero1"
    assert run.data.metrics["run/samples_per_second"] > 0
    assert done.stdout.count("batches an epoch for 2 processes") == done.stdout.count("artifact ") == 1
    assert not [line for line in (done.stdout + done.stderr).splitlines() if "Warning" in line or "gcc" in line]


@SLOW
def test_torchrun_starts_them_too(here, sizes, sample_overrides):
    job = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "trainer.max_steps=3", "logger=none")
    start = ["torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "behavesim.train", "run_name=a"]
    command = [sys.executable, "-m", *start, *sizes, *sample_overrides, *job]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("batches an epoch for 2 processes") == done.stdout.count("artifact ") == 1
    assert Path("checkpoints/a/model.safetensors").exists()


@SLOW
def test_a_command_that_was_killed_goes_on(here, sizes, sample_overrides):
    """`kill -9` of all processes of a job of ZeRO-2, and the same command again."""
    job = ("trainer=ddp_zero2", "trainer.accelerator=cpu", "trainer.devices=2", "trainer.max_epochs=2", "logger=none")
    often = ("run_name=a", "callbacks.last.every_n_steps=2", "trainer.precision=32-true")
    command = [sys.executable, "-m", "behavesim.train", *sizes, *sample_overrides, *job, *often]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE)}
    recorder = ("_target_=recorder.Recorder", f"path={here / 'steps'}", "kill_at=11")
    kill = [f"+callbacks.recorder.{text}" for text in recorder]
    for folder, extra, code in (("whole", [], 0), ("killed", kill, -9), ("killed", ["ckpt_path=last"], 0)):
        Path(folder).mkdir(exist_ok=True)
        quiet = {"cwd": folder, "env": environment, "capture_output": True, "timeout": 240}
        assert subprocess.run([*command, *extra], **quiet).returncode == code
    for name in ("checkpoints/a/model.safetensors", "outputs/a/metrics.json"):
        assert Path("killed", name).read_bytes() == Path("whole", name).read_bytes(), name


@SLOW
@pytest.mark.parametrize("to_all", [False, True], ids=["one", "all"])
def test_a_command_that_is_terminated_ends_its_processes(here, sizes, sample_overrides, database, runs_named, to_all):
    job = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "trainer.max_epochs=10000", "logger=mlflow")
    name = f"terminated_{to_all}"
    command = [sys.executable, "-m", "behavesim.train", *sizes, *sample_overrides, *database, *job, f"run_name={name}"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    process = subprocess.Popen(command, **quiet)
    try:
        end = time.monotonic() + 120
        while not Path("outputs", name, "checkpoints/last.ckpt").exists():
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.1)
        children = psutil.Process(process.pid).children(recursive=True)
        assert children
        (os.killpg if to_all else os.kill)(process.pid, signal.SIGTERM)
        assert process.wait(timeout=30) == 143
        _, alive = psutil.wait_procs(children, timeout=10)
        assert not alive
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    [run] = runs_named(name)
    assert (run.info.status, run.data.tags["error"]) == ("KILLED", "terminated")

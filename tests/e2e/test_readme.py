"""Every command of the README runs, at tiny size."""

import json
import re
import shlex
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path

import hydra
import polars as pl
import pytest
import torch

from behavesim.baselines import baselines
from behavesim.benchmark import benchmark
from behavesim.cli import CONF, compose
from behavesim.compare import compare
from behavesim.convert import convert
from behavesim.data.output import write_table
from behavesim.evaluate import evaluate
from behavesim.export import export
from behavesim.predict import predict
from behavesim.prepare import prepare
from behavesim.tracking.runs import start_run
from behavesim.tracking.sweep import SweepRun
from behavesim.train import train

README = Path(__file__).resolve().parents[2] / "README.md"
COMMAND = re.compile(r"^(?:\S*/)?python -m behavesim\.(\w+)(.*)$")
TABLES = (".xlsx", ".csv", ".parquet")
RUNS = {
    "baselines": baselines,
    "benchmark": benchmark,
    "compare": compare,
    "convert": convert,
    "evaluate": evaluate,
    "export": export,
    "predict": predict,
    "prepare": prepare,
}


def commands(text):
    """(command, arguments) of every `python -m behavesim.…` line in fenced code blocks, with its comment left out."""
    for block in re.findall(r"^ *```[^\n]*\n(.*?)^ *```", text, flags=re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.strip().removeprefix("$ "), comments=True)
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):  # environment variables
                words.pop(0)
            if found := COMMAND.match(shlex.join(words)):
                yield found[1], tuple(shlex.split(found[2]))


FOUND = sorted(set(commands(README.read_text())))


PYTHON = re.findall(r"^```python\n(.*?)^```", README.read_text(), flags=re.MULTILINE | re.DOTALL)


def value_of(arguments, key):
    return next((text.partition("=")[2] for text in arguments if text.startswith(f"{key}=")), None)


@pytest.fixture(scope="session")
def trained_to_write(tmp_path_factory, train_tiny):
    """An artifact that writes its answers, with LoRA: it can be decoded in either way and exported in either format."""
    folder = tmp_path_factory.mktemp("writing")
    settings = ("model.head=text", "model.lora.r=2", "+trainer.limit_train_batches=2", "task.samples=2")
    train_tiny(*settings, f"paths.output={folder / 'output'}", f"export_dir={folder / 'artifact'}", "run_name=writing")
    return folder / "artifact"


@pytest.fixture(scope="session")
def trained_for_both(tmp_path_factory, train_tiny):
    """An artifact that predicts likes and writes tweets."""
    folder = tmp_path_factory.mktemp("both")
    short = ("task.content.text_tokens=8", "task.content.max_length=60", "+trainer.limit_train_batches=2")
    places = (f"paths.output={folder / 'output'}", f"export_dir={folder / 'artifact'}", "run_name=both")
    train_tiny("task=joint", *short, *places)
    return folder / "artifact"


@pytest.fixture(scope="session")
def prepared_folder(tmp_path_factory, tweets):
    """What `prepare` makes of the table, with features of a small tower beside it."""
    folder = tmp_path_factory.mktemp("prepared_folder")
    write_table(tweets, folder / "tweets.parquet")
    settings = ["media=column", "image_column=local_path", "features=true", "model.vision.width=32"]
    places = [f"source={folder / 'tweets.parquet'}", f"paths.data={folder / 'data'}", "name=mine"]
    prepare(compose("prepare", [*places, *settings]))
    return folder / "data" / "mine"


@pytest.fixture(scope="session")
def trained_on_features(tmp_path_factory, train_tiny, prepared_folder):
    """An artifact that has no tower."""
    folder = tmp_path_factory.mktemp("features")
    stored = (f"data.path={prepared_folder}", f"data.image_features={prepared_folder / 'image_features.npz'}")
    places = (f"paths.output={folder / 'output'}", f"export_dir={folder / 'artifact'}", "run_name=features")
    train_tiny(*stored, "model.train=[projector,llm,head]", *places)
    return folder / "artifact"


@pytest.fixture
def pictures_of_tweets(tweets):
    """File of the first picture of each tweet that has one, by id."""
    first = tweets.select("id", pl.col("local_path").str.split(";").list.first()).drop_nulls()
    return {str(tweet): Path(path) for tweet, path in first.iter_rows()}


@pytest.fixture
def web(pictures_of_tweets):
    """Address of a server of this machine that gives a picture for every link."""
    picture = next(iter(pictures_of_tweets.values())).read_bytes()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(picture)))
            self.end_headers()
            self.wfile.write(picture)

        def log_message(self, *_):
            """Nothing on stderr."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture
def prepared(
    here,
    tweets,
    web,
    trained,
    trained_to_write,
    trained_for_both,
    trained_on_features,
    prepared_folder,
    reference_checkpoint,
    train_tiny,
):
    """Puts what a command reads where the command looks for it."""

    def table(path):
        if path.suffix in TABLES:
            linked = pl.col("media").str.replace_all("https://example.invalid", web, literal=True)
            write_table(tweets.with_columns(linked), path)
        else:
            shutil.copytree(prepared_folder, path)

    def make(name, arguments):
        for key in ("data.path", "input", "source", "history"):
            path = value_of(arguments, key)
            if path and not Path(path).exists():
                table(Path(path))
        stored = value_of(arguments, "data.image_features")
        if stored and not Path(stored).exists():
            shutil.copy(prepared_folder / "image_features.npz", stored)
        writes = name == "export" or value_of(arguments, "task.decode")
        ckpt = trained_to_write if writes else trained_on_features if stored else trained.artifact
        folders = {"ckpt": trained_for_both if "task=content" in arguments else ckpt}
        for key, folder in (folders | dict.fromkeys(("reference", "tokenizer"), reference_checkpoint)).items():
            if (path := value_of(arguments, key)) and not Path(path).exists():
                shutil.copytree(folder, path)
        if value_of(arguments, "ckpt_path") == "last":
            first = [text for text in arguments if not text.startswith(("ckpt_path=", "trainer.max_epochs="))]
            train_tiny(*first)
        return arguments

    return make


@pytest.fixture
def of_a_second(tiny_shapes, tiny_checkpoint):
    """Overrides that make a command's large model tiny; none where it trains the default model."""

    def overrides(arguments):
        recipe = value_of(arguments, "+experiment")
        model = "git_llama2" if recipe else value_of(arguments, "model")
        if model in (None, "git_tiny"):
            return []
        if llm := value_of(arguments, "model.llm"):  # weights as published, where the command looks for them
            shutil.copytree(tiny_checkpoint.llm, llm)
            return list(tiny_checkpoint.vision)
        _, *shapes = tiny_shapes(model)
        return [text for text in shapes if value_of(arguments, text.partition("=")[0]) is None]

    return overrides


@pytest.fixture
def train_large(here, of_a_second, sample_overrides, train_together):
    """Two steps of a command with another model than the default one, on a CPU where there is no GPU."""

    def run(*arguments):
        arguments = [*arguments, *of_a_second(arguments)]
        if (value_of(arguments, "trainer") or "").startswith("ddp"):
            two_steps = ("run_name=a", "trainer.max_steps=2", "trainer.precision=32-true")
            train_together(here, *arguments, *two_steps)
            return
        if value_of(arguments, "+experiment") and not torch.cuda.is_available():
            arguments = ["trainer=cpu", *(text for text in arguments if text != "trainer=cpu")]
        sample = () if value_of(arguments, "data.path") else sample_overrides
        small = ["+trainer.limit_train_batches=2", "trainer.max_epochs=1", "task.samples=2", "model.image_tokens=2"]
        train(compose("train", [*arguments, *small, *sample, "logger=none"]))

    return run


@pytest.fixture
def prepare_here(of_a_second, pictures_of_tweets):
    """`prepare`, its pictures from this machine; none of them may be missing."""

    def call(*arguments):
        if folder := value_of(arguments, "images_dir"):
            Path(folder).mkdir()
            for tweet, path in pictures_of_tweets.items():
                shutil.copy(path, Path(folder) / f"{tweet}{path.suffix}")
        local = ["allow_private=true"] if value_of(arguments, "media") == "download" else []
        prepare(compose("prepare", [*arguments, *local, *of_a_second(arguments)]))
        counts = json.loads((Path("data") / value_of(arguments, "name") / "manifest.json").read_text())["counts"]
        assert counts["rows"] == counts["source_rows"] == 200
        assert (counts["pictures"] > 0) == (value_of(arguments, "media") not in (None, "skip"))

    return call


@pytest.fixture
def benchmark_here(of_a_second, sizes, sample_overrides):
    """`benchmark`, two steps of each."""

    def call(*arguments):
        sample = () if value_of(arguments, "data.path") else sample_overrides
        given = [text for text in arguments if not text.startswith("steps=")]
        model = of_a_second(arguments) or sizes
        benchmark(compose("benchmark", [*given, *model, *sample, "steps=2", "warmup_steps=0", "run_name=fast"]))
        assert Path("outputs/fast/benchmark.md").exists()

    return call


@pytest.fixture
def sweep_here(main, sizes, sample_overrides):
    """A sweep, its jobs in this process, two of a search; on a cluster it is only composed."""

    def call(*arguments):
        if launcher := value_of(arguments, "hydra/launcher"):
            pytest.importorskip(f"hydra_plugins.hydra_{launcher.partition('_')[0]}_launcher")
            with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
                hydra.compose("train", [text for text in arguments if text.lstrip("+").startswith("hydra")])
            return
        own = ("hydra.launcher.", "hydra.sweeper.n_trials=")
        # Optuna 2 cannot keep a study where SQLAlchemy is newer than the extra's.
        own += () if metadata.version("sqlalchemy") < "2" else ("hydra.sweeper.storage=",)
        words = [text for text in arguments if not text.startswith(own)]
        trials = ["hydra.sweeper.n_trials=2"] if value_of(arguments, "search") == "optuna" else []
        short = ["+trainer.limit_train_batches=2", "logger=none", "hydra/launcher=basic", *trials]
        assert main("train", *words, *sizes, *sample_overrides, *short).code == 0

    return call


@pytest.fixture
def compare_here(database, client):
    """`compare` on a sweep of that name."""

    def call(*arguments):
        uri = database[0].partition("=")[2]
        own = {"tracking_uri": uri, "experiment_name": "behavesim", "overrides": [], "resume": False}
        parent = SweepRun(run_name=value_of(arguments, "sweep"), **own)
        job, _ = start_run(client, parent.experiment_id, "job", [], resume=False)
        client.log_metric(job, "val/rmsle", 1.0)
        client.set_terminated(job)
        parent.end("FINISHED", None, Path("jobs.csv"))
        compare(compose("compare", [*arguments, f"tracking_uri={uri}", "run_name=compared"]))
        assert len(pl.read_csv("outputs/compared/compare.csv")) == 1

    return call


@pytest.fixture
def run(
    here,
    prepared,
    prepare_here,
    benchmark_here,
    sweep_here,
    compare_here,
    train_tiny,
    train_large,
    database,
    main,
):
    def call(name, arguments):
        if "--help" in arguments or "-h" in arguments:
            assert main(name, *arguments).code == 0
            return
        prepared(name, arguments)
        if "-m" in arguments or "--multirun" in arguments:
            sweep_here(*arguments)
        elif name == "compare":
            compare_here(*arguments)
        elif name == "prepare":
            prepare_here(*arguments)
        elif name == "benchmark":
            benchmark_here(*arguments)
        elif name != "train":
            RUNS[name](compose(name, arguments))
        elif value_of(arguments, "model") or value_of(arguments, "+experiment") or value_of(arguments, "trainer"):
            train_large(*arguments)
        else:
            epochs = "trainer.max_epochs=2" if "ckpt_path=last" in arguments else "trainer.max_epochs=1"
            tracked = () if value_of(arguments, "logger") else ("logger=mlflow", *database)
            train_tiny(*arguments, epochs, *tracked)

    return call


def test_the_readme_shows_every_command():
    assert {*RUNS, "train"} == {name for name, _ in FOUND}


@pytest.mark.parametrize(("name", "arguments"), FOUND, ids=[" ".join((name, *rest)) for name, rest in FOUND])
def test_a_command_of_the_readme_runs(run, name, arguments):
    if value_of(arguments, "trainer") == "gpu" and not torch.cuda.is_available():
        arguments = tuple(text for text in arguments if not text.startswith("trainer="))  # on a CPU, then
    run(name, arguments)


@pytest.mark.parametrize("text", PYTHON, ids=[text.split("\n")[0] for text in PYTHON])
def test_python_of_the_readme_runs(run, reference_checkpoint, text):
    shutil.copytree(reference_checkpoint, "output/checkpoint-9235")
    for name, arguments in FOUND:
        if name == "export":
            run(name, arguments)
    exec(text, {})


def test_commands_are_found_however_they_are_written():
    text = """
python -m behavesim.train in=prose
```bash
$ python -m behavesim.train a=1  # comment
.venv/bin/python -m behavesim.predict 'b=x y' \\
    c=2
MLFLOW_TRACKING_URI=http://x python -m behavesim.evaluate
make demo
```
"""
    assert list(commands(text)) == [("train", ("a=1",)), ("predict", ("b=x y", "c=2")), ("evaluate", ())]

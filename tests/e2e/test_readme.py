"""Every command of the README runs, at tiny size."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
import torch

from behavesim.cli import compose
from behavesim.data.output import write_table
from behavesim.evaluate import evaluate
from behavesim.predict import predict

README = Path(__file__).resolve().parents[2] / "README.md"
COMMAND = re.compile(r"^(?:\S*/)?python -m behavesim\.(\w+)(.*)$")
TABLES = (".xlsx", ".csv", ".parquet")


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


def value_of(arguments, key):
    return next((text.partition("=")[2] for text in arguments if text.startswith(f"{key}=")), None)


@pytest.fixture
def prepared(here, tweets, trained, train_tiny):
    """Puts what a command reads where the command looks for it."""

    def make(name, arguments):
        for key in ("data.path", "input"):
            path = value_of(arguments, key)
            if path and not Path(path).exists():
                assert Path(path).suffix in TABLES, path
                write_table(tweets, Path(path))
        if (artifact := value_of(arguments, "ckpt")) and not Path(artifact).exists():
            shutil.copytree(trained.artifact, artifact)
        if value_of(arguments, "ckpt_path") == "last":
            first = [text for text in arguments if not text.startswith(("ckpt_path=", "trainer.max_epochs="))]
            train_tiny(*first)
        return arguments

    return make


@pytest.fixture
def run(here, prepared, train_tiny, sizes, sample_overrides, database, main):
    def call(name, arguments):
        if "--help" in arguments or "-h" in arguments:
            assert main(name, *arguments).code == 0
            return
        prepared(name, arguments)
        if "-m" in arguments or "--multirun" in arguments:
            assert main(name, *arguments, *sizes, *sample_overrides, "logger=none").code == 0
        elif name == "train":
            epochs = "trainer.max_epochs=2" if "ckpt_path=last" in arguments else "trainer.max_epochs=1"
            tracked = () if value_of(arguments, "logger") else ("logger=mlflow", *database)
            train_tiny(*arguments, epochs, *tracked)
        else:
            {"evaluate": evaluate, "predict": predict}[name](compose(name, arguments))

    return call


def test_the_readme_shows_every_command():
    assert {"train", "evaluate", "predict"} <= {name for name, _ in FOUND}


@pytest.mark.parametrize(("name", "arguments"), FOUND, ids=[" ".join((name, *rest)) for name, rest in FOUND])
def test_a_command_of_the_readme_runs(run, name, arguments):
    if value_of(arguments, "trainer") == "gpu" and not torch.cuda.is_available():
        compose(name, [text for text in arguments if not text.startswith("trainer=")])
        pytest.skip("no GPU on this machine: only composed, with trainer=cpu")
    run(name, arguments)


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

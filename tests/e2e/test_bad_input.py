"""What a user got wrong: one line a problem, exit code 2, nothing half written."""

import os
import shutil
import subprocess
import sys
from types import SimpleNamespace

import polars as pl
import pytest

from behavesim.data.output import write_table

COMMANDS = ("train", "evaluate", "predict", "export", "convert", "prepare", "compare", "benchmark", "baselines")
SECONDS = 6  # of a processor, whatever else runs on it; on the clock of an idle machine, 3


@pytest.fixture
def fresh(here):
    """The command as its own process."""
    environment = {key: value for key, value in os.environ.items() if key != "HYDRA_FULL_ERROR"}

    def call(name, *arguments):
        before = os.times()
        run = subprocess.run(
            [sys.executable, "-m", f"behavesim.{name}", *map(str, arguments)],
            capture_output=True,
            text=True,
            env=environment,
            check=False,
        )
        after = os.times()
        seconds = after.children_user + after.children_system - before.children_user - before.children_system
        lines = run.stderr.splitlines()
        return SimpleNamespace(code=run.returncode, out=run.stdout, err=run.stderr, lines=lines, seconds=seconds)

    return call


@pytest.fixture
def table(here, tweets):
    """Writes the sample's table after `change`, as .csv unless said otherwise, and returns its name."""

    def write(change=lambda frame: frame, name="t.csv"):
        write_table(change(tweets), here / name)
        return name

    return write


def at(row, column, value):
    """A change of one cell; `row` is the line that a spreadsheet shows."""
    return lambda frame: frame.with_columns(
        pl.when(pl.int_range(2, frame.height + 2) == row)
        .then(pl.lit(value))
        .otherwise(pl.col(column).cast(pl.String))
        .alias(column)
    )


def refused(run, *pieces):
    """The lines of a run that ended as it should for wrong input; each holds one of `pieces`, in order."""
    errors = [line for line in run.lines if line.startswith("error: ")]
    assert run.code == 2, run.err
    assert "Traceback" not in run.err + run.out
    assert len(errors) == len(pieces), run.err
    for line, piece in zip(errors, pieces, strict=True):
        assert piece in line
    return errors


def test_config_errors_are_reported_at_once_before_anything_heavy_loads(fresh):
    shape = ("model.llm.layers=two", "model.llm.heads=3")
    run = fresh("train", "optim.lr=-1", *shape, "data.validation=0.5", "data.test=0.6", "seed=x")
    lines = refused(run, "model.llm.layers: found 'two'", "optim.lr: found -1", "seed: found 'x'", "sum", "heads")
    assert all("accepted: " in line for line in lines)
    assert run.seconds < SECONDS


@pytest.mark.parametrize("name", COMMANDS)
def test_help_explains_groups_and_shows_examples(fresh, name):
    run = fresh(name, "--help")
    assert run.code == 0
    assert run.seconds < SECONDS
    assert f"python -m behavesim.{name} " in run.out
    assert "Examples" in run.out
    assert "trainer: cpu, ddp, ddp_zero1, ddp_zero2, ddp_zero3, ddp_zero3_offload, fsdp, gpu" in run.out


def test_a_bad_table_ends_a_process_with_code_2(fresh, here, table, sizes):
    arguments = [*sizes, "logger=none", "run_name=a", f"data.path={table(at(9, 'likes', 'many'))}"]
    refused(fresh("train", *arguments), "t.csv, row 9, column likes: found many; accepted: a whole number, 0 or more")
    assert not (here / "checkpoints").exists()
    assert pl.read_csv(here / "outputs" / "a" / "rejected_rows.csv")["row"].to_list() == [9]


@pytest.mark.parametrize(
    ("override", "pieces"),
    [
        ("model.llm.layer=3", ["model.llm.layer: no such key; did you mean layers?"]),
        ("modle=git_tiny", ["modle: no such key; did you mean model?"]),
        ("+experiments=x", ["experiments: no such key"]),
        ("+model.extra=1", ["model.extra: no such key"]),
        ("model=git_huge", ["model: found git_huge; accepted: git_hf, git_llama2, git_mpt, git_opt, git_tiny"]),
        (
            "trainer=tpu",
            ["trainer: found tpu; accepted: cpu, ddp, ddp_zero1, ddp_zero2, ddp_zero3, ddp_zero3_offload, fsdp, gpu"],
        ),
        ("hello", ["hello: found a word; accepted: key=value"]),
        ("seed=", ["seed: found ''"]),
        ("run_name=a/b", ["run_name: found 'a/b'"]),
        ("data.path=gone.csv", ["data.path: found gone.csv, which does not exist; accepted: a file ending in"]),
        ("ckpt_path=last", ["ckpt_path: found last, but"]),
        ("data.use_images=no", ["data.use_images: found 'no'"]),
        ("dry_run=off", ["dry_run: found 'off'"]),
        ("trainer.max_epochs=1.0", ["trainer.max_epochs: found 1.0"]),
        ("trainer.max_epochs='2'", ["trainer.max_epochs: found '2'"]),
        ("seed=true", ["seed: found True"]),
        ("~seed", ["seed: found nothing"]),
        ("seed=${gone}", ["seed"]),
        ("task.shows=[time,views]", ["task.shows.1: found 'views'; accepted: 'time', 'media' or 'wording'"]),
        ("seed=[1", ["seed: found '[1'; accepted: a valid integer"]),
    ],
)
def test_a_wrong_override_of_training_is_one_line(here, main, override, pieces):
    refused(main("train", override), *pieces)
    assert not (here / "checkpoints").exists()
    assert not (here / "mlflow.db").exists()


def test_all_wrong_overrides_are_reported_beside_wrong_values(here, main):
    run = main("train", "model=x", "optim.lrr=1", "optim.lr=-1", "seed=-1", "+foo=1")
    refused(run, "model: found x", "optim.lrr: no such key", "optim.lr: found -1", "seed: found -1", "foo: no such key")


def test_trainer_arguments_are_those_of_lightning(here, main):
    refused(main("train", "+trainer.max_epoch=3"), "trainer.max_epoch: no such argument; accepted: accelerator")


def test_what_has_no_default_is_asked_for(here, main):
    refused(main("predict"), "ckpt: found nothing", "input: found nothing", "output: found nothing")
    refused(main("evaluate"), "data.path: found nothing", "ckpt: found nothing")
    refused(main("prepare"), "source: found nothing", "name: found nothing")


def test_a_missing_input_and_a_strange_output_are_named_together(here, main, trained):
    run = main("predict", f"ckpt={trained.artifact}", "input=gone.csv", "output=out.txt")
    refused(run, "input: found gone.csv, which does not exist", "output: found out.txt; accepted: a file ending in")


@pytest.mark.parametrize(
    ("change", "piece"),
    [
        (lambda frame: frame.drop("username"), "t.csv: no column username; found: 'id', 'date'"),
        (lambda frame: frame.rename({"likes": "like"}), "t.csv: no column likes (close: 'like')"),
        (lambda frame: frame.clear(), "t.csv: holds no rows; accepted: a header and at least one tweet"),
        (at(4, "likes", "many"), "t.csv, row 4, column likes: found many; accepted: a whole number, 0 or more"),
        (at(4, "likes", "-3"), "t.csv, row 4, column likes: found -3; accepted: a whole number, 0 or more"),
        (at(5, "date", "30/02/2020"), "t.csv, row 5, column date: found 30/02/2020; accepted: a date such as"),
        (at(6, "username", " "), "t.csv, row 6, column username: found nothing; accepted: an account name"),
        (lambda frame: frame.head(2), "accepted: more rows"),
        (lambda frame: frame.with_columns(likes=pl.lit(None)), "t.csv: found 200 rows, none that can be used"),
    ],
    ids=[
        "no column",
        "misspelt",
        "no rows",
        "text likes",
        "negative likes",
        "bad date",
        "no account",
        "few",
        "no likes",
    ],
)
def test_a_bad_table_is_one_line(here, main, table, change, piece):
    refused(main("train", f"data.path={table(change)}", "run_name=a"), piece)
    assert not (here / "checkpoints").exists()
    assert not (here / "mlflow.db").exists()


@pytest.mark.parametrize("name", ["t.xlsx", "t.parquet", "t.csv", "t.json", "t"])
def test_a_file_that_is_no_table_is_one_line(here, main, name):
    (here / name).write_bytes(b"\x00\xff broken \x80" * 50)
    refused(main("train", f"data.path={name}"), name)


def test_a_folder_is_no_table(here, main):
    (here / "t.csv").mkdir()
    refused(main("train", "data.path=t.csv"), "data.path: found t.csv, a folder without manifest.json; accepted: ")


def test_a_broken_picture_is_named_with_its_row(here, main, table):
    (here / "broken.png").write_bytes(b"\x89PNG broken")
    path = table(at(7, "local_path", "broken.png"))
    run = main("train", f"data.path={path}", "data.image_column=local_path", "run_name=a")
    found = "found broken.png; no picture (found a broken PNG); accepted: a picture that exists"
    refused(run, f"t.csv, row 7, column local_path: {found}")
    assert pl.read_csv(here / "outputs" / "a" / "rejected_rows.csv")["column"].to_list() == ["local_path"]


def test_every_bad_row_is_listed_and_the_first_is_shown(here, main, table):
    path = table(lambda frame: at(8, "date", "never")(at(4, "likes", "-3")(frame)))
    refused(main("train", f"data.path={path}", "run_name=a"), "row 4, column likes: found -3; accepted: a whole number")
    rejected = pl.read_csv(here / "outputs" / "a" / "rejected_rows.csv")
    assert rejected.select("row", "column", "found").rows() == [(4, "likes", "-3"), (8, "date", "never")]


@pytest.mark.parametrize("name", ["predict", "evaluate"])
def test_bad_rows_are_no_less_wrong_for_a_trained_model(here, main, table, trained, name):
    path = table(at(5, "date", "soon"))
    paths = [f"input={path}", "output=new/out.csv"] if name == "predict" else [f"data.path={path}"]
    refused(main(name, f"ckpt={trained.artifact}", "run_name=a", *paths), "t.csv, row 5, column date: found soon")
    assert not (here / "new").exists()
    assert not (here / "outputs" / "a" / "metrics.json").exists()
    assert (here / "outputs" / "a" / "rejected_rows.csv").is_file()


def test_a_ckpt_that_is_no_artifact_is_named(here, main, table, trained):
    paths = [f"input={table()}", "output=out.csv"]
    (here / "empty").mkdir()
    refused(main("predict", "ckpt=gone", *paths), "ckpt: found gone, which does not exist; accepted: an artifact")
    refused(main("predict", "ckpt=empty", *paths), "ckpt=empty: without config.yaml, model.safetensors")
    refused(main("predict", "ckpt=t.csv", *paths), "ckpt=t.csv: ")
    shutil.copytree(trained.artifact, here / "cut")
    (here / "cut" / "model.safetensors").write_bytes(b"x")
    refused(main("predict", "ckpt=cut", *paths), "ckpt=cut: a damaged artifact")
    assert not (here / "out.csv").exists()


def test_a_checkpoint_of_pickled_code_is_refused(here, main, sample_overrides):
    import pickle

    class Hostile:
        def __reduce__(self):
            return (os.mkdir, ("executed",))

    (here / "evil.ckpt").write_bytes(pickle.dumps(Hostile()))
    refused(main("train", *sample_overrides, "logger=none", "ckpt_path=evil.ckpt"), "evil.ckpt")
    assert not (here / "executed").exists()
    assert not (here / "checkpoints").exists()


def test_a_cut_checkpoint_is_one_line(here, main, train_tiny, sample_overrides):
    path = here / "outputs" / "a" / "checkpoints" / "last.ckpt"
    train_tiny("run_name=a")
    path.write_bytes(path.read_bytes()[:-5000])
    refused(
        main("train", *sample_overrides, "run_name=a", "logger=none", "ckpt_path=last"),
        "last.ckpt is damaged or no checkpoint",
    )

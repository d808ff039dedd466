"""What the launcher makes of a sweep's words: the jobs, which are not run here."""

import pytest

from behavesim.processes import jobs
from behavesim.sweep import write_objective


@pytest.fixture
def launched(here, main, monkeypatch):
    """The jobs of a sweep with these words, and what its command came to."""
    found = []

    def run(batch, _at_a_time, started, ended):
        for job in batch:
            job.folder.mkdir(parents=True, exist_ok=True)
            started(job)
            write_objective(job.folder, "val/rmsle", 1.0)
            ended(jobs.Ended(job, 1.0, None))
        found.extend(batch)

    monkeypatch.setattr(jobs, "run", run)

    def call(*words, name="train"):
        found.clear()
        return found, main(name, "-m", *words, "run_name=a", *(["logger=none"] if name == "train" else []))

    return call


def test_a_job_is_the_command_of_the_sweep_whatever_hydra_calls_it(launched):
    found, ended = launched("seed=0,1", "hydra.job.name=mine", "trainer=ddp", "trainer.devices=2")
    assert ended.code == 0, ended.err
    assert [job.command[1:3] for job in found] == [["-m", "behavesim.train"]] * 2
    assert [job.name for job in found] == ["a_0", "a_1"]
    assert [list(job.overrides) for job in found] == [["seed=0"], ["seed=1"]]
    assert {job.processes for job in found} == {2}


def test_devices_that_are_not_counted_are_one_process(launched):
    found, ended = launched("seed=0,1", "trainer=ddp")  # trainer.devices=auto
    assert ended.code == 0, ended.err
    assert {job.processes for job in found} == {1}


def begun(here, number, *settings):
    """The folder of a job that can go on."""
    folder = here / "multirun" / "a" / str(number)
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "overrides.yaml").write_text("".join(f"- {text}\n" for text in settings))
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "last.ckpt").touch()


def test_jobs_that_were_begun_go_on_and_the_others_begin(here, launched):
    begun(here, 0, "run_name=a_0", "seed=0")
    found, ended = launched("seed=0,1", "ckpt_path=last")
    assert ended.code == 0, ended.err
    assert ["ckpt_path=last" in job.command for job in found] == [True, False]


def test_jobs_go_on_with_their_own_settings(here, launched):
    begun(here, 0, "seed=1")
    found, ended = launched("seed=0,1", "ckpt_path=last")
    assert (ended.code, found) == (2, [])
    line = "error: ckpt_path: found last with seed=0, which multirun/a/0/.hydra/overrides.yaml has not; accepted: "
    assert [text.startswith(line) for text in ended.lines] == [True]


def test_the_trials_of_a_search_export_to_folders_of_their_own(launched):
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    search = ("search=optuna", "optim.lr=interval(1e-4, 1e-2)", "hydra.sweeper.n_trials=2")
    found, ended = launched(*search, "export_dir=mine")
    assert ended.code == 2
    assert ended.lines[-1].startswith("error: export_dir: found mine for several jobs; accepted: a folder for each")
    assert len(found) == 1
    found, ended = launched(*search, "export_dir=models/${run_name}")
    assert (ended.code, len(found)) == (0, 2)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["optim.lrr=1,2", "ckpt_path=last"], "error: optim.lrr: no such key; did you mean lr?"),
        (
            ["seed=0,1", "hydra/launcher=basic", "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"],
            "error: trainer.devices: found 2 processes with this launcher; accepted: 1, hydra/launcher=processes, or ",
        ),
        (["optim.lrr=1,2"], "error: optim.lrr: no such key; did you mean lr?"),
        (["optim.lr=1e-3,3e-4", "modle=a"], "error: modle: no such key; did you mean model?"),
        (["seed=0,1", "hydra.launcher.n_jobs=0"], "error: hydra.launcher.n_jobs: found 0; accepted: 1 or more"),
        (
            ["seed=0,1", "export_dir=mine"],
            "error: export_dir: found mine for several jobs; accepted: a folder for each",
        ),
    ],
)
def test_wrong_words_of_a_sweep_are_one_line(here, main, arguments, line):
    found = main("train", "-m", *arguments, "logger=none")
    assert found.code == 2
    assert [text.startswith(line) for text in found.lines] == [True]

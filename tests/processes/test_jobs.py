"""Jobs as processes, with commands that stand in for a training."""

import os
import signal
import sys
import threading
import time

import psutil
import pytest

from behavesim.processes.jobs import INTERRUPTED, LOG, Job, job_environment, run

SLEEP = "import time; time.sleep(60)"


@pytest.fixture
def conduct(tmp_path):
    """Run pieces of Python, or commands, as jobs; returns what was started and what ended, by number."""

    def call(*programs, at_a_time=2, started=lambda job: None):
        commands = [[sys.executable, "-c", text] if isinstance(text, str) else text for text in programs]
        jobs = [Job(n, f"job_{n}", command, tmp_path / str(n), ()) for n, command in enumerate(commands)]
        ended = call.ended
        run(jobs, at_a_time, started, lambda what: ended.update({what.job.number: what}))
        return ended

    call.ended = {}
    return call


def test_all_jobs_run_whatever_becomes_of_one(conduct, tmp_path):
    ended = conduct("print('done')", "import sys; print('error: seed: found x'); sys.exit(2)", "1 / 0", ["false"])
    assert [ended[n].error for n in range(4)] == [
        None,
        "seed: found x",
        "ZeroDivisionError: division by zero",
        "exit code 1",
    ]
    assert (tmp_path / "0" / LOG).read_text() == "done\n"
    assert "Traceback" in (tmp_path / "2" / LOG).read_text()
    assert not any(what.killed for what in ended.values())


def test_a_job_that_the_kernel_killed_says_so(conduct):
    [ended] = conduct("import os; os.kill(os.getpid(), 9)").values()
    assert ended.error == "killed by SIGKILL, as for want of memory"


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ("error in process 1: seed: found x", "seed: found x"),
        (
            "[rank1]: Traceback (most recent call last):\\n[rank1]: ValueError: first\\n[rank1]: RuntimeError: last\\n"
            "[rank0]:[W ProcessGroup] closed\\n[rank0]: torch.distributed.DistBackendError: closed by peer",
            "RuntimeError: last",
        ),
        ("KeyError: 1", "KeyError: 1"),
        ("the RuntimeError that was", "killed by SIGKILL, as for want of memory"),
    ],
)
def test_a_job_that_was_killed_for_one_of_its_processes_says_why(conduct, said, error):
    """As Lightning does with the main process when another one fails."""
    [ended] = conduct(f"import os; print('{said}', flush=True); os.kill(os.getpid(), 9)").values()
    assert ended.error == error


def test_the_error_is_found_before_what_others_say_last(conduct):
    text = "print('RuntimeError: out of memory\\nFor debugging, see there'); raise SystemExit(1)"
    assert conduct(text)[0].error == "RuntimeError: out of memory"


def test_secrets_are_not_in_the_error(conduct, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "abcdefgh")
    assert conduct("raise OSError('abcdefgh was refused')")[0].error == "OSError: *** was refused"


@pytest.mark.parametrize("at_a_time", [1, 3])
def test_some_run_at_a_time(conduct, at_a_time):
    running, most = set(), []

    def started(job):
        running.add(job.number)
        for number in list(running):
            if number in conduct.ended:
                running.discard(number)
        most.append(len(running))

    conduct(*["import time; time.sleep(0.2)"] * 5, at_a_time=at_a_time, started=started)
    assert max(most) == at_a_time


def test_an_interruption_ends_running_jobs_and_what_they_started(conduct, tmp_path):
    child = f"import subprocess, sys, time; p = subprocess.Popen([sys.executable, '-c', {SLEEP!r}]); "
    child += f"open({str(tmp_path / 'pid')!r}, 'w').write(str(p.pid)); time.sleep(60)"

    def interrupt():
        while not ((tmp_path / "pid").exists() and (tmp_path / "pid").read_text() and 1 in conduct.ended):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        conduct(child, "print(1)", SLEEP, SLEEP)
    killed = {number for number, what in conduct.ended.items() if what.killed}
    assert 0 in killed and 1 not in killed and 3 not in conduct.ended
    assert conduct.ended[0].error == INTERRUPTED
    until = time.monotonic() + 10
    while is_alive(int((tmp_path / "pid").read_text())):
        assert time.monotonic() < until
        time.sleep(0.05)


def test_an_interruption_leaves_what_has_ended_as_it_ended(conduct, tmp_path):
    """Also what comes to its end while it is told to."""
    patient = "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(0)); "
    patient += f"open({str(tmp_path / 'ready')!r}, 'w').close(); time.sleep(60)"
    before = set(psutil.Process().children())

    def zombies():
        return [child.status() for child in set(psutil.Process().children()) - before].count(psutil.STATUS_ZOMBIE)

    def interrupt(job):
        until = time.monotonic() + 20
        while job.number == 3 and not ((tmp_path / "ready").exists() and zombies() == 2):
            assert time.monotonic() < until
            time.sleep(0.05)
        if job.number == 3:  # before anyone looked at the first two
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        conduct("print(1)", "1 / 0", patient, SLEEP, at_a_time=4, started=interrupt)
    found = {number: (what.error, what.killed) for number, what in conduct.ended.items()}
    assert found == {
        0: (None, False),
        1: ("ZeroDivisionError: division by zero", False),
        2: (None, False),
        3: (INTERRUPTED, True),
    }


def is_alive(number):
    return psutil.pid_exists(number) and psutil.Process(number).status() != psutil.STATUS_ZOMBIE


def test_a_job_that_will_not_end_is_ended(conduct, tmp_path, monkeypatch):
    monkeypatch.setattr("behavesim.processes.jobs.PATIENCE", 0.2)
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"

    def interrupt():
        while "deaf" not in ((tmp_path / "0" / LOG).read_text() if (tmp_path / "0" / LOG).exists() else ""):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        conduct(deaf)
    assert conduct.ended[0].killed
    assert time.monotonic() - begin < 20


def test_a_job_knows_no_ranks_of_the_process_that_starts_it():
    mine = {
        "LOCAL_RANK": "1",
        "WORLD_SIZE": "2",
        "MASTER_PORT": "1",
        "TORCHELASTIC_RUN_ID": "a",
        "HYDRA_FULL_ERROR": "1",
    }
    found = job_environment({**mine, "HOME": "/home/me", "CUDA_VISIBLE_DEVICES": "1"}, at_a_time=2, processes=1)
    assert found.keys() == {
        "HOME",
        "CUDA_VISIBLE_DEVICES",
        "OMP_NUM_THREADS",
        "PYTHONUNBUFFERED",
        "BEHAVESIM_SWEEP",
    }


def test_jobs_that_run_at_once_share_the_cores(monkeypatch):
    monkeypatch.setattr("behavesim.processes.jobs.cores", lambda: 12)

    def threads(at_a_time, processes, **environment):
        return job_environment(environment, at_a_time, processes).get("OMP_NUM_THREADS")

    assert [threads(2, 1), threads(2, 3), threads(9, 4)] == ["6", "2", "1"]
    assert threads(1, 2) is None  # Lightning shares them out among the processes of a job that is alone
    assert threads(2, 1, OMP_NUM_THREADS="7") == "7"

"""Processes that live, that have ended, and that are told to end."""

import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress

import psutil
import pytest

from behavesim.errors import UserError
from behavesim.processes.lifetime import (
    TERMINATED,
    described,
    identity,
    is_dead,
    undisturbed,
    unwinding,
    was_told_to_end,
)


def test_this_process_lives():
    assert not is_dead(identity())


def test_a_process_that_has_ended_is_dead():
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    start = psutil.Process(process.pid).create_time()
    process.wait()
    assert is_dead(f"{socket.gethostname()} {process.pid} {start:.0f}")


def test_an_id_that_was_given_out_again_is_another_process():
    host, number, start, *namespace = identity().split()
    assert is_dead(" ".join([host, number, str(int(start) - 1000), *namespace]))
    assert is_dead(f"{host} {number} {int(start) - 1000}")  # as identities were before they named a namespace


def test_a_process_of_another_container_is_not_told_to_be_dead():
    host, number, start, *_ = identity().split()
    assert not is_dead(f"{host} {number} {int(start) - 1000} 1")


@pytest.mark.parametrize("named", ["", "elsewhere 1 1", "elsewhere", f"{socket.gethostname()} x y", "a b c d"])
def test_what_cannot_be_told_is_not_dead(named):
    assert not is_dead(named)


def test_sigterm_unwinds_and_what_is_open_is_closed_undisturbed():
    before = signal.getsignal(signal.SIGTERM)
    closed = []
    with pytest.raises(SystemExit) as error, unwinding():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except SystemExit as told:
            assert was_told_to_end(told) and described(told) == "terminated"
            with undisturbed():
                os.kill(os.getpid(), signal.SIGTERM)
                closed.append(True)
            raise
    assert closed and error.value.code == TERMINATED
    assert signal.getsignal(signal.SIGTERM) is before


def test_an_exit_that_lightning_makes_of_sigterm_keeps_its_code():
    with pytest.raises(SystemExit) as error, unwinding():
        with suppress(SystemExit):  # lost, as in a destructor
            os.kill(os.getpid(), signal.SIGTERM)
        lightnings = SystemExit()
        assert was_told_to_end(lightnings)
        raise lightnings
    assert error.value.code == TERMINATED
    assert not was_told_to_end(SystemExit(0))


@pytest.fixture
def with_a_terminal():
    """Tests themselves may run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_closed_terminal_unwinds_as_sigterm_does(number, with_a_terminal):
    before = signal.getsignal(signal.SIGHUP)
    with pytest.raises(SystemExit) as error, unwinding():
        try:
            os.kill(os.getpid(), number)
        except SystemExit as told:
            assert was_told_to_end(told)
            with undisturbed():
                os.kill(os.getpid(), signal.SIGHUP)
            raise
    assert error.value.code == 128 + number
    assert signal.getsignal(signal.SIGHUP) is before


def test_under_nohup_a_closed_terminal_is_nothing():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with unwinding():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


HEARS = "with lifetime.unwinding(): lifetime.end_with(sys.argv[1]); print('on', flush=True); time.sleep(60)"
DEAF = """signal.signal(signal.SIGTERM, signal.SIG_IGN)
lifetime.end_with(sys.argv[1]); print('on', flush=True); time.sleep(60)"""


@pytest.mark.parametrize(("follower", "code"), [(HEARS, TERMINATED), (DEAF, -signal.SIGKILL)], ids=["hears", "deaf"])
def test_a_watched_process_that_is_killed_is_followed(follower, code):
    says = "from behavesim.processes import lifetime; print(lifetime.identity(), flush=True); input()"
    follows = "import signal, sys, time; from behavesim.processes import lifetime; lifetime.WATCH_SECONDS = 0.2\n"
    follows += follower
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", says], **pipes) as first:
        named = first.stdout.readline().strip()
        with subprocess.Popen([sys.executable, "-c", follows, named], **pipes) as second:
            assert second.stdout.readline() == "on\n"
            with pytest.raises(subprocess.TimeoutExpired):
                second.wait(0.5)
            first.kill()
            assert second.wait(20) == code


def test_a_process_names_another_as_that_names_itself():
    says = "from behavesim.processes import lifetime; print(lifetime.identity(), flush=True); input()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", says], **pipes) as other:
        assert identity(other.pid) == other.stdout.readline().strip()
        other.kill()


def ended_by(*errors):
    """The last of these, raised while the one before it was handled."""
    for error, context in zip(errors[1:], errors[:-1], strict=True):
        error.__context__ = context
    return errors[-1]


@pytest.mark.parametrize(
    ("error", "told", "words"),
    [
        (KeyboardInterrupt(), True, "interrupted"),
        (ended_by(KeyboardInterrupt(), SystemExit(1)), True, "interrupted"),  # as Lightning ends
        (SystemExit(TERMINATED), True, "interrupted"),
        (ended_by(UserError("seed: found x"), SystemExit(2)), False, "SystemExit: 2"),
        (UserError("seed: found x"), False, "seed: found x"),
        (OSError("no space"), False, "OSError: no space"),
        (ValueError("one\ntwo"), False, "ValueError: one"),
    ],
)
def test_being_told_to_end_is_not_failing(error, told, words):
    assert was_told_to_end(error) is told
    assert described(error) == words

"""What figures were measured on."""

import os
import re

import pytest

from behavesim import machine


def test_a_machine_is_told_in_one_line():
    assert re.fullmatch(r"\S.*, \d+ cores, \d+ GiB, \w+", machine.machine())


def test_versions_are_those_that_are_installed():
    assert re.fullmatch(r"Python 3\.\d+\.\d+\S*, pytest (\S+)", machine.versions("pytest"))[1] == pytest.__version__
    assert machine.description("pytest") == f"{machine.machine()}; {machine.versions('pytest')}"


def test_where_the_kernel_does_not_tell_all_cores_count(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert machine.cores() == os.cpu_count()


def test_a_machine_without_cpuinfo_has_a_name(monkeypatch):
    monkeypatch.setattr(machine.Path, "exists", lambda _: False)
    assert not machine.machine().startswith(",")

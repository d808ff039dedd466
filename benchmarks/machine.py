"""What figures were measured on."""

import importlib.metadata
import os
import platform
from pathlib import Path


def description(*libraries: str) -> str:
    """The machine and the versions of these libraries, in one line."""
    cpus = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in libraries)
    cores = len(os.sched_getaffinity(0))
    machine = f"{cpus[0] if cpus else platform.processor()}, {cores} cores, {memory:.0f} GiB"
    return f"{machine}; Python {platform.python_version()}, {versions}"

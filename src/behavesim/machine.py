"""What figures were measured on."""

import importlib.metadata
import os
import platform
from pathlib import Path


def cores() -> int:
    """Cores that this process may use; macOS does not tell, and gives all."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine() -> str:
    """Processor, cores, memory and system."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{_processor()}, {cores()} cores, {memory:.0f} GiB, {platform.system()}"


def versions(*libraries: str) -> str:
    """Python's, and those of installed libraries."""
    found = (f"{name} {importlib.metadata.version(name)}" for name in libraries)
    return ", ".join([f"Python {platform.python_version()}", *found])


def description(*libraries: str) -> str:
    """The machine and the versions of these libraries, in one line."""
    return f"{machine()}; {versions(*libraries)}"


def _processor() -> str:
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()

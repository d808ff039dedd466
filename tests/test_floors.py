"""The house's floors: each imports only from those below."""

import ast
from pathlib import Path

import pytest

import behavesim

PACKAGE = Path(behavesim.__file__).parent
FLOORS = (
    {
        "errors",
        "log",
        "folders",
        "pages",
        "config",
        "nodes",
        "model_nodes",
        "pairs",
        "schema",
        "machine",
        "redact",
        "processes",
    },
    {"data", "models", "metrics"},
    {"training"},
    {"tracking"},
    {
        "artifact",
        "asked",
        "described_model",
        "fitted_files",
        "build",
        "reference_artifact",
        "export_formats",
        "tables",
        "inputs",
        "preparing",
        "tower_features",
        "outcomes",
        "scoring",
        "stages",
        "starting",
        "text_record",
        "text_results",
        "writing",
        "results",
        "report",
        "resume",
        "leaderboard",
        "sweep",
        "baselining",
        "benchmarking",
        "reporting",
    },
    {
        "apart",
        "cli",
        "train",
        "evaluate",
        "predict",
        "export",
        "convert",
        "prepare",
        "compare",
        "benchmark",
        "baselines",
    },
)
ROOMS = {"data", "models", "metrics"}  # of one floor, and yet strangers
HYDRA = {"apart", "build", "cli", "train", "evaluate", "predict"}
MLFLOW = {"tracking"}
LIGHT = FLOORS[0] - {"folders"} | {"sweep"}
HEAVY = {"torch", "lightning", "hydra", "mlflow", "transformers", "polars", "numpy"}
FILES = sorted(PACKAGE.rglob("*.py"))


def place(path):
    """The room or the file of the package that a file is or belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path):
    """Dotted names that a file imports, inside functions and under TYPE_CHECKING too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import hides its floor"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def floor(name):
    return next(number for number, names in enumerate(FLOORS) if name in names)


def own(path):
    """Rooms and files of the package that a file imports."""
    return {name.split(".")[1] for name in imports(path) if name.startswith("behavesim.")} - {"__version__"}


def foreign(path):
    return {name.split(".")[0] for name in imports(path)}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down(path):
    here = place(path)
    if here == "__init__":
        assert not own(path)
        return
    above = {name for name in own(path) if floor(name) > floor(here)}
    assert not above, f"{here} imports {sorted(above)} from a floor above"
    if here in ROOMS:
        strangers = own(path) & ROOMS - {here}
        assert not strangers, f"{here} imports {sorted(strangers)} of its own floor"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_libraries_stay_in_their_rooms(path):
    here, libraries = place(path), foreign(path)
    if here in ("models", "metrics"):
        assert not libraries & {"lightning", "hydra", "omegaconf", "mlflow"}
    if here not in HYDRA:
        assert "hydra" not in libraries
    if here not in MLFLOW:
        assert "mlflow" not in libraries
    if here in LIGHT:
        assert not libraries & HEAVY


def test_every_file_has_a_floor():
    known = {"__init__"}.union(*FLOORS)
    assert {place(path) for path in FILES} <= known


def test_files_and_functions_stay_short():
    for path in FILES:
        text = path.read_text()
        assert len(text.splitlines()) <= 250, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < 40, f"{path}: {node.name}"

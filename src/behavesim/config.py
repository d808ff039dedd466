"""Checks of a composed configuration.

`validate` reports every wrong key, every wrong value and every impossible pair at once, before anything heavy is
imported: this file knows plain types alone.
"""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from behavesim import folders
from behavesim.errors import UserError
from behavesim.nodes import MISSING, Node
from behavesim.pairs import impossible_pairs, value_at
from behavesim.schema import SCHEMAS

ENDINGS = (".xlsx", ".csv", ".parquet")
TABLES = "a file ending in .xlsx, .csv or .parquet"
TABLES_OR_FOLDER = f"{TABLES}, or a folder of behavesim.prepare"
MANIFEST = "manifest.json"  # marks such a folder
# The key of the folder that a command replaces as a whole.
FOLDERS = {"train": "export_dir", "export": "output", "convert": "output"}


def validate(command: str, values: Mapping[str, Any]) -> None:
    """Check a resolved configuration (plain mappings and lists) against the schema of `command`.

    Raises:
        UserError: one line for every wrong key, wrong value and impossible pair.
    """
    schema = SCHEMAS[command]
    try:
        schema.model_validate(values)
        problems = []
    except ValidationError as error:
        problems = [_line(values, schema, dict(problem)) for problem in error.errors()]
    problems += [*impossible_pairs(values), *_absent_files(command, values)]
    if problems:
        raise UserError("\n".join(problems))


def unknown_key(key: str, accepted: list[str]) -> str:
    """The line for a key that does not exist; `accepted` are the keys at its place."""
    close = difflib.get_close_matches(key.rsplit(".", 1)[-1], accepted, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    return f"{key}: no such key; {hint}accepted: {', '.join(sorted(accepted))}"


def has_last(output: str) -> bool:
    """Whether a run can go on that writes to this folder, even if a kill came while its checkpoint was replaced."""
    return _last(output).exists() or folders.replaced(_last(output)).exists()


def _last(output: str) -> Path:
    return Path(output) / "checkpoints" / "last.ckpt"


def _line(values: Mapping[str, Any], schema: type[Node], problem: dict[str, Any]) -> str:
    key = ".".join(str(part) for part in problem["loc"] if part in _path_parts(values, problem["loc"]))
    if problem["type"] == "extra_forbidden":
        return unknown_key(key, _siblings(schema, problem["loc"]))
    if problem["type"].startswith("union_tag"):
        node = problem["input"] if isinstance(problem["input"], Mapping) else {}
        tag = re.findall(r"\w+", problem["ctx"]["discriminator"])[-1]  # behind the field's name, if that is another
        if tag not in node:
            return f"{key}.{tag}: found nothing; accepted: a value, there is no default"
        return f"{key}.{tag}: found {node[tag]!r}; accepted: {problem['ctx']['expected_tags']}"
    if problem["type"] == "missing" or problem.get("input") == MISSING:
        place = ".".join(str(part) for part in (*_path_parts(values, problem["loc"][:-1]), problem["loc"][-1]))
        return f"{place}: found nothing; accepted: a value, there is no default"
    accepted = re.sub("^(Input should be|Value should have|Value error,) ", "", problem["msg"])
    if problem["type"] == "string_pattern_mismatch":
        accepted = "a name without slashes and quotes that starts with no dot"
    return f"{key}: found {problem['input']!r}; accepted: {accepted}"


def _path_parts(values: Any, location: tuple[Any, ...]) -> list[Any]:
    """The parts of a location that are keys; pydantic adds names of union members, which users never wrote."""
    parts = []
    for part in location:
        in_list = isinstance(values, list) and isinstance(part, int) and part < len(values)
        if in_list or (isinstance(values, Mapping) and part in values):
            values = values[part]
            parts.append(part)
    return parts


def _siblings(schema: type[BaseModel], location: tuple[Any, ...]) -> list[str]:
    kinds: list[type[BaseModel]] = []
    for part in location[:-1]:
        # Where a node has several kinds, pydantic's location names the value of what tells them apart.
        told = [kind for kind in kinds if part in _tags(kind)] if kinds[1:] else []
        field = schema.model_fields.get(part)
        candidates = [field.annotation, *get_args(field.annotation)] if field else []
        kinds = told or [item for item in candidates if isinstance(item, type) and issubclass(item, BaseModel)]
        schema = kinds[0] if kinds else schema
    return [field.alias or name for name, field in schema.model_fields.items()]


def _tags(kind: type[BaseModel]) -> tuple[Any, ...]:
    """Values that tell this kind of a node from others."""
    return get_args(kind.model_fields["target" if "target" in kind.model_fields else "name"].annotation)


def _absent_files(command: str, values: Mapping[str, Any]) -> Iterator[str]:
    """Files that a command is to read and that are not there, and places that it cannot write to."""
    replaced = FOLDERS.get(command, "")
    for key in ("data.path", "input", "source", "history"):
        path = value_at(values, key)
        if isinstance(path, str):
            yield from _absent_table(key, Path(path), TABLES if key == "source" else TABLES_OR_FOLDER)
    output = value_at(values, "output")
    if isinstance(output, str) and replaced != "output" and Path(output).suffix.lower() not in ENDINGS:
        yield f"output: found {output}; accepted: {TABLES}"
    features = value_at(values, "data.image_features")
    if isinstance(features, str) and not Path(features).is_file():
        yield f"data.image_features: found {features}, which is no file; accepted: an .npz file, or null"
    for key in ("ckpt", "init_from"):
        folder = value_at(values, key)
        if isinstance(folder, str) and not Path(folder).exists():
            yield f"{key}: found {folder}, which does not exist; accepted: an artifact directory"
    for key in ("reference", "config"):
        path = value_at(values, key)
        if isinstance(path, str) and not Path(path).exists():
            yield f"{key}: found {path}, which does not exist; accepted: a checkpoint of the reference, its config.json"
    folder = value_at(values, replaced)
    kept = [value_at(values, key) for key in ("paths.data", "paths.output", "paths.checkpoints", "ckpt", "reference")]
    if isinstance(folder, str) and not _replaceable(Path(folder), [Path(str(path)) for path in kept if path]):
        yield f"{replaced}: found {folder}, which holds other things; accepted: a folder for this export alone"
    output = str(value_at(values, "paths.output"))
    stages = value_at(values, "task.stages") or []
    begun = [output, *(f"{output}_{stage}" for stage in stages if isinstance(stages, list))]
    if value_at(values, "ckpt_path") == "last" and not any(map(has_last, begun)):
        last = _last(output)
        yield f"ckpt_path: found last, but {last} does not exist; accepted: last with an earlier run's run_name"


def _absent_table(key: str, path: Path, accepted: str) -> Iterator[str]:
    if path.is_dir() and accepted is TABLES_OR_FOLDER:
        if not (path / MANIFEST).exists():
            yield f"{key}: found {path}, a folder without {MANIFEST}; accepted: {accepted}"
    elif path.suffix.lower() not in ENDINGS:
        yield f"{key}: found {path}; accepted: {accepted}"
    elif not path.exists():
        yield f"{key}: found {path}, which does not exist; accepted: {accepted}"


def _replaceable(folder: Path, kept: Iterable[Path]) -> bool:
    """Whether an export may take the folder's place: not that of a file, a repository or what holds `kept`."""
    if not folder.exists():
        return True
    place = folder.resolve()
    holds = any(path.resolve().is_relative_to(place) for path in (Path.cwd(), *kept))
    return folder.is_dir() and not holds and not (folder / ".git").exists()

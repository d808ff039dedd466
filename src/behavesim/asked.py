"""What an artifact is asked: which of its tasks, and how it decodes what it writes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from behavesim.described_model import writing
from behavesim.errors import UserError

OF_ANSWERS = ("decode", "samples")  # settings of likes that are written as digits; all but `samples` are of tweets too
DECODES = {"behaviour": ("greedy", "expected"), "content": ("greedy", "beam", "sampled", "consensus")}


def task_of(config: Mapping[str, Any], settings: Mapping[str, Any], folder: Path) -> str:
    """`behaviour` or `content`: what `settings` ask of the artifact in `folder`, or what its `config` can do.

    Raises:
        UserError: it was not trained to do that.
    """
    trained = config["task"]["name"]
    asked = settings.get("name") or ("content" if trained == "content" else "behaviour")
    if trained not in (asked, "joint"):
        raise UserError(f"task: found {asked}; accepted: {trained}, or an artifact that was trained with task=joint")
    return asked


def with_settings(config: Mapping[str, Any], settings: Mapping[str, Any], asked: str, folder: Path) -> dict[str, Any]:
    """The node `task` of an artifact's `config` with settings in the place of those of training; `asked` as `task_of`.

    Raises:
        UserError: a setting that means nothing to this artifact.
    """
    given = {key: value for key, value in settings.items() if key != "name"}
    task = dict(config["task"])
    for key, value in given.items():
        if reason := _refused(key, value, asked, config):
            raise UserError(f"task.{key}: found {value}; accepted: {reason.format(folder=folder)}")
    if asked == "behaviour":
        return task | given
    told = {**writing(config), **given}
    if told["decode"] == "greedy" and told["alternatives"] > 1:
        found = f"{told['alternatives']} with task.decode=greedy"
        raise UserError(f"task.alternatives: found {found}; accepted: 1, or task.decode=beam, sampled or consensus")
    if told["decode"] == "consensus" and told["draws"] == 1:
        raise UserError("task.draws: found 1 with task.decode=consensus; accepted: at least 2, or task.decode=sampled")
    return told if task["name"] == "content" else task | {"content": told}


def _refused(key: str, value: Any, asked: str, config: Mapping[str, Any]) -> str | None:
    """What is accepted in the place of a setting that means nothing; None where it means something."""
    head = config["model"]["head"]
    if asked == "behaviour" and head != "text":
        return f"null, {{folder}} has model.head={head}, which writes no answers"
    if key == "decode":
        return None if value in DECODES[asked] else ", ".join(DECODES[asked])
    if (key in OF_ANSWERS) != (asked == "behaviour"):
        return f"null with task={asked}"
    if key == "level" and not writing(config)["condition_on_likes"]:
        return "null, {folder} was trained with condition_on_likes=false"
    return None

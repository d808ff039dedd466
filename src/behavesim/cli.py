"""What every command shares: composing its configuration, and errors for people."""

import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from behavesim import apart, sweep
from behavesim.config import unknown_key, validate
from behavesim.errors import UserError
from behavesim.processes.jobs import SWEEP_VARIABLE
from behavesim.processes.lifetime import INTERRUPTED, end_with, end_with_parent, unwinding
from behavesim.processes.ranks import is_main

PACKAGE = Path(__file__).parent
# The wheel carries conf/ inside the package; a checkout has it beside src/.
CONF = PACKAGE / "conf" if (PACKAGE / "conf").is_dir() else PACKAGE.parents[1] / "conf"
USER_ERROR = 2
WITH_SAMPLE = ("train", "benchmark", "baselines")  # commands that take the sample unless they are given a table


def command(name: str, run: Callable[[DictConfig], Any]) -> Callable[[], None]:
    """The entry point of `python -m behavesim.<name>`: compose, validate, run.

    What a user got wrong is printed without a traceback, one line a problem, and ends the process with status 2.
    """

    def task(cfg: DictConfig) -> Any:
        try:
            apart.tell_jobs_apart(cfg)
            check(name, cfg)
            apart.check_processes(cfg)
            apart.share_name(cfg)
            return run(cfg)
        except UserError as error:
            _fail(str(error))
        except BrokenPipeError:
            _end_quietly()

    def main() -> None:
        _follow()
        sys.argv[1:] = implied_overrides(name, sys.argv[1:])
        # Hydra prints a short form of its errors and exits with 1; with this it raises, and we say what was wrong.
        full_error = os.environ.get("HYDRA_FULL_ERROR")
        os.environ["HYDRA_FULL_ERROR"] = "1"
        try:
            with unwinding(), sweep.conducted():
                hydra.main(config_path=str(CONF), config_name=name, version_base="1.3")(task)()
        except BrokenPipeError:
            _end_quietly()
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            raise SystemExit(INTERRUPTED) from None
        except UserError as error:  # of a sweep
            _fail(str(error))
        except (HydraException, OmegaConfBaseException) as error:
            if full_error == "1":
                raise
            _fail(_explained(name, error))

    return main


def compose(name: str, overrides: Sequence[str] = ()) -> DictConfig:
    """The checked configuration of a command, for use in process.

    Raises:
        UserError: an override or a value is wrong.
    """
    overrides = implied_overrides(name, overrides)
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        try:
            cfg = hydra.compose(name, list(overrides))
        except (HydraException, OmegaConfBaseException) as error:
            raise UserError("\n".join(override_problems(name, overrides)) or _first_line(error)) from error
    check(name, cfg)
    return cfg


def check(name: str, cfg: DictConfig) -> None:
    """Validate a composed configuration; values that are still missing (`???`) are reported with the rest."""
    try:
        values = OmegaConf.to_container(cfg, resolve=True)
    except OmegaConfBaseException as error:
        raise UserError(f"{error.full_key}: {_first_line(error)}") from error
    validate(name, values)


def implied_overrides(name: str, arguments: Sequence[str]) -> list[str]:
    """`data.path=FILE` alone means `data=tweets` where the default is the sample; odd values are quoted."""
    has_path = any(argument.startswith("data.path=") for argument in arguments)
    chooses = any(argument.startswith(("data=", "+data=", "++data=")) for argument in arguments)
    quoted = [_quoted(argument) for argument in arguments]
    if name in ("predict", "evaluate", "baselines"):  # an artifact has its settings; of its tasks one is asked
        quoted = [re.sub("^task=(behaviour|content)$", r"task.name=\1", argument) for argument in quoted]
    if name == "compare":  # `experiment` is a group of recipes to Hydra, and MLflow's word to whoever compares runs
        quoted = [re.sub("^experiment=", "experiment_name=", argument) for argument in quoted]
    return [*quoted, "data=tweets"] if name in WITH_SAMPLE and has_path and not chooses else quoted


def _quoted(argument: str) -> str:
    """The argument with its value in quotes where Hydra's grammar has no place for it, as for `tweets (1).csv`."""
    key, sign, value = argument.partition("=")
    if argument.startswith("-") or not sign or not value:
        return argument
    try:
        OverridesParser.create().parse_override(argument)
        return argument
    except HydraException:
        return f"{key}={in_quotes(value)}"


def in_quotes(value: str) -> str:
    """A value as Hydra's grammar reads it, whatever is in it."""
    escaped = value.replace("\\'", "\\\\'").replace("'", "\\'")
    return f"'{escaped}'"


def _explained(name: str, error: Exception) -> str:
    """What is wrong with the arguments that Hydra could not compose, or else its own words."""
    written = [_first_choice(argument) for argument in sys.argv[1:] if not argument.startswith("-")]
    return "\n".join(override_problems(name, written)) or _first_line(error)


def _first_choice(argument: str) -> str:
    """An override of a sweep with the first of its values; any other as it is."""
    sweeps = bool({"-m", "--multirun"} & set(sys.argv))
    if sweeps and argument == "ckpt_path=last":
        return "ckpt_path=null"  # a matter of each job's folder
    try:
        override = OverridesParser.create().parse_override(argument)
    except HydraException:
        return argument
    if not override.is_sweep_override() or not sweeps:
        return argument
    if override.is_interval_sweep():
        return f"{override.get_key_element()}={override.value().start}"
    return f"{override.get_key_element()}={next(iter(override.sweep_string_iterator()))}"


def override_problems(name: str, overrides: Sequence[str]) -> list[str]:
    """One line for everything that is wrong with overrides of which at least one does not compose.

    They are composed one after another, choices of a group first, for these decide which keys exist; what is left
    is validated.
    """
    problems: list[str] = []
    accepted: list[str] = []
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        for override in sorted(overrides, key=lambda text: "." in text.split("=", 1)[0]):
            try:
                hydra.compose(name, [*accepted, override])
                accepted.append(override)
            except (HydraException, OmegaConfBaseException) as error:
                problems.append(_override_problem(name, accepted, override, error))
        try:
            check(name, hydra.compose(name, accepted))
        except UserError as error:
            problems += str(error).splitlines()
    return problems


def _override_problem(name: str, accepted: list[str], override: str, error: Exception) -> str:
    if "=" not in override and not override.startswith("~"):
        return f"{override}: found a word; accepted: key=value, see --help"
    key, _, value = override.partition("=")
    bare = key.lstrip("+~")
    options = GlobalHydra.instance().config_loader().get_group_options(bare) if bare else []
    if options and value not in options:
        return f"{bare}: found {value}; accepted: {', '.join(options)}"
    node: Any = hydra.compose(name, accepted)
    place = []
    for part in bare.split("."):
        if not isinstance(node, DictConfig):
            break
        place.append(part)
        if part not in node:
            return unknown_key(".".join(place), [str(known) for known in node])
        node = node._get_node(part)
    return f"{override}: {_first_line(error)}"


def _first_line(error: Exception) -> str:
    return str(error).split("\n")[0]


def _follow() -> None:
    """End with the sweep that this process is a job of, and with the one that started it where several share a job."""
    end_with(os.environ.get(SWEEP_VARIABLE, ""))
    if not is_main():
        end_with_parent()


def _end_quietly() -> None:
    """Whoever read our output has gone, as `head` does; Python would complain of it once more at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise SystemExit(1)


def _fail(message: str) -> None:
    who = "error" if is_main() else f"error in process {os.environ.get('LOCAL_RANK', '')}"
    for line in message.splitlines():
        print(f"{who}: {line}", file=sys.stderr)
    raise SystemExit(USER_ERROR)

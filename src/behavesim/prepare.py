"""Prepare a table once, for all trainings: `python -m behavesim.prepare source=FILE name=NAME`."""

from typing import TYPE_CHECKING

from behavesim.cli import command

if TYPE_CHECKING:
    from omegaconf import DictConfig


def prepare(cfg: "DictConfig") -> None:
    """Write the folder `data/NAME`, or find that it is up to date, and print what it holds."""
    from behavesim import preparing
    from behavesim.log import quiet_libraries

    quiet_libraries()
    table = preparing.table(cfg)
    preparing.print_counts(cfg, table)
    if cfg.features:
        from behavesim.tower_features import write_features  # loads torch

        write_features(cfg, table)
    preparing.print_next(cfg, table)


main = command("prepare", prepare)

if __name__ == "__main__":
    main()

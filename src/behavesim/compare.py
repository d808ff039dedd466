"""Rank the tracked runs of an experiment: `python -m behavesim.compare`."""

from typing import TYPE_CHECKING

from behavesim.cli import command

if TYPE_CHECKING:
    from omegaconf import DictConfig


def compare(cfg: "DictConfig") -> None:
    """Print the ranked table, and write it with a picture into `cfg.paths.output`."""
    from pathlib import Path

    from behavesim import leaderboard
    from behavesim.log import log, quiet_libraries
    from behavesim.tracking import ranking

    quiet_libraries()
    folder = Path(cfg.paths.output)
    found = ranking.rank_runs(cfg.tracking_uri, experiment=cfg.experiment_name, metric=cfg.metric, sweep=cfg.sweep)
    title = f"{cfg.sweep or cfg.experiment_name}: {leaderboard.described(found.metric)}"
    leaderboard.print_ranking(found, title, cfg.top)
    log.info("table     %s", leaderboard.write_csv(found, folder))
    if not found.ranked.is_empty():
        leaderboard.chart(found, title).savefig(folder / leaderboard.CHART)
        log.info("picture   %s", folder / leaderboard.CHART)


main = command("compare", compare)

if __name__ == "__main__":
    main()

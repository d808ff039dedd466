"""Write a trained model for other programs: `python -m behavesim.export ckpt=DIR output=DIR format=adapter|merged`."""

from typing import TYPE_CHECKING

from behavesim.cli import command

if TYPE_CHECKING:
    from omegaconf import DictConfig


def export(cfg: "DictConfig") -> None:
    """Write the language model in a format of Hugging Face, and the other parts beside it."""
    from pathlib import Path

    from behavesim import exporting
    from behavesim.log import log, quiet_libraries

    quiet_libraries()
    stored = exporting.read_stored(Path(cfg.ckpt))
    exporting.check_format(stored, cfg.format)
    artifact = exporting.merged_artifact(stored) if cfg.format == "merged" else None
    with exporting.written_folder(Path(cfg.output)) as folder:
        if artifact is None:
            exporting.write_adapter(stored, folder)
        else:
            exporting.write_language_model(artifact, folder)
        exporting.write_parts(stored, folder)
    log.info("%s holds %s", cfg.output, exporting.contents(Path(cfg.output)))
    log.info("open it with %s", exporting.how_to_open(stored, cfg.format, Path(cfg.output)))


main = command("export", export)

if __name__ == "__main__":
    main()

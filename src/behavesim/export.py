"""Write a trained model for other programs: `python -m behavesim.export ckpt=DIR output=DIR format=adapter|merged`."""

from typing import TYPE_CHECKING

from behavesim.cli import command

if TYPE_CHECKING:
    from omegaconf import DictConfig


def export(cfg: "DictConfig") -> None:
    """Write the language model in a format of Hugging Face, and the other parts beside it."""
    from pathlib import Path

    from behavesim import export_formats
    from behavesim.log import log, quiet_libraries

    quiet_libraries()
    stored = export_formats.read_stored(Path(cfg.ckpt))
    export_formats.check_format(stored, cfg.format)
    artifact = export_formats.merged_artifact(stored) if cfg.format == "merged" else None
    with export_formats.written_folder(Path(cfg.output)) as folder:
        if artifact is None:
            export_formats.write_adapter(stored, folder)
        else:
            export_formats.write_language_model(artifact, folder)
        export_formats.write_parts(stored, folder)
    log.info("%s holds %s", cfg.output, export_formats.contents(Path(cfg.output)))
    log.info("open it with %s", export_formats.how_to_open(stored, cfg.format, Path(cfg.output)))


main = command("export", export)

if __name__ == "__main__":
    main()

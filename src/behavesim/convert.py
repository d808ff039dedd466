"""Turn a checkpoint of the reference implementation into an artifact: `python -m behavesim.convert`."""

from typing import TYPE_CHECKING

from behavesim.cli import command

if TYPE_CHECKING:
    from omegaconf import DictConfig


def convert(cfg: "DictConfig") -> None:
    """Write an artifact that `predict` and `evaluate` take, with every weight of the checkpoint."""
    from pathlib import Path

    from behavesim import reference_artifact
    from behavesim.artifact import save_artifact
    from behavesim.log import log, print_table, quiet_libraries
    from behavesim.models.reference import ReferenceState
    from behavesim.models.trainable import parameter_table

    quiet_libraries()
    state = ReferenceState.read(Path(cfg.reference))
    settings = reference_artifact.shapes(cfg, state)
    artifact = reference_artifact.artifact(cfg, state, settings)
    save_artifact(artifact, Path(cfg.output))
    print_table("Converted", ("part", "weights", "trainable"), parameter_table(artifact.model))
    log.info("artifact  %s", cfg.output)
    if artifact.encoder.tokenizer is not None:
        log.info("predict   python -m behavesim.predict ckpt=%s input=TABLE output=predictions.parquet", cfg.output)


main = command("convert", convert)

if __name__ == "__main__":
    main()

"""Predict likes for a table, or write its tweets: `python -m behavesim.predict ckpt=DIR input=FILE output=FILE`."""

from typing import TYPE_CHECKING

from behavesim.cli import command

if TYPE_CHECKING:
    from omegaconf import DictConfig


def predict(cfg: "DictConfig") -> None:
    """Write one row of predictions for every row of the table, in its order; of several texts a row each."""
    from pathlib import Path

    from behavesim import build, scoring, tables, writing
    from behavesim.artifact import load_artifact
    from behavesim.data.output import check_output, write_table
    from behavesim.log import log, quiet_libraries

    quiet_libraries()
    build.check_targets(cfg)
    output, path = Path(cfg.output), Path(cfg.input)
    check_output(output)
    artifact = load_artifact(Path(cfg.ckpt), scoring.answering(cfg))
    table = scoring.table_of(cfg, artifact, path, labelled=False, texts=artifact.asked != "content")
    rows = tables.usable(cfg, table, path, labelled=False)
    if artifact.asked == "content":
        predictions = writing.content_table(cfg, artifact, rows)
    else:
        predictions = scoring.prediction_table(rows, scoring.predict(cfg, artifact, rows))
    if output.exists():
        log.info("%s exists and is replaced", output)
    write_table(predictions, output)
    log.info("%s rows written to %s", f"{predictions.height:,}", output)


main = command("predict", predict)

if __name__ == "__main__":
    main()

"""The report as one file, readable on a phone, in print and in the dark."""

import io
from pathlib import Path

from matplotlib.figure import Figure

from behavesim.metrics import calibration_plots
from behavesim.metrics.plots import predicted_against_actual
from behavesim.pages import page, png_address
from behavesim.reporting import tables
from behavesim.reporting.evaluation import Evaluation

REPORT = "report.html"
TEMPLATE = "report.html.jinja"
FEW_ACCOUNTS = 20  # below, intervals over accounts are too narrow


def write_report(evaluation: Evaluation, folder: Path) -> Path:
    """`report.html` in `folder`, which is made if it is not there; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / REPORT
    path.write_text(rendered(evaluation), encoding="utf-8")
    return path


def rendered(evaluation: Evaluation) -> str:
    """The page."""
    past = evaluation.past
    return page(
        "behavesim.reporting",
        TEMPLATE,
        evaluation=evaluation,
        rows=evaluation.frame.height,
        accounts=int(evaluation.accounts.max()),
        few_accounts=FEW_ACCOUNTS,
        scores=tables.scores(evaluation),
        past=past,
        scores_with_past=[] if past is None or past.frame.height == evaluation.frame.height else tables.scores(past),
        differences=tables.differences(evaluation),
        companies=tables.companies(evaluation),
        sizes=tables.sizes(evaluation),
        by_known=tables.BY_KNOWN,
        misses=tables.misses(evaluation),
        has_quantiles=evaluation.model.quantiles is not None,
        **_pictures(evaluation),
    )


def _pictures(evaluation: Evaluation) -> dict[str, str]:
    actual, model = evaluation.actual, evaluation.model
    pictures = {"scatter": embedded(predicted_against_actual(actual, model, evaluation.title))}
    if model.quantiles is not None:
        pictures["reliability"] = embedded(calibration_plots.reliability(actual, model))
        pictures["coverage"] = embedded(calibration_plots.coverage_by_tenth(actual, model))
    return pictures


def embedded(figure: Figure) -> str:
    """A figure as the address of a picture that holds its own bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    return png_address(buffer.getvalue())

"""The progress bar."""

import lightning
from lightning.pytorch.callbacks import TQDMProgressBar


class ProgressBar(TQDMProgressBar):
    """Lightning's bar without the logger's version number, which is a piece of an MLflow run id here."""

    def get_metrics(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> dict[str, float | str]:
        """Metrics to show beside the bar."""
        metrics = super().get_metrics(trainer, module)
        return {name: value for name, value in metrics.items() if name != "v_num"}

"""What every callback that measures a network shares, so that its numbers come into the results file."""

from typing import Any, ClassVar

from lightning.pytorch import Callback, LightningModule, Trainer


class Measurement(Callback):
    """Measures something of a network beside accuracy and mIoU; `results.json` keeps it under `insight`."""

    task: ClassVar[str]
    """The key below `insight`."""

    def __init__(self) -> None:
        self.results: dict[str, float] = {}
        """What was measured the last time, by name; empty as long as nothing was."""

    def first_look(self, trainer: Trainer, pl_module: LightningModule, datamodule: Any, data: Any) -> None:
        """Look at the data set that is to be measured on, before anything begins.

        Raises:
            MisconfigurationException: if it cannot be.
        """

"""A callback for `commands.py`: says how much processor time of a `test` is evaluation."""

import time

from lightning.pytorch import Callback, LightningModule, Trainer


class Clock(Callback):
    """From before the first batch, with what is looked at there, to the last."""

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.start = time.process_time()

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        print(f"evaluation took {time.process_time() - self.start:.3f} s")

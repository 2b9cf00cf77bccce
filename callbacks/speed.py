"""How fast training is, and what the attack's share of a step is."""

import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from callbacks.attack import Attack, is_logged, wait_for


class Speed(Callback):
    """Logs `speed/images_per_second` over all devices and `speed/attack_share`, the attack's share of a step.

    The share is that of the steps that are logged; on a GPU these, and only these, wait for the device.
    """

    def __init__(self) -> None:
        self._images = 0
        self._since = 0.0
        self._step_start = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._images, self._since = 0, time.perf_counter()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if is_logged(trainer, batch_idx):
            wait_for(pl_module.device)
            self._step_start = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._images += len(batch["image"]) * trainer.world_size
        if not is_logged(trainer, batch_idx):
            return
        wait_for(pl_module.device)
        now = time.perf_counter()
        attack = next((callback for callback in trainer.callbacks if isinstance(callback, Attack)), None)  # type: ignore[attr-defined]
        values = {"speed/images_per_second": self._images / (now - self._since)}
        if attack is not None and attack.train is not None:
            values["speed/attack_share"] = attack.seconds / (now - self._step_start)
        pl_module.log_dict(values, batch_size=1)
        self._images, self._since = 0, now

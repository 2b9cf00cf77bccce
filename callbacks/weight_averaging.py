"""Averaged weights: what is evaluated, attacked, painted with and published, while others are trained."""

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor


class EMA(WeightAveraging):
    """Keeps an exponential moving average of the weights, and of batch norm's statistics, after every step.

    Evaluation, its attacks and synthesis see the average, and so do `test` and `predict` with a checkpoint of the run;
    training and its attack see the weights that are trained.

    Args:
        decay: share of the old average in the new one (Gowal et al. 2020: 0.995).

    Raises:
        ValueError: on a decay that is no share.
    """

    # Four things differ from Lightning's EMAWeightAveraging. What stays equal (frozen weights, the normaliser) stays so
    # to the bit. The average is where the network is, and as precise: Lightning copies that before it has moved it, and
    # so averages on the CPU in float32. It is swapped in around all of an evaluation's hooks, so that the order of the
    # callbacks does not matter. And a checkpoint written in an evaluation does not hold the two sets of weights
    # interchanged.

    def __init__(self, decay: float = 0.995) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"EMA: decay={decay} must be 0 or more and below 1")
        self.decay = decay
        self._swapped = False
        super().__init__(multi_avg_fn=self._average)

    def _average(self, averages: Any, weights: Any, count: Tensor | int) -> None:
        for average, weight in zip(averages, weights, strict=True):
            if average.is_floating_point():
                average.lerp_(weight, 1 - self.decay)
            else:  # batch norm's counter
                average.copy_(weight)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert self._average_model is not None
        self._average_model.module.to(device=pl_module.device, dtype=next(pl_module.parameters()).dtype)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._exchange(pl_module)

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lightning's exchanges here."""

    on_validation_epoch_end = on_validation_epoch_start

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._exchange(pl_module)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if self._swapped:
            self._exchange(pl_module)

    def _exchange(self, pl_module: LightningModule) -> None:
        if self._average_model is not None:
            self._swap_models(pl_module)
            self._swapped = not self._swapped

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if self._average_model is None:
            return
        super().on_save_checkpoint(trainer, pl_module, checkpoint)
        if self._swapped:  # the checkpoint from before an evaluation
            weights, average = checkpoint["state_dict"], checkpoint["current_model_state"]
            checkpoint["state_dict"], checkpoint["current_model_state"] = average, weights

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if self._average_model is not None:  # outside of `fit` the checkpoint's weights are the average already
            super().on_load_checkpoint(trainer, pl_module, checkpoint)

"""How much of the training attack's gradient is exactly zero: where it is, the attack is blind."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from attacks import Box, undisturbed
from attacks.loop import projected_gradient
from attacks.objectives import CrossEntropy, valid_pixels
from callbacks.attack import is_logged


class ZeroGradients(Callback):
    """Logs `attack/zero_gradients`, the share of pixel values to which the loss has no gradient at all.

    It is 0 or nearly so where an attack sees what it does. It grows where predictions saturate, where the network hides
    its gradients, and where 16 bits do not hold them (Athalye et al. 2018, Carlini et al. 2019). The gradient is that
    of cross-entropy at the clean image, in eval mode and in the precision of training; values outside the images'
    `region` and images that are all void do not count.

    One forward and one backward to at most 8 images, at the first logged step of each 100: half a percent of the time
    of training with one attack step at most, less with more. Without a training attack there is nothing to look at.
    """

    samples = 8
    every = 100

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        first = (trainer.global_step - 1) % self.every < trainer.log_every_n_steps  # type: ignore[attr-defined]
        if "clean" not in batch or not (first and is_logged(trainer, batch_idx) and trainer.is_global_zero):
            return
        part = {key: batch[key][: self.samples] for key in ("clean", "label", "region") if key in batch}
        with trainer.precision_plugin.forward_context():
            share = zero_share(pl_module.get_submodule("network"), part["clean"], part["label"], part.get("region"))
        if share is None:
            return
        for logger in trainer.loggers:  # `log` would say it again at every step
            logger.log_metrics({"attack/zero_gradients": share}, trainer.fit_loop.epoch_loop._batches_that_stepped)


def zero_share(network: nn.Module, image: Tensor, label: Tensor, region: Tensor | None = None) -> float | None:
    """The share of an image's values to which cross-entropy has a gradient of exactly 0; None where all is void.

    Args:
        network: from images to logits; is left as it was.
        image: float32 `(B, 3, H, W)` in `[0, 1]`.
        label: int64 `(B,)` or `(B, H, W)`, void pixels 255.
        region: bool `(B, 1, H, W)`; only where it is true values count.
    """
    found: list[Tensor] = []

    def look(image: Tensor, gradient: Tensor, value: Tensor, logits: Tensor) -> Tensor:
        found.append(gradient == 0)
        return image

    with undisturbed(network):
        projected_gradient(CrossEntropy(network, image, label), Box(), image, steps=1, update=look)
    counts = valid_pixels(label).view(len(label), -1).any(1)[:, None, None, None]
    counts = (counts & region if region is not None else counts).expand_as(image)
    number = int(counts.sum())
    return int((found[0] & counts).sum()) / number if number else None

"""Generation from a label map with a robust network's gradients (eq. 7 of the paper)."""

from typing import Any

from torch import Tensor, nn

from attacks.objectives import CrossEntropy
from callbacks.synthesis.base import Plan, Plans, Synthesis, channel_mean


class Generation(Synthesis):
    """Paints a whole picture that the network sees as the true labels (eq. 7): minimise L(x', y).

    Starts from the per-channel mean of the original, all the painter knows of it besides its labels.

    Args:
        constraint: how far the picture may move from its start.
        steps: number of gradient steps.
        step_size: length of a step in pixel units.
        samples: how many validation samples, spread evenly over the set, or their indices.
        every_n_epochs: paint after the evaluation of every n-th epoch; the last one is always painted.
    """

    task = "generation"

    def plans(self, network: nn.Module, batch: dict[str, Any], seed: Tensor) -> Plans:
        start = channel_mean(batch["image"])
        yield Plan(start, CrossEntropy(network, start, batch["label"]), self.constraint)

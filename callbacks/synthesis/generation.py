"""Generation with a robust network's gradients: eq. 7 of the paper, sec. 3.1 of Santurkar et al. 2019."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attacks.constraints import Constraint, Number
from attacks.objectives import CrossEntropy, valid_pixels
from attacks.seeds import normal
from callbacks.synthesis.base import Plan, Plans, Synthesis, channel_mean, labels_of
from callbacks.synthesis.callback import Class
from callbacks.synthesis.gaussians import RANK, ClassGaussians


class Generation(Synthesis):
    """Paints a whole picture that the network sees as the labels: minimise L(x', y).

    From a label map (eq. 7 of the paper) it starts from the per-channel mean of the original, all the painter knows of
    it besides its labels. For image-level labels it starts from a sample of N(mean, covariance) of the class's training
    images, at a reduced resolution (Santurkar et al. 2019, sec. 3.1); each sample's is another, the same in every
    epoch. The Gaussians are kept in the run's folder, `seeds/`. The defaults are those of the authors' code.

    Args:
        start: `mean` or `gaussian`; by default the one for label maps, the other for image-level labels.
        targets: classes to paint, by number or name, a picture each; by default the sample's own label.
    """

    task = "generation"

    def __init__(
        self,
        constraint: Constraint | float = 40.0,
        steps: int = 60,
        step_size: Number = 1.0,
        start: Literal["mean", "gaussian"] | None = None,
        targets: Sequence[Class] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(constraint, steps, step_size, **kwargs)
        self.start, self.targets = start, list(targets)
        self._gaussians: ClassGaussians | None = None

    def plans(self, network: nn.Module, batch: dict[str, Any], seed: Tensor) -> Plans:
        image = batch["image"]
        own = labels_of(network, batch)
        targets: list[Class | None] = [*self.targets] or [None]
        for target in targets:
            label = own
            if target is not None:
                label = torch.where(valid_pixels(own), self.class_index(target, "targets"), own)
            gaussian = label.ndim == 1 if self.start is None else self.start == "gaussian"
            if gaussian and label.ndim > 1:
                raise ValueError("start=gaussian: a Gaussian is that of a class, and label maps have many; take mean")
            start = self._seeds(image, label, seed) if gaussian else channel_mean(image)
            variant = "" if target is None else f"of_{target}"
            yield Plan(start, CrossEntropy(network, start, label), self.constraint, variant, wanted=label)

    def _seeds(self, image: Tensor, label: Tensor, seed: Tensor) -> Tensor:
        """A sample of each label's Gaussian, `(B, 3, H, W)`; nearest neighbours make it as large as the image."""
        folder, known = None if self.folder is None else self.folder / "seeds", self._gaussians
        if known is None or (known.folder, known.training_images) != (folder, self.training_images):  # of another run
            known = self._gaussians = ClassGaussians(folder, self.training_images)
        size = (image.shape[-2], image.shape[-1])
        noise = normal(torch.empty(len(image), RANK, device="cpu"), seed, stream=1)
        samples = []
        for number, row in zip(label.tolist(), noise, strict=True):
            name = self.classes[number] if number < len(self.classes) else str(number)
            samples.append(known.of(number, size, name).sample(row[None]))
        return F.interpolate(torch.cat(samples).to(image), size, mode="nearest-exact")

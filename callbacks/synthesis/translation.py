"""Translation of images to another class: Santurkar et al. 2019, sec. 3.3 and 3.5."""

from typing import Any

import torch
from torch import Tensor, nn

from attacks.constraints import Constraint, Number
from attacks.objectives import IGNORE_INDEX, CrossEntropy, valid_pixels
from callbacks.synthesis.base import Plan, Plans, Synthesis, labels_of
from callbacks.synthesis.callback import Class


class Translation(Synthesis):
    """Turns images into another class: minimise L(x', target) around the image.

    Santurkar et al. 2019, sec. 3.3: a network of two classes tells horses from zebras, and turns each into the other.
    Of a segmentation network, the pixels of one class, or all of them, become another class; the rest is to stay what
    it is. The defaults are those of the authors' code.

    Args:
        target: the class that is wanted, by number or name; by default, of two classes the one that it is not.
        source: for label maps, the class whose pixels are to change; by default all of them. For image-level labels,
            images of other classes are left as they are.
    """

    task = "translation"

    def __init__(
        self,
        constraint: Constraint | float = 80.0,
        steps: int = 200,
        step_size: Number = 0.5,
        target: Class | None = None,
        source: Class | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(constraint, steps, step_size, **kwargs)
        self.target, self.source = target, source

    def plans(self, network: nn.Module, batch: dict[str, Any], seed: Tensor) -> Plans:
        image, label = batch["image"], labels_of(network, batch)
        source = torch.ones_like(label, dtype=torch.bool)
        if self.source is not None:
            source = label == self.class_index(self.source, "source")
        wanted = torch.where(source & valid_pixels(label), self._target(label), label)
        variant = "" if self.target is None else f"to_{self.target}"
        objective = CrossEntropy(network, image, wanted)
        asked = wanted if label.ndim == 1 else wanted.where(source, IGNORE_INDEX)  # a judge counts what is to change
        yield Plan(image, objective, self.constraint, variant, wanted=asked)

    def _target(self, label: Tensor) -> Tensor:
        if self.target is not None:
            return torch.full_like(label, self.class_index(self.target, "target"))
        if len(self.classes) not in (0, 2) or label[valid_pixels(label)].gt(1).any():
            raise ValueError("target: of more than two classes, say which one is wanted")
        return 1 - label


class SketchToImage(Translation):
    """Turns drawings into pictures of a class: minimise L(x', target) around the drawing.

    Santurkar et al. 2019, sec. 3.5, with the settings of the authors' code. It is `Translation` in a smaller ball and
    with larger steps.
    """

    task = "sketch_to_image"

    def __init__(
        self,
        constraint: Constraint | float = 40.0,
        steps: int = 60,
        step_size: Number = 1.0,
        target: Class | None = None,
        source: Class | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(constraint, steps, step_size, target, source, **kwargs)

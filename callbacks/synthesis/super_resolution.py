"""Super-resolution: Santurkar et al. 2019, eq. 4."""

from typing import Any, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from attacks.constraints import Constraint, Number
from attacks.objectives import CrossEntropy
from callbacks.synthesis.base import Plan, Plans, Synthesis, labels_of
from callbacks.synthesis.painting import Painting
from callbacks.synthesis.scores import likeness, psnr


class SuperResolution(Synthesis):
    """Makes a small image large: minimise L(x', y) around the enlarged image (Santurkar et al. 2019, eq. 4).

    What a network of large images knows of the class y is added to what is left of the image. Where the image is
    made small for it, it is known what was lost: scores `likeness` to it, and beside it `psnr_bicubic`, that of bicubic
    interpolation. The defaults are
    those of the authors' code for photographs, made 8 times as small; for CIFAR's images of 32 pixels at the size of
    ImageNet's it has `factor: 7`, `constraint: 15`, `steps: 50` and `given: small`.

    Args:
        factor: how many times as high and wide the image becomes.
        upsampling: how the start is made, `nearest` as in the paper, or `bicubic`.
        given: whether the images are `large`, and made small by the mean of blocks first, or `small` already.

    Raises:
        ValueError: if the factor is below 2.
    """

    task = "super_resolution"

    def __init__(
        self,
        constraint: Constraint | float = 8.0,
        steps: int = 40,
        step_size: Number = 1.0,
        factor: int = 8,
        upsampling: Literal["nearest", "bicubic"] = "nearest",
        given: Literal["large", "small"] = "large",
        **kwargs: Any,
    ) -> None:
        super().__init__(constraint, steps, step_size, **kwargs)
        if factor < 2:
            raise ValueError(f"factor={factor}: 2 or more")
        self.factor, self.upsampling, self.given = factor, upsampling, given

    def plans(self, network: nn.Module, batch: dict[str, Any], seed: Tensor) -> Plans:
        image = batch["image"]
        height, width = image.shape[2:]
        if self.given == "small":
            small, size = image, (height * self.factor, width * self.factor)
        else:
            if min(height, width) < self.factor:
                raise ValueError(f"factor={self.factor}: an image of {height} x {width} pixels leaves nothing")
            small, size = area(image, (height // self.factor, width // self.factor)), (height, width)
        start, bicubic = enlarged(small, size, self.upsampling), enlarged(small, size, "bicubic")
        label = labels_of(network, batch, bicubic)
        if label.ndim > 1 and label.shape[1:] != size:
            raise ValueError("given=small: the label maps are as small as the images; leave them out")
        yield Plan(
            start, CrossEntropy(network, start, label), self.constraint, wanted=label, beside={"bicubic": bicubic}
        )

    def scores(self, painting: Painting, plan: Plan) -> dict[str, Tensor]:
        if self.given == "small":
            return {}
        bicubic = psnr(plan.beside["bicubic"], painting.original)
        return likeness(painting, self.judge) | {"psnr_bicubic": bicubic}


def area(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Images made small: each pixel is the mean of those that it stands for."""
    return F.interpolate(image, size, mode="area")


def enlarged(image: Tensor, size: tuple[int, int], how: Literal["nearest", "bicubic"]) -> Tensor:
    """Images `(B, 3, H, W)` in `[0, 1]` at another size."""
    if how == "nearest":
        return F.interpolate(image, size, mode="nearest-exact")
    return F.interpolate(image, size, mode="bicubic").clamp(0, 1)

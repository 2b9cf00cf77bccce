"""What the tasks that paint with a network's representation share."""

from typing import Any

from torch import Tensor, nn

from attacks.constraints import Constraint, Number
from callbacks.synthesis.base import Synthesis
from callbacks.synthesis.representation import Representation


class RepresentationTask(Synthesis):
    """Paints with a network's representation: the input of its last linear map.

    Args:
        constraint: how far the picture may move from its start: a set, or the eps of an `L2`.
        steps: number of gradient steps.
        step_size: length of a step in pixel units.
        layer: the layer whose input is the representation, by its name in the network; found if not given.
        fake_relu: the gradient passes the ReLU that makes the representation as if it were none. A unit that is 0 in
            the start has no other gradient, and its picture would stay the start.
    """

    def __init__(
        self,
        constraint: Constraint | float,
        steps: int,
        step_size: Number,
        layer: str | None = None,
        fake_relu: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(constraint, steps, step_size, **kwargs)
        self.layer, self.fake_relu = layer, fake_relu

    def represent(self, network: nn.Module, image: Tensor) -> Representation:
        """The representation of images like these; raises ValueError where the network has none."""
        return Representation(network, image, self.layer, self.fake_relu)

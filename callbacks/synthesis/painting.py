"""What comes out of a synthesis."""

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass
class Painting:
    """What came out of a batch.

    `original`, `start` and `result` are images `(B, 3, H, W)` in `[0, 1]`; `logits` are those of the result; `scores`
    `(B,)` each by name; `way` are images on the way to the result; `beside` other pictures by name; `tables` is JSON by
    name, one for each sample; `hole` and `wanted` are those of the plan.
    """

    variant: str
    original: Tensor
    start: Tensor
    result: Tensor
    logits: Tensor
    scores: dict[str, Tensor] = field(default_factory=dict)
    way: list[Tensor] = field(default_factory=list)
    beside: dict[str, Tensor] = field(default_factory=dict)
    tables: dict[str, list[Any]] = field(default_factory=dict)
    hole: Tensor | None = None
    wanted: Tensor | None = None

    @property
    def finite(self) -> Tensor:
        """Of which samples something came out, bool `(B,)`: a network's NaN or infinity ends in the picture."""
        numbers = self.result.flatten(1).isfinite().all(1) & self.logits.flatten(1).isfinite().all(1)
        return numbers.cpu()

"""DeepFool (Moosavi-Dezfooli et al. 2016): step by step to the nearest boundary of a linearised classifier."""

import torch
from torch import Tensor, nn

from attacks.adversary import Adversary
from attacks.constraints import per_sample
from attacks.margins import without_true
from attacks.objectives import logits_of


class DeepFool(Adversary):
    """DeepFool for L2 (algorithm 2 of the paper): moves an image just over the boundary of the class nearest to it.

    For classifiers: label maps are refused. A sample that is wrong already stays as it is, and one that has crossed the
    boundary moves no more. Unlike in the paper the image stays in [0, 1], and overshoot is looked past at every step,
    not in the end alone, so that no step is taken that the overshoot makes needless.

    Args:
        num_classes: number of most likely classes looked at, the sample's own included.
        overshoot: the perturbation is made longer by this share, to lie beyond the boundary and not on it.
        steps: most steps; each costs a forward and a backward for every other class looked at, and one more forward.

    Raises:
        ValueError: on num_classes below 2, steps below 1 or an overshoot below 0.
    """

    def __init__(self, num_classes: int = 10, overshoot: float = 0.02, steps: int = 50) -> None:
        if num_classes < 2 or steps < 1 or not overshoot >= 0:
            raise ValueError(
                f"DeepFool: num_classes={num_classes} must be 2 or more, steps={steps} 1 or more, "
                f"and overshoot={overshoot} 0 or more"
            )
        self.num_classes, self.overshoot, self.steps = num_classes, overshoot, steps

    def perturb(self, network: nn.Module, image: Tensor, label: Tensor, seed: Tensor, region: Tensor | None) -> Tensor:
        return self.cross(network, image, label, region)[0]

    def cross(
        self, network: nn.Module, image: Tensor, label: Tensor, region: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The perturbed images, and which of them are no longer of class `label`, `(B,)`; inside `undisturbed`."""
        if label.ndim > 1:
            raise ValueError(
                f"DeepFool: labels {tuple(label.shape)} are label maps, and it moves over one boundary of a "
                "classifier; LBFGS finds small perturbations for label maps"
            )
        with torch.no_grad():
            logits = logits_of(network(image))
        others = without_true(logits, label).argsort(1, descending=True)[
            :, : min(self.num_classes, logits.shape[1]) - 1
        ]
        result, crossed = image.clone(), logits.argmax(1) != label
        reached = image.clone()  # without the overshoot
        for _ in range(self.steps):
            open_ = ~crossed
            if not open_.any():
                break
            part = None if region is None else region[open_]
            way = self._step(network, reached[open_], label[open_], others[open_], part)
            reached[open_] = (reached[open_] + way).clamp(0, 1)
            farther = image[open_] + (1 + self.overshoot) * (reached[open_] - image[open_])
            result[open_] = farther.clamp(0, 1)
            with torch.no_grad():
                crossed[open_] = logits_of(network(result[open_])).argmax(1) != label[open_]
        return result, crossed

    @staticmethod
    def _step(network: nn.Module, image: Tensor, label: Tensor, others: Tensor, region: Tensor | None) -> Tensor:
        """The way to the nearest of the boundaries with `others`, all of them taken as planes (eq. 8)."""
        image = image.detach().requires_grad_()
        logits = logits_of(network(image))
        gaps = logits.gather(1, others) - logits.gather(1, label.unsqueeze(1))
        nearest = torch.full_like(gaps[:, 0], torch.inf)
        way = torch.zeros_like(image)
        for k in range(gaps.shape[1]):
            (normal,) = torch.autograd.grad(gaps[:, k].sum(), image, retain_graph=True)
            if region is not None:
                normal = normal.where(region, 0)
            length = normal.flatten(1).norm(dim=1)
            distance = gaps[:, k].detach().abs() / length
            nearer = distance < nearest  # never where the normal is 0: no way leads there
            nearest = torch.where(nearer, distance, nearest)
            # Not less, as in the code of the paper, which adds it: on the boundary itself there would be no step.
            way = torch.where(per_sample(nearer, way), per_sample(distance.clamp(min=1e-4) / length, way) * normal, way)
        return way

"""Universal perturbations: one for all images, crafted once and then added to any."""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attacks.adversary import Adversary, outside_inference, undisturbed
from attacks.constraints import Ball, Box, Constraint, Region
from attacks.deepfool import DeepFool
from attacks.objectives import logits_of, valid_pixels

Loader = Iterable[Mapping[str, Tensor]]
"""Gives batches, anew each time it is iterated: `image` `(B, 3, H, W)` in `[0, 1]`, and, where there are any, label
maps `label` `(B, H, W)`, read for their void pixels alone, and `region` `(B, 1, H, W)`."""


class Universal(Adversary):
    """One perturbation for all images: `fit` crafts it, and as an attack it is added.

    Images of another size get it resized, bilinearly. The perturbed image lies in the constraint's set and in `[0, 1]`,
    and outside `region` it is as it was.

    Args:
        constraint: the set around each image.
        seed: of all randomness in `fit`.
    """

    perturbation: Tensor | None
    """`(3, H, W)`; `fit` sets it. Keep it by `torch.save`, and set it, to attack with what was crafted before."""
    fooled: float | None
    """The share of the images, or of the valid pixels, whose prediction it changes, on the loader of `fit`."""

    def __init__(self, constraint: Ball, seed: int = 0) -> None:
        self.constraint, self.seed = constraint, seed
        self.perturbation = self.fooled = None

    def fit(self, network: nn.Module, loader: Loader) -> Self:
        """Craft the perturbation for `network`; what is there already is replaced.

        The network is left untouched and so is the global random generator, from which loaders draw their order: in
        here its seed is `seed`, so that equal loaders give equal perturbations, on every rank.

        Args:
            network: from pixels in `[0, 1]` to logits, as for any attack.
            loader: gives batches, dicts with `image`, and can be iterated many times; the same on every rank.

        Raises:
            ValueError: if the loader gives no images, or gives them once only.
        """
        with undisturbed(network):
            torch.default_generator.manual_seed(self.seed)
            perturbation, self.fooled = self.craft(network, Batches(loader, _device(network)))
        self.perturbation = perturbation.detach().squeeze(0)
        return self

    @abstractmethod
    def craft(self, network: nn.Module, batches: "Batches") -> tuple[Tensor, float]:
        """The perturbation `(1, 3, H, W)` and the share it fools, inside `undisturbed(network)`."""

    def perturb(self, network: nn.Module, image: Tensor, label: Tensor, seed: Tensor, region: Tensor | None) -> Tensor:
        if self.perturbation is None:
            raise RuntimeError(
                f"{type(self).__name__}: no perturbation yet; call fit(network, loader), or set `perturbation`"
            )
        return self.added(self.perturbation.to(image).unsqueeze(0), image, region)

    def added(self, perturbation: Tensor, image: Tensor, region: Tensor | None = None) -> Tensor:
        """The images with this perturbation `(1, 3, H, W)`, inside the set, the box and the region."""
        constraint: Constraint = self.constraint & Box()
        if region is not None:
            constraint = constraint & Region(region)
        return constraint.project(image + resized(perturbation, image), image)

    @torch.no_grad()
    def share_fooled(self, network: nn.Module, perturbation: Tensor, batches: "Batches") -> float:
        """The share of images, or of valid pixels, whose prediction the perturbation changes."""
        changed = counted = 0
        for image, valid, region in batches:
            clean = logits_of(network(image)).argmax(1)
            flips = logits_of(network(self.added(perturbation, image, region))).argmax(1) != clean
            valid = torch.ones_like(flips) if valid is None or flips.ndim == 1 else valid
            changed += int((flips & valid).sum())
            counted += int(valid.sum())
        return changed / max(counted, 1)


class Batches:
    """The batches of a loader, as (image, valid pixels, region), on the network's device; afresh at every iteration.

    Args:
        loader: gives dicts with `image`; labels are looked at in label maps only, and for void pixels only.
        device: where to.
    """

    def __init__(self, loader: Loader, device: torch.device | None) -> None:
        self.loader, self.device = loader, device

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor | None, Tensor | None]]:
        empty = True
        for batch in self.loader:
            empty = False
            label, region = batch.get("label"), batch.get("region")
            valid = valid_pixels(self._here(label)) if label is not None and label.ndim > 1 else None
            region = None if region is None else self._here(region)
            yield self._here(batch["image"]), valid, region
        if empty:
            raise ValueError("fit: the loader gives no images; give one that can be iterated again and again")

    def _here(self, tensor: Tensor) -> Tensor:
        return outside_inference(tensor.detach()).to(self.device)

    def zero(self) -> Tensor:
        """No perturbation, `(1, 3, H, W)`, of the size of the first image."""
        image, _, _ = next(iter(self))
        return torch.zeros_like(image[:1])


class UAP(Universal):
    """Universal perturbation (Moosavi-Dezfooli et al. 2017, algorithm 1), for classifiers.

    Passes over the images; where the perturbation does not yet change a prediction, DeepFool looks for the smallest
    addition that does, and the sum is projected into the ball. Stops when the share of changed predictions is reached;
    of the passes, the best is kept. No label is read: predictions are compared with those of the clean images. As in
    the paper's code, what DeepFool adds counts only if it crossed a boundary. Label maps are refused: their predictions
    have no one boundary to cross; `DataFreeUAP` fools them.

    Args:
        constraint: the set around each image; in the paper `Linf(10/255)`, or `L2(7.84)`, which is 2000 / 255.
        fooling_rate: the share of changed predictions to stop at.
        max_passes: most passes over the images.
        deepfool: what looks for the additions; by default, as in the paper's code, of at most 10 steps.
        seed: of the order of a loader that shuffles.

    Raises:
        ValueError: on a rate outside (0, 1], or max_passes below 1.
    """

    def __init__(
        self,
        constraint: Ball,
        fooling_rate: float = 0.8,
        max_passes: int = 10,
        deepfool: DeepFool | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(constraint, seed)
        if not 0 < fooling_rate <= 1 or max_passes < 1:
            raise ValueError(
                f"UAP: fooling_rate={fooling_rate} must be above 0 and at most 1, max_passes={max_passes} 1 or more"
            )
        self.fooling_rate, self.max_passes = fooling_rate, max_passes
        self.deepfool = deepfool or DeepFool(steps=10)

    def craft(self, network: nn.Module, batches: Batches) -> tuple[Tensor, float]:
        current = best = batches.zero()
        share = -1.0
        for _ in range(self.max_passes):
            for image, _, region in batches:
                with torch.no_grad():
                    logits = logits_of(network(image))
                if logits.ndim > 2:
                    raise ValueError(
                        f"UAP: logits {tuple(logits.shape)} are of label maps, and it needs a classifier; "
                        "use DataFreeUAP for them"
                    )
                for i, prediction in enumerate(logits.argmax(1).split(1)):
                    part = None if region is None else region[i : i + 1]
                    current = self._extended(current, network, image[i : i + 1], prediction, part)
            now = self.share_fooled(network, current, batches)
            if now > share:
                best, share = current, now
            if share >= self.fooling_rate:
                break
        return best, share

    def _extended(
        self, current: Tensor, network: nn.Module, image: Tensor, prediction: Tensor, region: Tensor | None
    ) -> Tensor:
        """The perturbation, with what one image still lacks to be fooled."""
        start = self.added(current, image, region)
        moved, crossed = self.deepfool.cross(network, start, prediction, region)
        if not crossed.item():
            return current
        return self.constraint.project(current + resized(moved - start, current), torch.zeros_like(current))


def resized(perturbation: Tensor, image: Tensor) -> Tensor:
    """The perturbation `(1, 3, H, W)` at the size of `image`, bilinearly."""
    if perturbation.shape[-3] != image.shape[-3]:
        raise ValueError(f"a perturbation {tuple(perturbation.shape)} does not fit images {tuple(image.shape)}")
    if perturbation.shape[-2:] == image.shape[-2:]:
        return perturbation
    return F.interpolate(perturbation, image.shape[-2:], mode="bilinear", align_corners=False)


def _device(network: nn.Module) -> torch.device | None:
    tensors = chain(network.parameters(), network.buffers())
    return next((tensor.device for tensor in tensors), None)

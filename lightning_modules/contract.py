"""What batches, logits and losses must be, whoever makes them: looked at once, at the door."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
)

from attacks.contract import ROUNDING
from attacks.objectives import IGNORE_INDEX
from lightning_modules.counts import Outcome
from lightning_modules.weights import NetworkError

ALL_VOID = "label: all {} are void (255) and nothing else, so that nothing is learnt or measured: are these the labels?"


class BatchError(TypeError):
    """A batch, or what a loss makes of it, that is not what the contract says; the message says what it should be."""


def look_at_batch(batch: Any, labelled: bool, classes: int, distinct: bool, network: nn.Module) -> dict[str, Any]:
    """The batch, its labels and indices as int64; two waits for a GPU, one right after the other.

    Args:
        batch: a dict with `image` float32 `(B, 3, H, W)` in `[0, 1]`, `index` `(B,)` and, if `labelled`, `label` of
            integers, `(B,)` or `(B, H, W)`; perhaps `region`, bool `(B, 1, H, W)`.
        labelled: there are labels, as everywhere but in `predict`.
        classes: labels lie in `[0, classes)`, or are 255 in label maps; 0 if their number is not known.
        distinct: no index comes twice.
        network: if it is one of float64, so may the image be.

    Raises:
        BatchError: on a batch that is anything else.
    """
    keys = ("image", "label", "index") if labelled else ("image", "index")
    if not isinstance(batch, Mapping) or not all(key in batch for key in keys):
        got = f"a dict with {', '.join(map(str, batch))}" if isinstance(batch, Mapping) else f"a {_kind(batch)}"
        raise BatchError(f"a batch is a dict with {', '.join(keys)}, not {got}: return such dicts from the data set")
    batch = dict(batch)
    image = batch["image"]
    _look_at_image(image, network)
    numbers = [*image.aminmax()]
    if labelled:
        batch["label"] = label = _integers("label", batch["label"])
        if label.shape not in (image.shape[:1], image.shape[:1] + image.shape[2:]):
            raise BatchError(
                f"label: {tuple(label.shape)} for images {tuple(image.shape)}: "
                "it is (B,), a class each, or (B, H, W), a class for each pixel"
            )
        numbers += label.where(label != IGNORE_INDEX, 0).aminmax() if label.ndim > 1 else label.aminmax()
    batch["index"] = index = _integers("index", batch["index"])
    if index.shape != image.shape[:1]:
        raise BatchError(f"index: {tuple(index.shape)}, not (B,): it is the sample's place in the data set")
    _look_at_region(batch.get("region"), image)
    lowest, highest, *labels = torch.stack([number.to(image.dtype) for number in numbers]).tolist()
    if not (lowest >= -ROUNDING and highest <= 1 + ROUNDING):
        raise BatchError(f"image: values from {lowest:.4g} to {highest:.4g}, not in [0, 1]: {_remedy(lowest, highest)}")
    if labels and (labels[0] < 0 or (classes and labels[1] >= classes)):
        wrong = int(labels[0] if labels[0] < 0 else labels[1])
        known = f"0 to {classes - 1}" if classes else "0 or more"
        raise BatchError(f"label: {wrong} is no class; they are {known}, and 255 is void in label maps")
    places = index.tolist()
    if min(places) < 0 or (distinct and len(set(places)) < len(places)):
        twice = next((place for place in places if place < 0 or places.count(place) > 1), None)
        raise BatchError(
            f"index: {twice} is negative or comes twice in a batch: it is the sample's place in the data set"
        )
    return batch


def _look_at_image(image: Any, network: nn.Module) -> None:
    wanted = "float32 (B, 3, H, W) in [0, 1]"
    if not isinstance(image, Tensor):
        raise BatchError(f"image: a {_kind(image)}, not a tensor {wanted}")
    double = image.dtype == torch.float64 and not any(p.dtype == torch.float32 for p in network.parameters())
    if image.dtype != torch.float32 and not double:
        remedy = "convert it" if image.dtype.is_floating_point else "divide it by 255"
        raise BatchError(f"image: {_name(image.dtype)}, not {wanted}: {remedy}")
    if image.ndim != 4 or image.shape[1] != 3 or not image.numel():
        remedy = "; repeat grey three times" if image.ndim == 4 and image.shape[1] == 1 else ""
        raise BatchError(f"image: {tuple(image.shape)}, not {wanted}{remedy}")


def _look_at_region(region: Any, image: Tensor) -> None:
    shape = (len(image), 1, *image.shape[2:])
    if region is not None and not (
        isinstance(region, Tensor) and region.dtype == torch.bool and region.shape == torch.Size(shape)
    ):
        got = f"{_name(region.dtype)} {tuple(region.shape)}" if isinstance(region, Tensor) else f"a {_kind(region)}"
        raise BatchError(f"region: {got}, not bool {shape}, true where there is image and not padding")


def _integers(key: str, value: Any) -> Tensor:
    """A tensor of integers as int64, whatever their width."""
    if not isinstance(value, Tensor):
        raise BatchError(f"{key}: a {_kind(value)}, not an int64 tensor")
    if value.dtype.is_floating_point or value.dtype.is_complex:
        raise BatchError(f"{key}: {_name(value.dtype)}, not int64")
    return value.long()


def _remedy(lowest: float, highest: float) -> str:
    if not (math.isfinite(lowest) and math.isfinite(highest)):
        return "look for what divides by 0, or for a broken file"
    if lowest >= 0 and highest > 2:
        return "divide them by 255"
    return "do not normalise them, the network does; clamp what a resize has overshot"


def look_at_logits(
    logits: Tensor, batch: Mapping[str, Any], classes: int, network: object, evaluating: bool = True
) -> None:
    """Look at logits' shape and dtype; waits for no GPU, unless the data do not name their classes.

    Args:
        logits: of `batch["image"]`.
        batch: as `look_at_batch` leaves it.
        classes: C; 0 if the data do not tell.
        network: named in the message.
        evaluating: logits of 16 bits, as in training in mixed precision, are refused.

    Raises:
        NetworkError: unless they are `(B, C)` or `(B, C, H, W)`, as the batch's labels are.
        BatchError: on a label that is none of the network's classes.
    """
    image, label = batch["image"], batch.get("label")
    shape, name = tuple(logits.shape), _called(network)
    if logits.ndim not in (2, 4) or len(logits) != len(image):
        raise NetworkError(f"{name}: logits {shape} for images {tuple(image.shape)}, not (B, C) or (B, C, H, W)")
    if label is not None and (label.ndim > 1) != (logits.ndim > 2):
        raise NetworkError(
            f"{name}: logits {shape} for labels {tuple(label.shape)}: "
            "label maps need logits (B, C, H, W), labels of whole images (B, C)"
        )
    if logits.shape[2:] not in ((), image.shape[2:]):
        raise NetworkError(
            f"{name}: logits of {shape[2:]} pixels for images of {tuple(image.shape[2:])}: wrap it, and end with "
            'F.interpolate(logits, image.shape[-2:], mode="bilinear")'
        )
    if shape[1] == 1:
        raise NetworkError(
            f"{name}: one output, as for a sigmoid; a network has one for each class: wrap it, and end with "
            "torch.cat([torch.zeros_like(logits), logits], 1)"
        )
    if classes and shape[1] != classes:
        raise NetworkError(f"{name}: {shape[1]} outputs, and the data have {classes} classes: set its num_classes")
    if not logits.is_floating_point():
        raise NetworkError(f"{name}: logits are {_name(logits.dtype)}, which have no gradient: let them be float32")
    if evaluating and logits.element_size() < 4:
        raise NetworkError(
            f"{name}: logits are {_name(logits.dtype)}; robustness is measured in float32: let it work so"
        )
    if not classes and label is not None:
        largest = int((label.where(label != IGNORE_INDEX, 0) if label.ndim > 1 else label).max())
        if largest >= shape[1]:
            raise BatchError(f"label: {largest} is no class of {name}, which has {shape[1]} outputs")


def look_at_outcome(outcome: Outcome, network: object) -> None:
    """Raises NetworkError if a loss of any version of the images is not finite; one wait for a GPU."""
    if torch.stack(list(outcome["loss"].values())).isfinite().all():
        return
    for version, loss in outcome["loss"].items():
        for index, value in zip(outcome["index"].tolist(), loss.tolist(), strict=True):
            if not math.isfinite(value):
                raise NetworkError(
                    f"{_called(network)}: the loss of sample {index} ({version}) is {value}: "
                    "its logits are NaN, infinite or too large; look at the weights"
                )


def look_at_loss(values: Any, samples: int) -> Tensor:
    """The mean of a loss's values, `(B,)`.

    Raises:
        BatchError: if it is no such tensor, or has no gradient.
    """
    if not isinstance(values, Tensor) or values.shape != (samples,):
        got = f"a tensor {tuple(values.shape)}" if isinstance(values, Tensor) else f"a {_kind(values)}"
        raise BatchError(
            f"the loss gives {got}, not one value per sample, ({samples},): "
            'take reduction="none", and each sample\'s mean, .flatten(1).mean(1)'
        )
    if not values.requires_grad:
        raise BatchError("the loss has no gradient to the weights: something in it or in the network detaches")
    return values.mean()


def look_at_totals(values: Mapping[str, Tensor], of: int | None, part: bool) -> None:
    """Look at what an evaluation counted.

    Args:
        values: what `DatasetMetrics` computes.
        of: how many samples the set has; None if that is not known, or not all were wanted.
        part: a first few batches, which may be all void.

    Raises:
        BatchError: unless each sample was counted once, and something in them has a label.
    """
    samples = int(values["samples"])
    if of is not None and samples != of:
        raise BatchError(
            f"{samples} of {of} samples were counted: each must come once, and its `index` be its place in the data "
            "set that the loader was given (drop_last leaves some out)"
        )
    if not part and not values["labels"].any():
        raise BatchError(ALL_VOID.format(f"{samples} samples"))


def deals_once(loader: Any) -> bool:
    """Whether a loader gives each sample at most once, by a sampler that says so."""
    return isinstance(loader, DataLoader) and (
        isinstance(loader.sampler, SequentialSampler | DistributedSampler)
        or (isinstance(loader.sampler, RandomSampler) and not loader.sampler.replacement)
    )


def samples_of(loader: Any, batches: Sequence[float]) -> int | None:
    """How many samples all processes together get of a loader in `batches`; None if it does not tell, or not of all."""
    if isinstance(loader, list) and len(loader) == 1:
        (loader,) = loader
    if not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset):
        return None
    if type(loader.batch_sampler) not in (BatchSampler, type(None)) or sum(batches) != len(loader):
        return None
    sampler: Any = loader.sampler
    each: Any = sampler.dataset if isinstance(sampler, DistributedSampler) else sampler
    return len(each)


def _called(network: object) -> str:
    return getattr(network, "name", type(network).__name__)


def _kind(value: object) -> str:
    return type(value).__name__


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")

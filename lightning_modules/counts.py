"""Per-sample counts, and the metrics that come from their sums."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypedDict

import torch
from torch import Tensor
from torchmetrics import Metric

from attacks.objectives import valid_pixels


class Counts(NamedTuple):
    """True positives, false positives and false negatives of each sample and class: int64 `(B, C)` each."""

    tp: Tensor
    fp: Tensor
    fn: Tensor


class Outcome(TypedDict):
    """What an evaluation step measured: the samples' `index` `(B,)`, and `counts` and `loss` `(B,)` by version."""

    index: Tensor
    counts: dict[str, Counts]
    loss: dict[str, Tensor]


def count(logits: Tensor, label: Tensor) -> Counts:
    """Count each sample's pixels (or the sample itself, for image-level labels) by class; void counts nowhere.

    Args:
        logits: `(B, C)` or `(B, C, H, W)`.
        label: int64 `(B,)` or `(B, H, W)`, void pixels 255.
    """
    batch, classes = logits.shape[:2]
    valid = valid_pixels(label)
    prediction = logits.argmax(1)
    first = torch.arange(batch, device=label.device).view(-1, *[1] * (label.ndim - 1)) * classes

    def histogram(values: Tensor, where: Tensor) -> Tensor:
        return torch.bincount((values + first)[where], minlength=batch * classes).view(batch, classes)

    tp = histogram(label, valid & (prediction == label))
    return Counts(tp, histogram(prediction, valid) - tp, histogram(label, valid) - tp)


class DatasetMetrics(Metric):
    """Accuracy, mIoU and mean loss over a data set, from sums: exact for any batch size and number of devices.

    Args:
        num_classes: number of classes C.
        dense: labels are label maps, so that there is an IoU.
    """

    full_state_update = False
    tp: Tensor
    fp: Tensor
    fn: Tensor
    loss: Tensor
    samples: Tensor

    def __init__(self, num_classes: int, dense: bool) -> None:
        super().__init__()
        self.dense = dense
        for name in Counts._fields:
            self.add_state(name, torch.zeros(num_classes, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("loss", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("samples", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, counts: Counts, loss: Tensor) -> None:
        """Add samples: their counts `(B, C)` and losses `(B,)`."""
        self.tp += counts.tp.sum(0)
        self.fp += counts.fp.sum(0)
        self.fn += counts.fn.sum(0)
        self.loss += loss.double().sum()
        self.samples += len(loss)

    def compute(self) -> dict[str, Tensor]:
        """What `summary` says, and the mean `loss`."""
        totals = Counts(self.tp, self.fp, self.fn)
        return {**summary(totals, self.dense), "loss": self.loss / self.samples, "samples": self.samples}


def summary(totals: Counts, dense: bool) -> dict[str, Tensor]:
    """Metrics of a data set's total counts, `(C,)` each.

    `accuracy` is that of all valid pixels or samples, `class_accuracy` `(C,)` that of each class, NaN where it does not
    occur, `labels` `(C,)` the number of pixels or samples of each class, by which one data set is told from another.
    For label maps (`dense`) also `iou` `(C,)`, NaN where a class occurs neither in label nor in prediction, and `miou`,
    the mean of the others.
    """
    tp, fp, fn = totals
    values = {"accuracy": tp.sum() / (tp + fn).sum(), "class_accuracy": tp / (tp + fn), "labels": tp + fn}
    if dense:
        iou = tp / (tp + fp + fn)
        values |= {"miou": iou.nanmean(), "iou": iou}
    return values


def by_class(values: Mapping[str, Tensor], names: Sequence[str]) -> dict[str, Any]:
    """Metrics as numbers, and those of each class, `(C,)`, by its name, or else its index; without those of NaN."""
    found: dict[str, Any] = {name: value.item() for name, value in values.items() if value.ndim == 0}
    for name, value in values.items():
        if value.ndim:
            each = zip(names or map(str, range(len(value))), value.tolist(), strict=False)
            found[name] = {key: number for key, number in each if not math.isnan(number)}
    return found

"""How far off accuracy and mIoU of label maps may be, by resampling images."""

import numpy as np
from numpy.typing import NDArray

from lightning_modules.counts import Counts
from reports.intervals import Interval

RESAMPLES = 1000

_AT_ONCE = 1_000_000
"""Draws that are held in memory together, some 30 MB."""


def intervals(counts: Counts, of_miou: Counts | None = None) -> dict[str, Interval]:
    """95 % bootstrap intervals (Efron's percentiles): `accuracy_interval` and `miou_interval` of a set of images.

    The images are drawn anew with replacement, 1,000 times, always the same draws; pixels of one image are not
    independent, so images are what is drawn. Where there are fewer than two images, or none has a valid pixel, there is
    no interval. No global random generator is touched.

    Args:
        counts: of each image, `(N, C)`.
        of_miou: those that the mIoU is of, where another choice of attacks makes that the lowest.
    """
    columns = [each.cpu().numpy() for each in (*counts, *(of_miou or ()))]
    table = np.stack(columns, 1).astype(np.float64)  # (N, 3 or 6, C)
    if len(table) < 2 or not table.any():
        return {}
    totals = _resampled(table.reshape(len(table), -1)).reshape(RESAMPLES, len(columns), -1).swapaxes(0, 1)
    (tp, _, fn), others = totals[:3], totals[-3:]
    with np.errstate(invalid="ignore", divide="ignore"):
        accuracy = tp.sum(1) / (tp + fn).sum(1)
        iou = others[0] / others.sum(0)
    there = ~np.isnan(iou)
    miou = np.divide(np.where(there, iou, 0).sum(1), there.sum(1), out=np.full(len(iou), np.nan), where=there.any(1))
    return {"accuracy_interval": _middle(accuracy), "miou_interval": _middle(miou)}


def _resampled(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums of rows drawn with replacement, `(RESAMPLES, columns)`: how often each was drawn, times the table."""
    generator, images = np.random.default_rng(0), len(table)
    parts = []
    for first in range(0, RESAMPLES, step := max(1, _AT_ONCE // images)):
        size = min(step, RESAMPLES - first)
        drawn = generator.integers(images, size=(size, images)) + images * np.arange(size)[:, None]
        times = np.bincount(drawn.ravel(), minlength=size * images).reshape(size, images)
        parts.append(times.astype(np.float64) @ table)
    return np.concatenate(parts)


def _middle(values: NDArray[np.float64]) -> Interval:
    low, high = np.nanpercentile(values, [2.5, 97.5])  # a resample may have hit images without valid pixels alone
    return float(low), float(high)

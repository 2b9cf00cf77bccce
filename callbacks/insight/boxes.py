"""Boxes from heatmaps, boxes without any, and how well boxes fit."""

import numpy as np

from callbacks.insight.components import Components, components, filled

SHARES = np.arange(1, 101) / 100
"""Of the image's height and width, those of the centred boxes that are tried."""


def box_of(heatmap: np.ndarray, threshold: float) -> np.ndarray:
    """The box around the largest component of a heatmap `(H, W)` where it is at least a threshold, holes filled.

    Returns:
        int32 `(4,)`, left, top, right and bottom; all 0 where nothing is.
    """
    return largest(components(filled(np.where(heatmap >= threshold, 0, -1))))[0]


def largest(found: Components) -> np.ndarray:
    """The box of the component of the most pixels at each threshold, `(T, 4)`; all 0 where there is none."""
    places = np.arange(found.area.shape[1])
    first = found.area.argmax(0)
    return np.where(found.area[first, places][:, None] > 0, found.box[first, places], 0)


def overlaps(boxes: np.ndarray, truth: np.ndarray, ends: int = 0) -> np.ndarray:
    """Intersection over union of boxes `(..., 4)` with one, `(4,)`: left, top, right and bottom.

    Args:
        boxes: any number of them; an empty one, which has no area, overlaps with nothing.
        truth: the one.
        ends: 0 for the areas as they are, bounds lying between pixels. 1 adds a pixel to each side, as where right and
            bottom name the last pixel that is in: the convention of published code, also for boxes that are not so.
    """
    width = np.minimum(boxes[..., 2], truth[2]) - np.maximum(boxes[..., 0], truth[0]) + ends
    height = np.minimum(boxes[..., 3], truth[3]) - np.maximum(boxes[..., 1], truth[1]) + ends
    both = np.maximum(width, 0) * np.maximum(height, 0)
    areas = [(each[..., 2] - each[..., 0] + ends) * (each[..., 3] - each[..., 1] + ends) for each in (boxes, truth)]
    return both / np.maximum(areas[0] + areas[1] - both, np.finfo(float).tiny)


def centred_boxes(height: int, width: int) -> np.ndarray:
    """The boxes in the middle of an image, by their shares of its height and of its width: `(100, 100, 4)`."""
    tall, wide = np.meshgrid(SHARES * height, SHARES * width, indexing="ij")
    return np.stack([width - wide, height - tall, width + wide, height + tall], axis=-1) / 2

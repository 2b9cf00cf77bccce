"""How many images have their object found by a box, at every threshold; and what is told of that."""

from collections.abc import Callable, Sequence

import numpy as np

from callbacks.insight.boxes import SHARES, centred_boxes, largest, overlaps
from callbacks.insight.components import THRESHOLDS, components, filled, levels_of

LEVELS = (0.3, 0.5, 0.7)
"""From which intersection over union on a box has found the object; .5 unless said otherwise."""

HALF, STRICT = 1, 2
"""The places of .5 and .7."""


class BoxHits:
    """Counts of images, to be summed over processes: exact for any batch size and number of devices.

    Args:
        kinds: the heatmaps' names.
        threshold: the fixed one of the published protocol.
    """

    def __init__(self, kinds: Sequence[str], threshold: float) -> None:
        self.kinds, self.fixed = tuple(kinds), int(np.abs(THRESHOLDS - threshold).argmin())
        steps, shares = len(THRESHOLDS), len(SHARES)
        shapes: dict[str, tuple[int, ...]] = {"images": (), "right": (), "centred": (len(LEVELS), shares, shares)}
        for kind in kinds:
            shapes |= {f"{kind} largest": (len(LEVELS), steps), f"{kind} any": (len(LEVELS), steps)}
            shapes |= {f"{kind} right": (steps,), f"{kind} published": (2,)}
        self.counts = {name: np.zeros(shape, dtype=np.int64) for name, shape in shapes.items()}

    def add(self, heatmaps: dict[str, np.ndarray], box: np.ndarray, right: np.ndarray) -> None:
        """Count images.

        Args:
            heatmaps: by their names, `(B, H, W)` each, from 0 to 1.
            box: `(B, 4)`, left, top, right and bottom of the object.
            right: bool `(B,)`, whether the network predicts the right class.
        """
        levels = np.array(LEVELS)
        for i, truth in enumerate(box.astype(float)):
            for kind in self.kinds:
                reached = levels_of(heatmaps[kind][i])
                one, found = largest(components(filled(reached))), components(reached)
                hits = overlaps(one, truth) >= levels[:, None]
                every = (overlaps(found.box, truth) * (found.area > 0)).max(0) >= levels[:, None]
                published = overlaps(one[self.fixed], truth, ends=1) >= 0.5
                self.counts[f"{kind} largest"] += hits
                self.counts[f"{kind} any"] += every
                self.counts[f"{kind} right"] += hits[HALF] & right[i]
                self.counts[f"{kind} published"] += [published, published & right[i]]
            size = heatmaps[self.kinds[0]].shape[1:]
            self.counts["centred"] += overlaps(centred_boxes(*size), truth) >= levels[:, None, None]
        self.counts["images"] += len(box)
        self.counts["right"] += int(right.sum())

    def sum(self, over: Callable[[np.ndarray], np.ndarray]) -> None:
        """Make the counts those of all processes, given what sums a vector over them."""
        total = over(np.concatenate([count.ravel() for count in self.counts.values()]))
        for name, count in self.counts.items():
            self.counts[name], total = total[: count.size].reshape(count.shape), total[count.size :]

    def share(self, name: str) -> np.ndarray:
        """A count as a share of the images."""
        return self.counts[name] / self.counts["images"]


def scores(hits: BoxHits, training: BoxHits | None) -> dict[str, float]:
    """What `Localization` tells.

    Args:
        hits: of the evaluated images.
        training: of the training images that thresholds are chosen on; None leaves out what takes them.
    """
    told = {"images": float(hits.counts["images"]), "top1_acc": float(hits.share("right"))}
    for kind in hits.kinds:
        known, top1 = hits.share(f"{kind} published").tolist()
        told |= {f"{kind}_gt_known_loc": known, f"{kind}_top1_loc": top1}
    sources = {**{kind: (f"{kind} largest", f"{kind} any") for kind in hits.kinds}, "centred": ("centred", "centred")}
    for measure, chosen in (("max_box_acc", hits), ("box_acc", training)):
        if chosen is not None:
            for source, (one, every) in sources.items():
                told |= _accuracies(f"{source}_{measure}", hits, chosen, one, every)
            for kind in hits.kinds:
                told[f"{kind}_{measure}_gain"] = told[f"{kind}_{measure}"] - told[f"centred_{measure}"]
    if training is not None:
        for kind in hits.kinds:
            place = best(training.counts[f"{kind} largest"][HALF])
            told[f"{kind}_threshold"] = float(THRESHOLDS[place])
            told[f"{kind}_top1_box_acc"] = float(hits.share(f"{kind} right")[place])
    return told


def best(counts: np.ndarray) -> int:
    """The place of the highest count, flattened; of several the one in the middle."""
    places = np.flatnonzero(counts == counts.max())
    return int(places[len(places) // 2])


def _accuracies(name: str, hits: BoxHits, chosen: BoxHits, one: str, every: str) -> dict[str, float]:
    """At .5, at .7, and V2; each at the threshold, or the size, that is the best one on chosen images."""

    def at(kind: str, level: int) -> float:
        return float(hits.share(kind)[level].flat[best(chosen.counts[kind][level])])

    v2 = sum(at(every, level) for level in range(len(LEVELS))) / len(LEVELS)
    return {name: at(one, HALF), f"{name}_v2": v2, f"{name}_70": at(one, STRICT)}

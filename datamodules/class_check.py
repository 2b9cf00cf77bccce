"""A look, before any training or evaluation, whether the classes occur in the label maps at all."""

from collections.abc import Sequence

import numpy as np
from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from datamodules.images import IGNORE_INDEX, DataError, check_labels
from datamodules.samples import LabelFiles, LabelledImages

MOST_MAPS, MOST_PIXELS = 256, 2**27
"""How many label maps, and of how many pixels in total, are looked at; all of a small set."""


def check_classes(data: LabelledImages, classes: Sequence[str], split: str, own_files: bool) -> None:
    """Looks at label maps from all over a set until each class was seen.

    Args:
        data: the set.
        classes: names of the classes, in label order.
        split: the set's name.
        own_files: whether it is a person's own and not a published one, whose classes and void values are known.

    Raises:
        DataError: if 255, which nobody named, takes the place of a class, or nothing else is there; and if a whole
            training set is of one class. Other classes that do not occur make a warning: parts of data sets are like
            that. It is left out for published sets that are too large to be looked at as a whole.
    """
    if not own_files and len(data) > MOST_MAPS:
        return
    seen = np.zeros(IGNORE_INDEX + 1, dtype=bool)
    nameless = False
    maps = pixels = 0
    spread = np.random.default_rng(0).permutation(len(data))[:MOST_MAPS].tolist()
    for index in spread if len(data) > MOST_MAPS else range(len(data)):
        label, has_255 = _labels(data, index)
        seen |= np.bincount(label.ravel(), minlength=len(seen)) > 0
        nameless |= has_255
        maps, pixels = maps + 1, pixels + label.size
        if seen[: len(classes)].all() or pixels > MOST_PIXELS:
            break
    absent = [name for name, there in zip(classes, seen, strict=False) if not there]
    if not absent or not maps:
        return
    whole, present = maps == len(data), [name for name in classes if name not in absent]
    names = ", ".join(absent[:5]) + (f" and {len(absent) - 5} more" if len(absent) > 5 else "")
    of = f"all {maps} label maps" if whole else f"the {maps} of {len(data)} label maps looked at"
    found = f"{data.label_path(0).parent}: no pixel of {names} in {of}"
    if own_files and nameless and (whole or len(present) < 2):
        remedy = f"--data.values '{{0: {classes[0]}, 255: {absent[-1]}}}' and so on, or --data.void [255]"
        raise DataError(f"{found}, but the value 255, which is void unless named; say what it is: {remedy}")
    if own_files and whole and (not present or (split == "train" and len(present) == 1 < len(classes))):
        only = f", all are {present[0]}" if present else ""
        raise DataError(f"{found}{only}; are these the label maps? if so, give their values classes: --data.values")
    rank_zero_warn(f"{found}; {split} is without")


def _labels(data: LabelledImages, index: int) -> tuple[np.ndarray, bool]:
    """A label map, and whether it holds a 255 of which nobody said what it is."""
    read = data.read_label
    if isinstance(read, LabelFiles):
        stored = read.stored(index)
        label, nameless = read.labels(index, stored), not read.says_what_255_is and bool((stored == IGNORE_INDEX).any())
    else:
        label, nameless = read(index), False
    check_labels(label, data.num_classes, data.label_path(index))
    return label, nameless

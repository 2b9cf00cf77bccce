"""Tiny ImageNet."""

from typing import Any

from datamodules.base import Split
from datamodules.images import DataError, reading
from datamodules.lists import check_inside, read_lines, read_words
from datamodules.paths import Paths
from datamodules.photographs import Listing, Photographs, by_folder, listing


class TinyImageNet(Photographs):
    """Tiny ImageNet: 200 of ImageNet's classes, 500 training and 50 validation images each, 64 x 64 pixels.

    `root` holds `tiny-imagenet-200/` with `wnids.txt`, `train/<synset>/images/` and `val/images/` with
    `val/val_annotations.txt`. Labels are the places of the synsets in alphabetical order, present or not. The test set
    is the validation set, the test labels being secret.
    """

    def __init__(self, root: str, crop: int = 64, resize: int = 64, **kwargs: Any) -> None:
        super().__init__(root, crop, resize, **kwargs)
        self.folder = self.root / "tiny-imagenet-200"

    def files(self, split: Split) -> Listing:
        synsets = sorted(read_words(self.folder / "wnids.txt"))
        labels = {synset: label for label, synset in enumerate(synsets)}
        self.classes = self._names(synsets)
        if split == "train":
            found = by_folder(self.folder / "train", "unpack the archive again")
            strange = [synset for synset in found if synset not in labels]
            if strange:
                raise DataError(f"{self.folder / 'train' / strange[0]}: not in wnids.txt; unpack the archive again")
            return listing(self.folder / "train", found, labels)
        annotations = self.folder / "val" / "val_annotations.txt"
        rows = [line.split("\t") for line in read_lines(annotations)]
        with reading(annotations):
            val_synsets = [row[1] for row in rows]
        check_inside((row[0] for row in rows), annotations)
        strange = [synset for synset in val_synsets if synset not in labels]
        if strange:
            raise DataError(f"{annotations}: {strange[0]} is not in wnids.txt; unpack the archive again")
        images = Paths(self.folder / "val" / "images", (row[0] for row in rows))
        return Listing(images.require("unpack the archive again"), [labels[synset] for synset in val_synsets])

    def _names(self, synsets: list[str]) -> tuple[str, ...]:
        """What `words.txt` calls the synsets; it is not in every copy."""
        words = self.folder / "words.txt"
        with reading(words):
            rows = [line.split("\t") for line in read_lines(words)] if words.exists() else []
            names = {row[0]: row[1].split(",")[0] for row in rows}
        return tuple(names.get(synset, synset) for synset in synsets)

"""Any folders of images as classes, such as a user's own, or two domains to translate between."""

from pathlib import Path
from typing import Any

from datamodules.base import Split, check_named, held_out
from datamodules.files import files_below
from datamodules.images import DataError
from datamodules.photographs import Listing, Photographs, by_folder, class_folders, listing


class ImageFolder(Photographs):
    """Folders of images, one for each class.

    Either `root/train/<class>/` and `root/val/<class>/`, or the folder of each class is named; two of those make a task
    of two domains, such as `classes: {horse: "{split}A", zebra: "{split}B"}` with `val: test` for horse2zebra.
    Photographs are turned as their EXIF tags say, as every viewer does.

    Args:
        classes: folder of each class below root, `{split}` being one of the names below; by default every folder below
            `root/{split}` is a class.
        train: name of the training split.
        val: name of the validation split.
        test: name of the test split; by default the validation split's.
        holdout: share of the training images of each class to validate and test on instead, for data without other
            splits; they are spread evenly.
    """

    own_files = True

    def __init__(
        self,
        root: str,
        classes: dict[str, str] | None = None,
        train: str = "train",
        val: str = "val",
        test: str | None = None,
        holdout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, **kwargs)
        if not 0 <= holdout <= 0.5:
            raise DataError(f"holdout={holdout}: the share of images to hold out lies between 0 and 0.5")
        check_named(train=train, val=val, **{f"classes.{name}": folder for name, folder in (classes or {}).items()})
        self.folders, self.holdout = classes, holdout
        self.splits = {"train": train, "val": val, "test": test or val}

    def files(self, split: Split) -> Listing:
        images = self._images(self.splits["train" if self.holdout else split])
        if split == "train" and not self.holdout and self._same_folder("train", "val"):
            raise DataError(
                f"{self.root}: training and validation on the same images; set --data.val to another split, or holdout"
            )
        if split == "train" and not self.holdout and any("{split}" not in f for f in (self.folders or {}).values()):
            raise DataError(
                f"{self.root}: a class has one folder for all splits; write {{split}} into it, or set holdout"
            )
        self.classes = self._classes(images)
        strange = [name for name in images if name not in self.classes]
        if strange:
            raise DataError(f"{self.root / self.splits[split] / strange[0]}: no class of that name in training")
        if self.holdout:
            images = {
                name: [path for i, path in enumerate(paths) if held_out(i, self.holdout) == (split != "train")]
                for name, paths in images.items()
            }
            if not any(images.values()):
                raise DataError(f"{self.root}: holdout={self.holdout} of each class is no image; raise it")
        return listing(self.root, images, {name: label for label, name in enumerate(self.classes)})

    def _same_folder(self, one: str, other: str) -> bool:
        """Whether two splits are one folder, by whatever path; where classes have folders of their own, one word."""
        if self.folders is not None:
            return self.splits[one] == self.splits[other]
        return (self.root / self.splits[one]).resolve() == (self.root / self.splits[other]).resolve()

    def _images(self, split: str) -> dict[str, list[str]]:
        """The images of each class in a split, as paths below root."""
        if self.folders is None:
            found = by_folder(self.root / split, "it should hold a folder of images for each class")
            images = {name: [str(Path(split, path)) for path in paths] for name, paths in found.items()}
            places = {name: f"{split}/{name}" for name in class_folders(self.root / split)}
        else:
            places = {name: pattern.replace("{split}", split) for name, pattern in self.folders.items()}
            images = {
                name: [str(Path(place, image)) for image in files_below(self.root / place)]
                for name, place in places.items()
            }
        empty = next((name for name in places if not images.get(name)), None)
        if empty is not None:
            raise DataError(
                f"{self.root / places[empty]}: no such folder, or no images in it, for the class {empty}; fill it, or "
                "remove it everywhere"
            )
        return images

    def _classes(self, images: dict[str, list[str]]) -> tuple[str, ...]:
        """The classes of training, in order, also where only another split is there to be read."""
        training = self.root / self.splits["train"]
        if self.folders is None and training.is_dir():
            return tuple(by_folder(training, "it should hold a folder of images for each class"))
        return tuple(self.folders or images)

"""CIFAR-10 and CIFAR-100."""

import pickle
import re
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torchvision import datasets

from datamodules.base import Split
from datamodules.images import DataError, reading
from datamodules.small_images import SmallImages


class CIFAR10(SmallImages):
    """CIFAR-10: 50,000 training and 10,000 test images of ten classes, 32 x 32 pixels.

    `root` holds `cifar-10-batches-py/` with `data_batch_1` to `data_batch_5` (those that are there are read) and
    `test_batch`. These files are pickles; arrays are read out of them, and nothing is run.
    """

    classes: tuple[str, ...] = (
        "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
    )  # fmt: skip
    source: ClassVar[type[datasets.CIFAR10]] = datasets.CIFAR10
    key: ClassVar = "labels"

    def read(self, split: Split) -> tuple[np.ndarray, np.ndarray]:
        folder = self.root / self.source.base_folder
        files = self.source.train_list if split == "train" else self.source.test_list
        present = [folder / name for name, _ in files if (folder / name).is_file()]
        if not present:
            raise DataError(f"{folder / files[0][0]}: not found; {self.root} should hold {folder.name}/, unpacked")
        batches = [self._batch(path) for path in present]
        return np.concatenate([images for images, _ in batches]), np.concatenate([labels for _, labels in batches])

    def _batch(self, path: Path) -> tuple[np.ndarray, list[int]]:
        with reading(path), path.open("rb") as file:
            content = _Arrays(file, encoding="latin1").load()
            return _array(content["data"]).reshape(-1, 3, 32, 32), list(_array(content[self.key]))


class CIFAR100(CIFAR10):
    """CIFAR-100: 50,000 training and 10,000 test images of a hundred classes, 32 x 32 pixels.

    `root` holds `cifar-100-python/` with `train` and `test`.
    """

    classes = (
        "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle", "bowl", "boy",
        "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle", "chair", "chimpanzee", "clock",
        "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur", "dolphin", "elephant", "flatfish",
        "forest", "fox", "girl", "hamster", "house", "kangaroo", "keyboard", "lamp", "lawn_mower", "leopard", "lion",
        "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain", "mouse", "mushroom", "oak_tree", "orange",
        "orchid", "otter", "palm_tree", "pear", "pickup_truck", "pine_tree", "plain", "plate", "poppy", "porcupine",
        "possum", "rabbit", "raccoon", "ray", "road", "rocket", "rose", "sea", "seal", "shark", "shrew", "skunk",
        "skyscraper", "snail", "snake", "spider", "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank",
        "telephone", "television", "tiger", "tractor", "train", "trout", "tulip", "turtle", "wardrobe", "whale",
        "willow_tree", "wolf", "woman", "worm",
    )  # fmt: skip
    source = datasets.CIFAR100
    key = "fine_labels"


class _Type:
    """Stands for a NumPy type; those of whole numbers can be had."""

    def __init__(self, name: str, *_: Any) -> None:
        self.name, self.order = name, "|"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1]

    def values(self, raw: bytes | str, shape: tuple[int, ...], order: str) -> np.ndarray:
        if not re.fullmatch(r"[<>|=][iu][1248]", f"{self.order}{self.name}"):
            raise ValueError(f"an array of {self.name}, not of whole numbers")
        raw = raw.encode("latin1") if isinstance(raw, str) else raw
        return np.frombuffer(raw, f"{self.order}{self.name}").reshape(shape, order=order)  # type: ignore[call-overload]


class _Values:
    """Stands for a NumPy array: real ones could be told to hold pointers."""

    def __init__(self, *_: Any) -> None:
        self.array = np.empty(0)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, fortran, raw = state
        self.array = kind.values(raw, shape, "F" if fortran else "C")


def _from_buffer(raw: bytes, kind: _Type, shape: tuple[int, ...], order: str) -> _Values:
    made = _Values()
    made.array = kind.values(raw, shape, order)
    return made


class _Arrays(pickle.Unpickler):
    """Makes plain containers and what stands for NumPy's arrays, and calls nothing else that a pickle names."""

    NUMPY: ClassVar = {"_reconstruct": _Values, "_frombuffer": _from_buffer, "ndarray": object, "dtype": _Type}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("_codecs", "encode"):
            return super().find_class(module, name)
        if module.split(".")[0] == "numpy" and name in self.NUMPY:
            return self.NUMPY[name]
        raise pickle.UnpicklingError(f"it names {module}.{name}, which is no array")


def _array(value: Any) -> np.ndarray:
    return value.array if isinstance(value, _Values) else np.asarray(value)

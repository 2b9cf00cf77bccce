"""What every DataModule shares: the splits, the loaders, the samples of a batch."""

import math
import os
import signal
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset, default_collate

from datamodules.class_check import check_classes
from datamodules.files import path_of
from datamodules.images import DataError
from datamodules.order import EpochOrder, Seeded
from datamodules.samples import LabelledImages, UnlabelledImages
from datamodules.transforms import RandomScaleCrop, Resize

Split = Literal["train", "val", "test"]

ONE_SIZE = "images of several sizes are no batch; set --data.eval_batch_size 1, or --data.eval_size [height, width]"


def held_out(i: int, share: float) -> bool:
    """Whether the i-th of some samples is held out, spread evenly: one whenever the share reaches a whole number."""
    return int((i + 1) * share + 1e-9) > int(i * share + 1e-9)


def check_range(name: str, value: float | Sequence[float] | None, low: float, high: float = math.inf) -> None:
    """Raises DataError if an option, or one of its values, lies outside a range."""
    values = [] if value is None else list(value) if isinstance(value, Sequence) else [value]
    if not all(low <= each <= high for each in values):
        limits = f"{low} or more" if high == math.inf else f"between {low} and {high}"
        raise DataError(f"--data.{name} {value}: must be {limits}")


def check_named(**options: str | None) -> None:
    """Raises DataError if an option that names a place is null, as `val:` with nothing behind it is in YAML."""
    for name, value in options.items():
        if value is None:
            raise DataError(f"--data.{name} null: names nothing; name it, or leave the option out")


class DataModule(LightningDataModule, ABC):
    """Batches of a data set: dicts of `image` float32 `(B, 3, H, W)` in `[0, 1]`, `label` int64 and `index` int64.

    A subclass names its `classes` and makes the data set of a split; the rest is here.
    """

    classes: tuple[str, ...] = ()
    """Names of the classes, in label order."""

    own_files: ClassVar[bool] = False
    """Whether the files are a person's own: photographs are turned as their EXIF tags say, as every viewer does, and
    classes that do not occur are an error where it is certain. Published sets are used as they are stored: so their
    annotations count pixels, and so torchvision's references read them."""

    def __init__(
        self,
        batch_size: int = 4,
        eval_batch_size: int = 1,
        num_workers: int = 4,
        predict_images: str | None = None,
    ) -> None:
        super().__init__()
        check_range("batch_size", batch_size, 1)
        check_range("eval_batch_size", eval_batch_size, 1)
        check_range("num_workers", num_workers, 0)
        self.batch_size, self.eval_batch_size, self.num_workers = batch_size, eval_batch_size, num_workers
        self.predict_images = predict_images
        self.sets: dict[str, Dataset[dict[str, Any]]] = {}
        self._place = 0, 0

    @abstractmethod
    def make_set(self, split: Split) -> Dataset[dict[str, Any]]:
        """The data set of a split; raises DataError if it is missing or broken."""

    def predict_transform(self) -> Callable[[Tensor], Tensor]:
        """What happens to an image to predict, uint8 `(3, H, W)`: the same as in evaluation; of one that is no square,
        where all are squares, the middle."""
        return Resize(None).image

    def plain_training_set(self) -> Dataset[dict[str, Any]]:
        """The training images as evaluation would see them: whole, or their middle, without augmentation."""
        train = self.make_set("train")
        if hasattr(train, "transform"):
            train.transform = self.make_set("val").transform  # type: ignore[attr-defined]
        return train

    def class_sizes(self) -> list[int]:
        """How many pixels of the training set each class has; or how many images, for image-level labels."""
        train = self.make_set("train")
        read_label = getattr(train, "read_label", lambda index: train[index]["label"])  # without image or crop
        sizes = np.zeros(len(self.classes), dtype=np.int64)
        for index in range(len(train)):  # type: ignore[arg-type]
            label = np.asarray(read_label(index))
            sizes += np.bincount(label[label < len(sizes)].ravel(), minlength=len(sizes))
        return sizes.tolist()

    def setup(self, stage: str) -> None:
        if stage == "predict":
            if self.predict_images is None:
                raise DataError("predict needs a folder of images: --data.predict_images FOLDER")
            self.sets["predict"] = UnlabelledImages(path_of(self.predict_images), self.predict_transform())
            return
        splits: dict[str, tuple[Split, ...]] = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",)}
        for split in splits[stage]:
            if split not in self.sets:
                try:
                    self.sets[split] = self.make_set(split)
                except OSError as error:
                    place = error.filename or type(self).__name__
                    raise DataError(f"{place}: cannot be read ({error.strerror}); may you open it?") from error
        twice = next((name for name in self.classes if self.classes.count(name) > 1), None)
        if twice is not None:
            raise DataError(f"{type(self).__name__}: two classes are called {twice!r}; results go by the names")
        if stage == "fit":
            self._require_a_batch(len(self.sets["train"]))  # type: ignore[arg-type]

    def _require_a_batch(self, samples: int) -> None:
        """Incomplete training batches are dropped; where there are no others, training would silently do nothing."""
        processes = self.trainer.world_size if self.trainer else 1
        if samples < self.batch_size * processes:
            where = f" on each of {processes} devices" if processes > 1 else ""
            raise DataError(
                f"{samples} training samples do not fill a batch of {self.batch_size}{where}; lower --data.batch_size"
            )

    def go_on(self, epoch: int, samples: int) -> int:
        """Continue an interrupted epoch after so many of its samples, of all processes; before the loader is made.

        Returns the number of batches behind, in batches of now.
        """
        self._place = epoch, samples
        order = self._order()
        return (len(order) - order.left) // self.batch_size

    def _order(self) -> EpochOrder:
        """The order of this process's training samples, from the place that the run has reached."""
        rank, processes = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        samples: int = len(self.sets["train"])  # type: ignore[arg-type]
        order = EpochOrder(samples, _run_seed(), self.batch_size, rank, processes)
        order.go_on(*self._place)
        return order

    def first_batch(self, epoch: int) -> dict[str, Any]:
        """The first training batch of an epoch, of this process."""
        order = self._order()
        order.go_on(epoch, 0)
        samples = Seeded(self.sets["train"], _run_seed())
        return collate([samples[key] for key in islice(order, self.batch_size)])

    def train_dataloader(self) -> DataLoader[dict[str, Any]]:
        """Training batches; order and augmentation follow from the run's seed, the epoch and each sample's index.

        In a loop without Lightning, begin an epoch by `loader.sampler.set_epoch(epoch)`.
        """
        return self._loader(Seeded(self.sets["train"], _run_seed()), self.batch_size, self._order())

    def val_dataloader(self) -> DataLoader[dict[str, Any]]:
        return self._loader(self.sets["val"], self.eval_batch_size)

    def test_dataloader(self) -> DataLoader[dict[str, Any]]:
        return self._loader(self.sets["test"], self.eval_batch_size)

    def crafting_dataloader(self, images: int = 10_000) -> DataLoader[dict[str, Any]]:
        """Training images to craft universal perturbations on: at most as many as Moosavi-Dezfooli et al. 2017 took.

        Its order and crops are the global generator's, so that equal seeds give equal batches on every process.
        """
        train = self.make_set("train")
        some = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))[:images]  # type: ignore[arg-type]
        return DataLoader(Subset(train, some.tolist()), self.batch_size, shuffle=True, collate_fn=collate)

    def predict_dataloader(self) -> DataLoader[dict[str, Any]]:
        return self._loader(self.sets["predict"], 1)

    def _loader(
        self, samples: Dataset[dict[str, Any]], batch_size: int, order: EpochOrder | None = None
    ) -> DataLoader[dict[str, Any]]:
        return DataLoader(
            samples,
            batch_size=batch_size,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
            collate_fn=collate,
            worker_init_fn=_outlive_signals,
            sampler=order,
            drop_last=order is not None,
        )


class SegmentationDataModule(DataModule):
    """A data set of images with label maps on disk: augmented and cropped for training, whole for evaluation.

    Args:
        root: the data set's folder.
        batch_size: training samples per step and device.
        crop: side of the square training crops, in pixels.
        scale: range of the short side's random length before cropping, in pixels.
        flip: probability of a horizontal flip.
        eval_size: short side in evaluation, images and labels alike; or height and width; or null for native size.
        eval_batch_size: evaluation samples per step and device; more than 1 needs images of one size.
        num_workers: processes per device that read data.
        predict_images: folder of images for `predict`.
    """

    several_sizes: bool = False
    """Whether the images are known to have several sizes."""

    def __init__(
        self,
        root: str,
        batch_size: int = 4,
        crop: int = 480,
        scale: tuple[int, int] = (260, 1040),
        flip: float = 0.5,
        eval_size: int | tuple[int, int] | None = 520,
        eval_batch_size: int = 1,
        num_workers: int = 4,
        predict_images: str | None = None,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, num_workers, predict_images)
        check_range("crop", crop, 1)
        check_range("scale", scale, 1)
        check_range("scale's upper end", scale[1], scale[0])
        check_range("flip", flip, 0, 1)
        check_range("eval_size", eval_size, 1)
        if self.several_sizes and eval_batch_size > 1 and not isinstance(eval_size, Sequence):
            raise DataError(f"eval_batch_size={eval_batch_size}: {ONE_SIZE}")
        self.root = path_of(root)
        self.crop, self.scale, self.flip, self.eval_size = crop, scale, flip, eval_size

    @abstractmethod
    def make_set(self, split: Split) -> LabelledImages: ...

    def setup(self, stage: str) -> None:
        known = set(self.sets)
        super().setup(stage)
        for split in [] if self.own_files else sorted(self.sets.keys() - known - {"predict"}):
            if isinstance(data := self.sets[split], LabelledImages):
                check_classes(data, self.classes, split, own_files=False)

    def predict_transform(self) -> Callable[[Tensor], Tensor]:
        return Resize(self.eval_size).image

    def transform(self, split: Split) -> RandomScaleCrop | Resize:
        """The transform of a split: augmentation for training only."""
        return RandomScaleCrop(self.crop, self.scale, self.flip) if split == "train" else Resize(self.eval_size)


def _run_seed() -> int:
    """The run's seed, as `seed_everything` left it for every process."""
    return int(os.environ.get("PL_GLOBAL_SEED", 0))


def _outlive_signals(_: int) -> None:
    """A scheduler's signals reach a loader's workers, too: they serve on, so that the process that they serve can end
    its step. SIGTERM also is how that process ends them: so after it they have half a minute."""
    for number in (signal.SIGUSR1, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(30))


def collate(samples: list[dict[str, Any]]) -> dict[str, Any]:
    """Stack samples of one size; raises DataError on several sizes: evaluation never pads."""
    for sample in samples:
        if not isinstance(sample, dict) or not isinstance(sample.get("image"), Tensor):
            kind = f"a {type(sample).__name__}" + (" without a tensor `image`" if isinstance(sample, dict) else "")
            raise DataError(f"a sample is a dict of image, label and index, not {kind}: return one from the data set")
    sizes = {tuple(sample["image"].shape[-2:]) for sample in samples}
    if len(sizes) > 1:
        raise DataError(
            f"a batch holds images of {len(sizes)} sizes, such as {' and '.join(map(str, sorted(sizes)[:2]))}: "
            f"{ONE_SIZE}"
        )
    return default_collate(samples)

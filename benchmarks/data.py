"""How fast COCO is read for training, against the same pipeline as torchvision's segmentation reference has it.

Both read the same images in one process on one core, in turns of a round each: decode, label map, random scale, flip
and crop of 480, tensors, batches of 4. The reference draws label maps from polygons every time, works on PIL images and
normalises; ours reads label maps it has kept, works on tensors, and leaves the normaliser to the network. The ratio is
the median of the rounds'.

    python benchmarks/data.py --root DIR    COCO 2017, or a part of it in its layout
    python benchmarks/data.py --quick       a few drawn images, to see that it runs
"""

import argparse
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import torch
from full_size import write_coco
from PIL import Image
from pycocotools import coco, mask
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

from datamodules import COCO
from datamodules.base import collate
from datamodules.images import read_image
from datamodules.samples import LabelledImages

CATEGORIES = [0, 5, 2, 16, 9, 44, 6, 3, 17, 62, 21, 67, 18, 19, 4, 1, 64, 20, 63, 7, 72]
CROP, SCALE, BATCH = 480, (260, 1040), 4
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]

Clock = dict[str, float]
"""Seconds spent in each stage."""


class Reference:
    """The pipeline as in torchvision's reference."""

    def __init__(self, root: Path, paths: list[Path]) -> None:
        self.paths = paths
        self.annotations = coco.COCO(str(root / "annotations" / "instances_train2017.json"))
        self.ids = {record["file_name"]: key for key, record in self.annotations.imgs.items()}

    def sample(self, i: int, clock: Clock) -> tuple[Tensor, Tensor]:
        with Stage(clock, "decode"):
            image = Image.open(self.paths[i]).convert("RGB")
        with Stage(clock, "label map"):
            label = Image.fromarray(self._label(self.ids[self.paths[i].name], image.size[1], image.size[0]))
        with Stage(clock, "scale, flip, crop"):
            size = random.randint(*SCALE)
            image = F.resize(image, [size], antialias=True)
            label = F.resize(label, [size], interpolation=InterpolationMode.NEAREST)
            if random.random() < 0.5:
                image, label = F.hflip(image), F.hflip(label)
            padding = [0, 0, max(0, CROP - image.size[0]), max(0, CROP - image.size[1])]
            if any(padding):
                image, label = F.pad(image, padding, fill=0), F.pad(label, padding, fill=255)
            top, left = random.randint(0, image.size[1] - CROP), random.randint(0, image.size[0] - CROP)
            image, label = F.crop(image, top, left, CROP, CROP), F.crop(label, top, left, CROP, CROP)
        with Stage(clock, "tensors"):
            tensor = F.normalize(F.convert_image_dtype(F.pil_to_tensor(image)), MEAN, STD)
            return tensor, torch.as_tensor(np.array(label), dtype=torch.int64)

    def _label(self, image_id: int, height: int, width: int) -> np.ndarray:
        records = [a for a in self.annotations.imgToAnns[image_id] if a["category_id"] in CATEGORIES]
        masks = [self._mask(record["segmentation"], height, width) for record in records]
        if not masks:
            return np.zeros((height, width), dtype=np.uint8)
        stacked = torch.stack(masks)
        classes = torch.tensor([CATEGORIES.index(record["category_id"]) for record in records], dtype=torch.uint8)
        label = (stacked * classes[:, None, None]).max(dim=0).values
        label[stacked.sum(0) > 1] = 255
        return label.numpy()

    @staticmethod
    def _mask(segmentation: Any, height: int, width: int) -> Tensor:
        decoded = torch.as_tensor(mask.decode(mask.frPyObjects(segmentation, height, width)), dtype=torch.uint8)
        return decoded.any(dim=2) if decoded.ndim == 3 else decoded.bool()

    def batch(self, indices: list[int], clock: Clock) -> None:
        samples = [self.sample(i, clock) for i in indices]
        with Stage(clock, "batch"):
            torch.stack([image for image, _ in samples]), torch.stack([label for _, label in samples])


class Ours:
    """The pipeline of `datamodules`, its stages timed."""

    def __init__(self, data: LabelledImages) -> None:
        self.data = data

    def batch(self, indices: list[int], clock: Clock) -> None:
        samples = []
        for i in indices:
            with Stage(clock, "decode"):
                image = read_image(self.data.images[i])
            with Stage(clock, "label map"):
                label = torch.tensor(self.data.read_label(i))
            with Stage(clock, "scale, flip, crop"):
                pixels, classes, region = self.data.transform(image, label)
            with Stage(clock, "tensors"):
                samples.append({"image": pixels, "label": classes.long(), "region": region[None], "index": i})
        with Stage(clock, "batch"):
            collate(samples)

    def whole(self, indices: list[int], _: Clock) -> None:
        """As the data loader does it, checks included."""
        collate([self.data[i] for i in indices])


class Stage:
    """Adds the time spent in it to a clock."""

    def __init__(self, clock: Clock, name: str) -> None:
        self.clock, self.name = clock, name

    def __enter__(self) -> None:
        self.started = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.clock[self.name] = self.clock.get(self.name, 0.0) + time.perf_counter() - self.started


def timed(batch: Callable[[list[int], Clock], None], images: int, clock: Clock) -> float:
    """Milliseconds an image in one round."""
    order = random.sample(range(images), images)
    started = time.perf_counter()
    for first in range(0, images - BATCH + 1, BATCH):
        batch(order[first : first + BATCH], clock)
    return 1000 * (time.perf_counter() - started) / (images // BATCH * BATCH)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="COCO's folder; by default images are drawn")
    parser.add_argument("--images", type=int, default=200, help="how many of its training images to read")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="few images, to see that it runs")
    options = parser.parse_args()
    torch.set_num_threads(1)
    random.seed(0)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        root = options.root or Path(folder, "coco")
        if options.root is None:
            write_coco(root, images=8 if options.quick else 100, draw=True)
        rounds = 2 if options.quick else options.rounds
        data = COCO(str(root), cache=str(Path(folder, "cache"))).make_set("train")
        number = min(options.images, len(data))
        reference, ours = Reference(root, [data.images[i] for i in range(number)]), Ours(data)
        clocks: tuple[Clock, Clock] = ({}, {})
        pairs = []
        for turn in range(rounds + 1):
            one = timed(reference.batch, number, clocks[0])
            timed(ours.batch, number, clocks[1])
            two = timed(ours.whole, number, {})
            if turn == 0:  # warms up, and draws the label maps that are kept
                for clock in clocks:
                    clock.clear()
            else:
                pairs.append((one, two))
    images = rounds * (number // BATCH * BATCH)
    print(f"{number} images of {root}, {rounds} rounds, one core; milliseconds an image, and images a second")
    print(f"{'':18} {'reference':>20} {'ours':>20}")
    for name in clocks[0]:
        print(f"{name:18} " + " ".join(_cell(1000 * clock[name] / images) for clock in clocks))
    medians = [statistics.median(column) for column in zip(*pairs, strict=True)]
    print(f"{'whole':18} " + " ".join(map(_cell, medians)))
    slowest = max(clocks[1], key=lambda name: clocks[1][name])
    share = clocks[1][slowest] / sum(clocks[1].values())
    print(f"bound by: {slowest}, {100 * share:.0f} % of the time")
    print(f"ratio {statistics.median(one / two for one, two in pairs):.2f}")


def _cell(milliseconds: float) -> str:
    return f"{milliseconds:9.2f} {1000 / milliseconds:10.0f}"


if __name__ == "__main__":
    main()

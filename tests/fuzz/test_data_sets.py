"""Data sets after an accident to one of their files: read as they are, or told by the file's name."""

from random import Random

import pytest
import tiny_classification as tiny
import torch
from fuzz.breaking import break_folder, cases, copied
from fuzz.endings import bounded, one_line
from tiny_data import CAMVID_CLASSES, write_camvid, write_coco, write_voc
from torchvision.datasets import cifar, flowers102, stl10, svhn

import datamodules
from datamodules import DataError

CAMVID = {"images": "{split}", "labels": "{split}annot", "classes": list(CAMVID_CLASSES), "void": [11]}
SETS = {
    "CamVid": (write_camvid, lambda root: datamodules.SegmentationFolder(root, **CAMVID, crop=32, num_workers=0)),
    "COCO": (write_coco, lambda root: datamodules.COCO(root, crop=32, num_workers=0)),
    "VOC": (write_voc, lambda root: datamodules.VOC(root, crop=32, num_workers=0)),
    "ImageFolder": (tiny.write_image_folder, datamodules.ImageFolder),
    "ImageNet": (tiny.write_imagenet, datamodules.ImageNet),
    "TinyImageNet": (tiny.write_tiny_imagenet, datamodules.TinyImageNet),
    "CIFAR10": (tiny.write_cifar10, datamodules.CIFAR10),
    "CIFAR100": (tiny.write_cifar100, datamodules.CIFAR100),
    "MNIST": (tiny.write_mnist, datamodules.MNIST),
    "USPS": (tiny.write_usps, datamodules.USPS),
    "SVHN": (tiny.write_svhn, datamodules.SVHN),
    "STL10": (tiny.write_stl10, datamodules.STL10),
    "CUB200": (tiny.write_cub200, datamodules.CUB200),
    "Food101": (tiny.write_food101, datamodules.Food101),
    "Flowers102": (tiny.write_flowers102, datamodules.Flowers102),
    "StanfordDogs": (tiny.write_stanford_dogs, datamodules.StanfordDogs),
}
"""How each is written, and what reads it."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    root = tmp_path_factory.mktemp("whole")
    for name, (write, _) in SETS.items():
        write(root / name)
    return root


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for module in (cifar, flowers102, stl10, svhn):
        monkeypatch.setattr(module, "check_integrity", lambda *_: True)  # of the published archives


def read_all(name, root):
    """Both splits of a data set, sample by sample; every sample is one by the contract."""
    data = SETS[name][1](str(root))
    for split in ("train", "val"):
        dataset = data.make_set(split)
        assert len(dataset)
        for index in range(len(dataset)):
            sample = dataset[index]
            image, label = sample["image"], torch.as_tensor(sample["label"])
            assert image.dtype == torch.float32 and image.shape[0] == 3 and image.ndim == 3
            assert image.min() >= 0 and image.max() <= 1
            assert label.dtype == torch.int64 and label.shape in ((), image.shape[1:])
            assert ((label >= 0) & ((label < len(data.classes)) | ((label == 255) & (label.ndim > 0)))).all()
            assert sample["index"] == index


@pytest.mark.parametrize("name", SETS)
def test_whole(whole, name):
    read_all(name, whole / name)


@pytest.mark.parametrize("case", cases("data"))
def test_an_accident(whole, tmp_path, case):
    draw = Random(case)
    name = draw.choice(list(SETS))
    root = copied(whole / name, tmp_path / "set")
    what = break_folder(root, draw)
    with bounded():
        try:
            read_all(name, root)
        except DataError as error:
            assert one_line(str(error)), what

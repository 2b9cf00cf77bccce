"""The real data sets, where they are: in the folder that the environment variable SADDLE_DATA names."""

import json
import os
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from classified import as_stored, names_of
from coco_reference import reference_label_map
from PIL import Image
from tiny_data import CAMVID_CLASSES
from torchvision import io

from datamodules import (
    CIFAR10,
    COCO,
    CUB200,
    MNIST,
    VOC,
    ImageFolder,
    ImageNet,
    RestrictedImageNet,
    SegmentationFolder,
    TinyImageNet,
)
from datamodules.coco_annotations import read_annotations
from datamodules.imagenet import SYNSETS
from datamodules.images import read_image


@pytest.fixture
def real():
    """Gives the path of a data set below SADDLE_DATA, or skips the test."""

    def real(name):
        folder = os.environ.get("SADDLE_DATA")
        if not folder:
            pytest.skip("SADDLE_DATA names no folder with real data sets")
        if not Path(folder, name).is_dir():
            pytest.skip(f"SADDLE_DATA has no {name}")
        return Path(folder, name)

    return real


def check_sample(sample, size, classes):
    assert sample["image"].shape == (3, *size) and sample["label"].shape == size
    assert sample["image"].dtype == torch.float32 and sample["label"].dtype == torch.int64
    assert sample["image"].min() >= 0 and 0.3 < sample["image"].max() <= 1
    assert ((sample["label"] < classes) | (sample["label"] == 255)).all() and sample["label"].min() >= 0


def coco_content(root, split):
    return json.loads((root / "annotations" / f"instances_{split}2017.json").read_text())


@pytest.fixture
def coco(real, tmp_path):
    """Makes COCO; its cache lies elsewhere, since the folder of real data may be written by root alone."""
    return lambda **options: COCO(str(real("coco")), cache=str(tmp_path), num_workers=0, **options)


@pytest.mark.parametrize("split", ["train", "val"])
def test_coco_label_maps_equal_those_built_another_way(real, coco, split):
    """Of all images, those that training leaves out as well: just drawn, read again, and kept as pictures."""
    content = coco_content(real("coco"), split)
    expected = {image["id"]: reference_label_map(content, image["id"]) for image in content["images"]}
    for _ in ("arrays read from the file", "arrays kept"):
        annotations = coco().make_set(split).read_label.annotations
        assert annotations.ids.tolist() == sorted(expected)
        for i, image_id in enumerate(annotations.ids):
            assert np.array_equal(annotations.label_map(i), expected[image_id]), image_id
    for _ in ("label maps drawn", "label maps kept"):
        dataset = coco().make_set(split)
        for index, path in enumerate(dataset.images):
            assert np.array_equal(dataset.read_label(index), expected[int(path.stem)]), path


def test_coco_trains_on_images_of_more_than_1000_annotated_pixels(real, coco):
    content = coco_content(real("coco"), "train")
    areas = dict.fromkeys((image["id"] for image in content["images"]), 0.0)
    for annotation in content["annotations"]:
        if annotation["category_id"] in (1, 2, 3, 4, 5, 6, 7, 9, 16, 17, 18, 19, 20, 21, 44, 62, 63, 64, 67, 72):
            areas[annotation["image_id"]] += annotation["area"]
    expected = sorted(image_id for image_id, area in areas.items() if area > 1000)
    assert 0 < len(expected) < len(areas)
    assert [int(path.stem) for path in coco().make_set("train").images] == expected


def test_coco_samples_of_validation_are_whole(real, coco):
    dataset = coco(eval_size=None).make_set("val")
    sizes = {image["id"]: (image["height"], image["width"]) for image in coco_content(real("coco"), "val")["images"]}
    assert [int(path.stem) for path in dataset.images] == sorted(sizes)
    for index in range(0, len(dataset), 4):
        check_sample(dataset[index], sizes[int(dataset.images[index].stem)], 21)


def test_coco_training_batch(coco):
    data = coco()
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    assert batch["image"].shape == (4, 3, 480, 480)
    assert (batch["label"].unsqueeze(1)[~batch["region"]] == 255).all()


def test_annotations_of_another_tool_are_those_it_painted(real, tmp_path):
    """Compressed run lengths and polygons, without `iscrowd`; the pictures beside them show tables over all else."""
    root = real("dali_extra") / "coco_pixelwise"
    annotations = read_annotations(root / "instances.json", {"Laptop": 1, "Pizza": 2, "Table": 3}, tmp_path)
    assert len(annotations.ids) == 6 and annotations.run_lengths.sum() == 9
    for i, name in enumerate(annotations.names):
        picture = np.asarray(Image.open(root / "pixelwise_masks" / Path(name.decode()).with_suffix(".png").name))
        painted = (picture == 255) @ np.array([1, 2, 3])
        label = annotations.label_map(i)
        assert len(np.unique(label)) == 4
        assert (painted[label == 255] == 3).all() and 0 < (label == 255).mean() < 0.01
        assert np.array_equal(np.where(label == 255, 3, label), painted)


def test_photographs_are_read_in_the_colors_other_programs_see(real):
    """ImageNet's, some of them grey or CMYK, and COCO's: torchvision's decoder gives the same pixels as ours."""
    if not hasattr(io, "decode_image"):
        pytest.skip("torchvision decodes no more")
    paths = [*real("imagenet").rglob("*.JPEG"), *(real("coco") / "val2017").glob("*.jpg")]
    assert len(paths) > 300
    for path in paths:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it will go
            other = io.decode_image(str(path), io.ImageReadMode.RGB)
        assert torch.equal(read_image(path), other), path


@pytest.mark.parametrize(("split", "names"), [("train", "train.txt"), ("val", "val.txt")])
def test_voc(real, split, names):
    root = real("voc2012")
    voc = root / "VOCdevkit" / "VOC2012"
    listed = (voc / "ImageSets" / "Segmentation" / names).read_text().split()
    dataset = VOC(str(root), eval_size=None).make_set(split)
    dataset.transform = VOC(str(root), eval_size=None).transform("val")  # also of training images, to compare
    assert [path.stem for path in dataset.images] == listed
    for index, name in enumerate(listed):
        stored = np.asarray(Image.open(voc / "SegmentationClass" / f"{name}.png"))
        sample = dataset[index]
        check_sample(sample, stored.shape, 21)
        assert np.array_equal(sample["label"], stored)
        assert {0, 255} < set(np.unique(stored)), "an object on background, with its border"


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_camvid(real, split):
    root = real("camvid") / "CamVid"
    folders = {"images": "{split}", "labels": "{split}annot", "void": [11]}
    data = SegmentationFolder(str(root), list(CAMVID_CLASSES), **folders, eval_size=None)
    dataset = data.make_set(split)
    dataset.transform = data.transform("val")
    assert [path.name for path in dataset.images] == sorted(os.listdir(root / split))
    seen = set()
    for index in range(0, len(dataset), 5):
        stored = np.asarray(Image.open(root / f"{split}annot" / dataset.images[index].name))
        sample = dataset[index]
        check_sample(sample, (360, 480), 11)
        assert np.array_equal(sample["label"], np.where(stored == 11, 255, stored))
        seen |= set(sample["label"].unique().tolist())
    assert seen == {*range(11), 255}


# Labelled images


def check_files(data, split, root, expected, every=1):
    """The set of a split holds these files below root, with these labels; its images are those of the files."""
    dataset = data.make_set(split)
    assert dict(zip(names_of(dataset, root), dataset.labels.tolist(), strict=True)) == expected
    assert len(dataset) == len(expected)
    transform = dataset.transform
    for index in range(0, len(dataset), every):
        stored = np.asarray(Image.open(dataset.images[index]).convert("RGB"))
        sample = as_stored(dataset)[index]
        assert np.array_equal(sample["image"], stored.transpose(2, 0, 1)), dataset.images[index]
        assert (sample["label"], sample["index"]) == (dataset.labels[index], index)
    dataset.transform = transform
    for index in range(0, len(dataset), 5 * every):
        image = dataset[index]["image"]
        assert image.shape == (3, data.crop, data.crop) and image.dtype == torch.float32
        assert image.min() >= 0 and image.max() <= 1
    return dataset


def files_in(root, folder, label=0):
    return {f"{folder}/{name}": label for name in os.listdir(root / folder)}


@pytest.fixture
def numbers(real):
    """The number of each synset, as published for the weights of many networks."""
    content = json.loads((real("imagenet") / "imagenet_class_index.json").read_text())
    assert len(content) == 1000
    return {synset: int(number) for number, (synset, _) in content.items()}


def test_imagenet(real, numbers):
    root = real("imagenet")
    synsets = sorted(os.listdir(root / "train"))
    expected = {name: numbers[wnid] for wnid in synsets for name in files_in(root, f"train/{wnid}")}
    assert len(synsets) == len(expected) == 235
    check_files(ImageNet(str(root)), "train", root, expected, every=2)


def test_the_synsets_of_imagenet_are_those_published(numbers):
    assert [numbers[synset] for synset in SYNSETS] == [*range(1000)]


def test_restricted_imagenet(real, numbers):
    root = real("imagenet")
    ends = {151: 268, 281: 285, 30: 32, 33: 37, 80: 100, 365: 382, 389: 397, 118: 121, 300: 319}
    group = {number: label for label, (first, last) in enumerate(ends.items()) for number in range(first, last + 1)}
    expected = {
        name: group[numbers[wnid]]
        for wnid in os.listdir(root / "train")
        if numbers[wnid] in group
        for name in files_in(root, f"train/{wnid}")
    }
    dataset = check_files(RestrictedImageNet(str(root)), "train", root, expected, every=9)
    assert np.bincount(dataset.labels).tolist() == [118, 5, 3, 5, 21, 18, 9, 4, 20]


def test_tiny_imagenet(real):
    root = real("tiny_imagenet")
    folder = root / "tiny-imagenet-200"
    places = {wnid: place for place, wnid in enumerate(sorted((folder / "wnids.txt").read_text().split()))}
    subset = {wnid for wnid in places if (folder / "train" / wnid).is_dir()}
    train = {name: places[wnid] for wnid in subset for name in files_in(root, f"tiny-imagenet-200/train/{wnid}/images")}
    rows = [line.split() for line in (folder / "val" / "val_annotations.txt").read_text().splitlines()]
    val = {f"tiny-imagenet-200/val/images/{name}": places[wnid] for name, wnid, *_ in rows}
    assert (len(train), len(val), len(subset)) == (2750, 550, 11)
    for split, expected in (("train", train), ("val", val), ("test", val)):
        dataset = check_files(TinyImageNet(str(root)), split, root, expected, every=20)
        assert set(dataset.labels) == {places[wnid] for wnid in subset}


@pytest.mark.parametrize(("split", "name", "samples"), [("train", "data_batch_1", 2000), ("val", "test_batch", 500)])
def test_cifar10(real, split, name, samples):
    folder = real("cifar10") / "cifar-10-batches-py"
    content, meta = (pickle.loads((folder / file).read_bytes(), encoding="bytes") for file in (name, "batches.meta"))
    data = CIFAR10(str(folder.parent))
    dataset = as_stored(data.make_set(split))
    assert len(dataset) == samples and set(dataset.labels) == set(range(10))
    assert dataset.labels.tolist() == list(content[b"labels"])
    assert [word.decode() for word in meta[b"label_names"]] == list(data.classes)
    for index in range(0, samples, 7):
        planes = np.split(content[b"data"][index], 3)
        assert np.array_equal(dataset[index]["image"], [plane.reshape(32, 32) for plane in planes])


@pytest.mark.parametrize(("split", "name", "samples"), [("train", "train", 60_000), ("val", "t10k", 10_000)])
def test_mnist(real, split, name, samples):
    root = real("mnist")
    raw = root / "MNIST" / "raw"
    images = np.fromfile(raw / f"{name}-images-idx3-ubyte", np.uint8)[16:].reshape(-1, 28, 28)
    labels = np.fromfile(raw / f"{name}-labels-idx1-ubyte", np.uint8)[8:]
    dataset = as_stored(MNIST(str(root), size=28).make_set(split))
    assert len(dataset) == samples and set(dataset.labels) == set(range(10))
    assert np.array_equal(dataset.labels, labels) and np.array_equal(dataset.images[:, 0], images)
    assert np.array_equal(dataset[7]["image"], np.broadcast_to(images[7], (3, 28, 28)))
    resized = MNIST(str(root)).make_set(split)[7]["image"]
    assert resized.shape == (3, 32, 32) and abs(resized.mean() - images[7].mean() / 255) < 0.01


@pytest.mark.parametrize(("split", "training"), [("train", "1"), ("val", "0"), ("test", "0")])
def test_cub200(real, split, training):
    root = real("cub200")
    rows = {
        name: dict(line.split(maxsplit=1) for line in (root / "CUB_200_2011" / f"{name}.txt").read_text().splitlines())
        for name in ("images", "image_class_labels", "train_test_split", "bounding_boxes", "classes")
    }
    ids = [key for key, value in rows["train_test_split"].items() if value == training]
    expected = {f"CUB_200_2011/images/{rows['images'][key]}": int(rows["image_class_labels"][key]) - 1 for key in ids}
    data = CUB200(str(root))
    dataset = check_files(data, split, root, expected)
    assert len(data.classes) == 200 and set(dataset.labels) == set(range(5))
    for path, label in zip(dataset.images, dataset.labels, strict=True):
        assert path.parent.name == f"{label + 1:03}.{data.classes[label]}"
    for index, key in enumerate(ids):
        left, top, width, height = map(float, rows["bounding_boxes"][key].split())
        assert dataset.boxes[index].tolist() == [left, top, left + width, top + height]
        box = dataset[index]["box"]
        assert box.shape == (4,) and (box[2:] >= box[:2]).all()
        assert box.min() >= 0 and box.max() <= 224


def test_horse2zebra(real):
    root = real("horse2zebra")
    data = ImageFolder(str(root), classes={"horse": "{split}A", "zebra": "{split}B"}, holdout=0.2)
    everything = {**files_in(root, "trainA", 0), **files_in(root, "trainB", 1)}
    held = {name: everything[name] for name in names_of(data.make_set("val"), root)}
    assert (len(everything), len(held)) == (120, 24) and sum(held.values()) == 12
    rest = {name: label for name, label in everything.items() if name not in held}
    for split, expected in (("train", rest), ("val", held), ("test", held)):
        check_files(data, split, root, expected, every=2)

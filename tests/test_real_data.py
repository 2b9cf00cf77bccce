"""The real data sets, where they are: in the folder that the environment variable SADDLE_DATA names."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from coco_reference import reference_label_map
from PIL import Image
from tiny_data import CAMVID_CLASSES

from datamodules import COCO, VOC, SegmentationFolder
from datamodules.coco import label_map


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


@pytest.mark.parametrize("split", ["train", "val"])
def test_coco_label_maps_equal_those_built_another_way(real, split):
    root = real("coco")
    content = coco_content(root, split)
    annotations = COCO(str(root)).make_set(split).read_label.args[0]
    for image in content["images"]:  # those that training leaves out as well
        label = label_map(annotations, image["id"])
        assert np.array_equal(label, reference_label_map(content, image["id"])), image["file_name"]


def test_coco_trains_on_images_of_more_than_1000_annotated_pixels(real):
    root = real("coco")
    content = coco_content(root, "train")
    areas = dict.fromkeys((image["id"] for image in content["images"]), 0.0)
    for annotation in content["annotations"]:
        if annotation["category_id"] in (1, 2, 3, 4, 5, 6, 7, 9, 16, 17, 18, 19, 20, 21, 44, 62, 63, 64, 67, 72):
            areas[annotation["image_id"]] += annotation["area"]
    expected = sorted(image_id for image_id, area in areas.items() if area > 1000)
    assert 0 < len(expected) < len(areas)
    assert [int(path.stem) for path in COCO(str(root)).make_set("train").images] == expected


def test_coco_samples_of_validation_are_whole(real):
    root = real("coco")
    dataset = COCO(str(root), eval_size=None).make_set("val")
    sizes = {image["id"]: (image["height"], image["width"]) for image in coco_content(root, "val")["images"]}
    assert [int(path.stem) for path in dataset.images] == sorted(sizes)
    for index in range(0, len(dataset), 4):
        check_sample(dataset[index], sizes[int(dataset.images[index].stem)], 21)


def test_coco_training_batch(real):
    data = COCO(str(real("coco")), num_workers=0)
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    assert batch["image"].shape == (4, 3, 480, 480)
    assert (batch["label"].unsqueeze(1)[~batch["region"]] == 255).all()


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

"""The real data sets, where they are: the folder that the environment variable SADDLE_DATA names."""

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
def data():
    """Gives the path of a data set below the folder, or skips the test."""
    if not os.environ.get("SADDLE_DATA"):
        pytest.skip("SADDLE_DATA names no folder with real data sets")

    def data(name):
        path = Path(os.environ["SADDLE_DATA"], name)
        if not path.is_dir():
            pytest.skip(f"SADDLE_DATA has no {name}")
        return path

    return data


def coco_content(root, split):
    return json.loads((root / "annotations" / f"instances_{split}2017.json").read_text())


@pytest.mark.parametrize("split", ["train", "val"])
def test_coco_label_maps_equal_those_built_another_way(data, split):
    root = data("coco")
    content = coco_content(root, split)
    dataset = COCO(str(root)).make_set("val" if split == "val" else "train")
    annotations = dataset.read_label.args[0]
    for image in content["images"]:  # with those that training leaves out
        assert np.array_equal(label_map(annotations, image["id"]), reference_label_map(content, image["id"])), image[
            "id"
        ]

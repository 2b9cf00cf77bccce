import bz2

import numpy as np
import pytest
import tiny_classification as tiny
import torch
from classified import as_stored, damage
from one_line import one_line
from torchvision.transforms.v2 import functional as F

from datamodules import USPS, DataError


@pytest.fixture
def root(tmp_path):
    tiny.write_usps(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("split", "file"), [("train", "usps"), ("val", "usps.t"), ("test", "usps.t")])
def test_images_are_the_lines_and_label_1_is_the_digit_0(root, split, file):
    dataset = as_stored(USPS(str(root), size=16).make_set(split))
    assert dataset.labels.tolist() == [label - 1 for label in tiny.USPS_LABELS[file]]
    for index, sample in enumerate(dataset):
        drawn = tiny.grey_drawing(f"{file}/{index}", 16, 16).astype(int)
        assert sample["image"].shape == (3, 16, 16) and sample["index"] == index
        assert all(np.abs(channel.numpy() - drawn).max() <= 1 for channel in sample["image"]), "of three decimals"


def test_paper_is_black_and_ink_is_white(root):
    line = "1 " + " ".join(f"{index}:{-1 if index <= 128 else 1}" for index in range(1, 257))
    (root / "usps.bz2").write_bytes(bz2.compress(f"{line}\n".encode()))
    image = as_stored(USPS(str(root), size=16).make_set("train"))[0]["image"]
    assert (image[:, :8] == 0).all() and (image[:, 8:] == 255).all()


def test_the_frame_is_filled_unless_another_layout_is_asked_for(root):
    for options in ({}, {"layout": "frame"}):
        dataset = as_stored(USPS(str(root), size=28, **options).make_set("val"))
        stored = as_stored(USPS(str(root), size=16).make_set("val"))
        for sample, original in zip(dataset, stored, strict=True):
            assert torch.equal(sample["image"], F.resize(original["image"], [28, 28], antialias=True))


@pytest.mark.parametrize(("size", "box", "before"), [(28, 20, 4), (32, 23, 4), (16, 11, 2)])
def test_a_margin_is_that_of_mnist(root, size, box, before):
    """A box of 20 of 28 pixels, in the middle."""
    dataset = as_stored(USPS(str(root), size=size, layout="margin").make_set("val"))
    stored = as_stored(USPS(str(root), size=16).make_set("val"))
    for sample, original in zip(dataset, stored, strict=True):
        image, inside = sample["image"].clone(), (..., slice(before, before + box), slice(before, before + box))
        assert torch.equal(image[inside], F.resize(original["image"], [box, box], antialias=True))
        image[inside] = 0
        assert sample["image"].shape == (3, size, size) and not image.any()


def write_digits(root, *digits):
    """Digits of (top, bottom, left, right) in ink."""
    lines = []
    for label, (top, bottom, left, right) in enumerate(digits, start=1):
        image = np.full((16, 16), -1.0)
        image[top:bottom, left:right] = 1
        values = (f"{index}:{value:g}" for index, value in enumerate(image.ravel(), 1))
        lines.append(f"{label} " + " ".join(values))
    (root / "usps.bz2").write_bytes(bz2.compress("\n".join(lines).encode()))


def test_the_centre_of_mass_may_be_in_the_middle_as_in_mnist(root):
    write_digits(root, (0, 16, 3, 7), (2, 9, 0, 16), (12, 16, 12, 16), (0, 16, 0, 16), (4, 12, 4, 12), (0, 0, 0, 0))
    dataset = as_stored(USPS(str(root), size=28, layout="mass").make_set("train"))
    places = torch.arange(28) + 0.5
    for sample in list(dataset)[:5]:
        ink = sample["image"][0].double()
        row, column = ((ink.sum(axis) @ places.double()) / ink.sum() for axis in (1, 0))
        reach = 4 if sample["label"] == 2 else 0.51  # a box stays inside of its image
        assert abs(row - 14) <= reach and abs(column - 14) <= reach
    margin = as_stored(USPS(str(root), size=28, layout="margin").make_set("train"))
    for sample, other in zip(dataset, margin, strict=True):
        assert sample["image"].sum() == other["image"].sum(), "no ink is lost"
    assert torch.equal(dataset[4]["image"], margin[4]["image"]) and not dataset[5]["image"].any()


@pytest.mark.parametrize(("split", "file"), [("train", "usps.bz2"), ("test", "usps.t.bz2")])
@pytest.mark.parametrize("how", ["cut", "empty", "page"])
def test_a_damaged_file_is_named(root, split, file, how):
    damage(root / file, how)
    with pytest.raises(DataError, match=one_line(root / file, "broken", "fetch it again")):
        USPS(str(root)).make_set(split)


def test_a_line_of_too_few_pixels_is_told(root):
    (root / "usps.bz2").write_bytes(bz2.compress(b"1 1:0 2:0\n"))
    with pytest.raises(DataError, match=one_line(root / "usps.bz2", "broken", "fetch it again")):
        USPS(str(root)).make_set("train")


def test_a_missing_file_is_named_and_the_other_split_can_be_read(root):
    (root / "usps.t.bz2").unlink()
    with pytest.raises(DataError, match=one_line(root / "usps.t.bz2", "not found", "complete?")):
        USPS(str(root)).make_set("val")
    assert len(USPS(str(root)).make_set("train")) == 8

import bz2

import numpy as np
import pytest
import tiny_classification as tiny
from classified import as_stored, damage
from one_line import one_line

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

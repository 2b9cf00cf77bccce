import struct

import numpy as np
import pytest
import tiny_classification as tiny
from classified import as_stored, damage
from one_line import one_line

from datamodules import MNIST, DataError

SPLITS = [("train", "train"), ("val", "t10k"), ("test", "t10k")]


@pytest.fixture
def root(tmp_path):
    tiny.write_mnist(tmp_path)
    return tmp_path


def raw(root, name):
    return root / "MNIST" / "raw" / name


@pytest.mark.parametrize(("split", "file"), SPLITS)
def test_images_and_labels_are_the_files(root, split, file):
    dataset = as_stored(MNIST(str(root), size=28).make_set(split))
    assert dataset.labels.tolist() == list(tiny.MNIST_LABELS[file])
    for index, sample in enumerate(dataset):
        drawn = tiny.grey_drawing(f"{file}-images-idx3-ubyte/{index}", 28, 28)
        assert sample["image"].shape == (3, 28, 28) and sample["index"] == index
        assert all(np.array_equal(channel, drawn) for channel in sample["image"])


@pytest.mark.parametrize("folder", ["", "MNIST", "MNIST/raw"])
def test_the_files_may_lie_in_torchvisions_folders_or_in_root(root, folder):
    assert MNIST(str(root / folder)).make_set("val").labels.tolist() == list(tiny.MNIST_LABELS["t10k"])


def test_files_still_packed_are_told(tmp_path):
    tiny.write_mnist(tmp_path, gz=True)
    with pytest.raises(DataError, match=one_line("t10k-images-idx3-ubyte", "not found", "unpack", ".gz")):
        MNIST(str(tmp_path)).make_set("val")


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"])
@pytest.mark.parametrize("how", ["cut", "empty", "page"])
def test_a_damaged_file_is_named(root, name, how):
    damage(raw(root, name), how)
    with pytest.raises(DataError, match=one_line(raw(root, name), "broken", "fetch it again")):
        MNIST(str(root)).make_set("train")


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"])
def test_a_missing_file_is_named(root, name):
    raw(root, name).unlink()
    with pytest.raises(DataError, match=one_line(name, "not found")):
        MNIST(str(root)).make_set("train")


def test_files_in_each_others_place_are_told(root):
    raw(root, "train-labels-idx1-ubyte").write_bytes(raw(root, "t10k-labels-idx1-ubyte").read_bytes())
    with pytest.raises(DataError, match=one_line(root, "10 images and 5 labels")):
        MNIST(str(root)).make_set("train")


def test_a_label_that_is_no_digit_is_told(root):
    raw(root, "t10k-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 0x801, 5) + bytes([0, 9, 10, 1, 2]))
    with pytest.raises(DataError, match=one_line(root, "label 10 ", "10 classes")):
        MNIST(str(root)).make_set("val")

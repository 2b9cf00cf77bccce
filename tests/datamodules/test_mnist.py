import gzip
import os
import struct

import numpy as np
import pytest
import tiny_classification as tiny
import torch
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


@pytest.mark.parametrize("split", ["train", "val"])
def test_packed_files_are_read_as_they_are_fetched(tmp_path, split):
    tiny.write_mnist(tmp_path / "unpacked")
    tiny.write_mnist(tmp_path / "packed", gz=True)
    unpacked, packed = (MNIST(str(tmp_path / name)).make_set(split) for name in ("unpacked", "packed"))
    assert torch.equal(packed.images, unpacked.images) and np.array_equal(packed.labels, unpacked.labels)


@pytest.mark.parametrize(
    "change",
    [
        lambda name: name.replace("-idx", ".idx"),
        lambda name: f"{name}/{name}",
        lambda name: f"{name}/{name}".replace("-idx", ".idx"),
        lambda name: f"{name}.gz",
    ],
    ids=["dots", "folders", "dots and folders", "unpacked by a browser that kept the name"],
)
def test_files_may_be_called_as_others_call_them(root, tmp_path, change):
    expected = MNIST(str(root)).make_set("val")
    for path in raw(root, "").iterdir():
        other = tmp_path / "other" / change(path.name)
        other.parent.mkdir(parents=True, exist_ok=True)
        path.rename(other)
    dataset = MNIST(str(tmp_path / "other")).make_set("val")
    assert torch.equal(dataset.images, expected.images) and np.array_equal(dataset.labels, expected.labels)


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"])
@pytest.mark.parametrize("how", ["cut", "empty", "page", "a byte", "rest"])
def test_a_damaged_packed_file_is_named(tmp_path, name, how):
    tiny.write_mnist(tmp_path, gz=True)
    content = raw(tmp_path, name).read_bytes()
    if how == "a byte":
        raw(tmp_path, name).write_bytes(content[:-8] + bytes([255 - content[-8]]) + content[-7:])
    elif how == "rest":
        raw(tmp_path, name).write_bytes(gzip.compress(gzip.decompress(content) + b"\0"))
    else:
        damage(raw(tmp_path, name), how)
    with pytest.raises(DataError, match=one_line(raw(tmp_path, name), "broken", "fetch it again")):
        MNIST(str(tmp_path)).make_set("train")


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("shape", [(2**32 - 1, 28, 28), (2**32 - 1,) * 3, (10, 28, 29), (10, 27, 28), (0, 28, 28)])
def test_a_header_that_does_not_fit_is_told_before_memory_is_taken(root, pack, shape):
    path = raw(root, "train-images-idx3-ubyte")
    path.write_bytes(pack(struct.pack(">4I", 0x803, *shape) + path.read_bytes()[16:]))
    with pytest.raises(DataError, match=one_line(path, "its header tells of")):
        MNIST(str(root)).make_set("train")


def test_a_pipe_in_place_of_a_file_is_told(root):
    raw(root, "train-images-idx3-ubyte").unlink()
    os.mkfifo(raw(root, "train-images-idx3-ubyte"))
    with pytest.raises(DataError, match=one_line("train-images-idx3-ubyte", "not found")):
        MNIST(str(root)).make_set("train")


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

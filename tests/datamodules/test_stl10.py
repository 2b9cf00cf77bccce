import os

import numpy as np
import pytest
import tiny_classification as tiny
from classified import as_stored, damage
from one_line import one_line

from datamodules import STL10, DataError


@pytest.fixture
def root(tmp_path):
    tiny.write_stl10(tmp_path)
    return tmp_path


def stored(root, name):
    return root / "stl10_binary" / name


@pytest.mark.parametrize(("split", "file"), [("train", "train"), ("val", "test"), ("test", "test")])
def test_images_are_upright_and_labels_count_from_0(root, split, file):
    dataset = as_stored(STL10(str(root)).make_set(split))
    assert dataset.labels.tolist() == [label - 1 for label in tiny.STL10_LABELS[file]]
    for index, sample in enumerate(dataset):
        assert sample["index"] == index
        drawn = tiny.drawing(f"{file}_X.bin/{index}", 96, 96)
        assert np.array_equal(sample["image"].numpy().transpose(1, 2, 0), drawn)


def test_the_classes_are_those_of_the_list():
    assert STL10.classes == tiny.STL10_CLASSES


@pytest.mark.parametrize("name", ["class_names.txt", "fold_indices.txt", "test_X.bin", "test_y.bin"])
def test_training_needs_its_two_files_alone(root, name):
    stored(root, name).unlink()
    assert len(STL10(str(root)).make_set("train")) == 6


@pytest.mark.parametrize("name", ["train_X.bin", "train_y.bin"])
def test_a_missing_file_is_named(root, name):
    stored(root, name).unlink()
    with pytest.raises(DataError, match=one_line(stored(root, name), "not found", "complete?")):
        STL10(str(root)).make_set("train")


@pytest.mark.parametrize("how", ["page", "cut"])
def test_a_file_that_breaks_off_within_an_image_is_named(root, how):
    path = stored(root, "train_X.bin")
    path.write_bytes(path.read_bytes()[:-96])
    damage(path, how)
    with pytest.raises(DataError, match=one_line(path, "broken", "fetch it again")):
        STL10(str(root)).make_set("train")


@pytest.mark.parametrize(
    ("name", "told"), [("train_X.bin", "3 images and 6 labels"), ("train_y.bin", "6 images and 3 labels")]
)
def test_a_file_that_breaks_off_after_an_image_is_told(root, name, told):
    damage(stored(root, name), "cut")
    with pytest.raises(DataError, match=one_line(root, told, "train split", "fetch the data set again")):
        STL10(str(root)).make_set("train")


def test_a_label_of_no_class_is_told(root):
    stored(root, "train_y.bin").write_bytes(bytes([2, 10, 1, 11, 8, 3]))
    with pytest.raises(DataError, match=one_line(root, "label 10 ", "10 classes")):
        STL10(str(root)).make_set("train")


def test_a_label_of_0_is_no_class(root):
    """Classes are stored from 1."""
    stored(root, "train_y.bin").write_bytes(bytes([2, 0, 1, 5, 8, 3]))
    with pytest.raises(DataError, match=one_line(root, "label -1 ", "10 classes")):
        STL10(str(root)).make_set("train")


def test_side_files_are_passed_over(root):
    for name in ("Thumbs.db", ".DS_Store", "class_names.txt", "fold_indices.txt"):
        stored(root, name).write_bytes(b"\xff\xfe no list")
    assert len(STL10(str(root)).make_set("train")) == 6


@pytest.mark.parametrize("name", ["train_X.bin", "train_y.bin"])
def test_a_pipe_in_place_of_a_file_is_told(root, name):
    stored(root, name).unlink()
    os.mkfifo(stored(root, name))
    with pytest.raises(DataError, match=one_line(stored(root, name), "pipe")):
        STL10(str(root)).make_set("train")

import numpy as np
import pytest
import tiny_classification as tiny
from classified import check_files, damage
from one_line import one_line
from scipy.io import savemat

from datamodules import DataError, Flowers102

SPLITS = [("train", "trnid"), ("val", "valid"), ("test", "tstid")]


@pytest.fixture
def root(tmp_path):
    tiny.write_flowers102(tmp_path)
    return tmp_path


def stored(root, name):
    return root / "flowers-102" / name


def expected(numbers):
    return [(f"flowers-102/jpg/image_{number:05}.jpg", tiny.FLOWERS102_LABELS[number - 1] - 1) for number in numbers]


@pytest.mark.parametrize(("split", "file"), SPLITS)
def test_each_split_has_its_own_images_in_the_order_of_its_list(root, split, file):
    check_files(Flowers102(str(root)).make_set(split), root, expected(tiny.FLOWERS102_SPLITS[file]))


def test_there_are_102_species_in_the_order_of_their_numbers():
    assert len(Flowers102.classes) == 102
    assert (Flowers102.classes[0], Flowers102.classes[76], Flowers102.classes[101]) == (
        "pink primrose", "passion flower", "blackberry lily",
    )  # fmt: skip


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float64])
def test_the_lists_may_hold_one_image_and_numbers_of_any_kind(root, kind):
    savemat(stored(root, "setid.mat"), {"valid": np.array([[5]], dtype=kind)})
    savemat(stored(root, "imagelabels.mat"), {"labels": np.array([tiny.FLOWERS102_LABELS], dtype=kind)})
    check_files(Flowers102(str(root)).make_set("val"), root, expected([5]))


@pytest.mark.parametrize("name", ["imagelabels.mat", "setid.mat"])
def test_a_missing_file_is_named(root, name):
    stored(root, name).unlink()
    with pytest.raises(DataError, match=one_line(stored(root, name), "not found", "flowers-102/")):
        Flowers102(str(root)).make_set("train")


@pytest.mark.parametrize("name", ["imagelabels.mat", "setid.mat"])
@pytest.mark.parametrize("how", ["cut", "empty", "page"])
def test_a_damaged_file_is_named(root, name, how):
    damage(stored(root, name), how)
    with pytest.raises(DataError, match=one_line(stored(root, name), "broken", "fetch it again")):
        Flowers102(str(root)).make_set("train")


def test_another_mat_file_is_named(root):
    stored(root, "setid.mat").write_bytes(stored(root, "imagelabels.mat").read_bytes())
    with pytest.raises(DataError, match=one_line(stored(root, "setid.mat"), "another format", "trnid")):
        Flowers102(str(root)).make_set("train")


def test_an_image_without_a_label_is_told(root):
    savemat(stored(root, "imagelabels.mat"), {"labels": np.array([tiny.FLOWERS102_LABELS[:9]], dtype=np.uint8)})
    with pytest.raises(DataError, match=one_line(stored(root, "imagelabels.mat"), "no label for image 10;")):
        Flowers102(str(root)).make_set("test")
    assert len(Flowers102(str(root)).make_set("train")) == 3


@pytest.mark.parametrize("label", [0, 103])
def test_a_label_of_no_species_is_told(root, label):
    savemat(stored(root, "imagelabels.mat"), {"labels": np.full((1, 10), label, dtype=np.uint8)})
    with pytest.raises(DataError, match=one_line(root, f"label {label - 1} ", "102 classes")):
        Flowers102(str(root)).make_set("train")


def test_a_split_of_no_images_is_told(root):
    savemat(stored(root, "setid.mat"), {"trnid": np.zeros((1, 0), dtype=np.uint16)})
    with pytest.raises(DataError, match=one_line("no images", "unpack")):
        Flowers102(str(root)).make_set("train")


def test_an_image_numbered_0_is_told_and_not_taken_for_the_last(root):
    savemat(stored(root, "setid.mat"), {"trnid": np.array([[1, 0]], dtype=np.uint16)})
    with pytest.raises(DataError, match=one_line("image_00000.jpg", "listed but absent")):
        Flowers102(str(root)).make_set("train")


def test_labels_that_are_no_whole_numbers_are_told(root):
    savemat(stored(root, "imagelabels.mat"), {"labels": np.array([tiny.FLOWERS102_LABELS]) + 0.5})
    with pytest.raises(DataError, match=one_line(stored(root, "imagelabels.mat"), "no whole numbers")):
        Flowers102(str(root)).make_set("train")

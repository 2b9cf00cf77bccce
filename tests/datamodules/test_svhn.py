import numpy as np
import pytest
import tiny_classification as tiny
from classified import as_stored, damage
from one_line import one_line
from scipy.io import loadmat, savemat

from datamodules import SVHN, DataError


@pytest.fixture
def root(tmp_path):
    tiny.write_svhn(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("split", "file"), [("train", "train"), ("val", "test"), ("test", "test")])
def test_images_and_labels_are_the_files_and_label_10_is_the_digit_0(root, split, file):
    dataset = as_stored(SVHN(str(root)).make_set(split))
    assert dataset.labels.tolist() == [0 if label == 10 else label for label in tiny.SVHN_LABELS[file]]
    for index, sample in enumerate(dataset):
        assert sample["index"] == index
        drawn = tiny.drawing(f"{file}_32x32.mat/{index}", 32, 32)
        assert np.array_equal(sample["image"].numpy().transpose(1, 2, 0), drawn)


def rewrite(path, change):
    content = loadmat(path)
    savemat(path, change(content["X"], content["y"]))


def test_a_copy_of_one_image_is_read(root):
    rewrite(root / "train_32x32.mat", lambda x, y: {"X": x[..., :1], "y": y[:1]})
    dataset = SVHN(str(root)).make_set("train")
    assert len(dataset) == 1 and dataset.labels.tolist() == [1]


@pytest.mark.parametrize("how", ["cut", "empty", "page"])
def test_a_damaged_file_is_named(root, how):
    damage(root / "train_32x32.mat", how)
    with pytest.raises(DataError, match=one_line(root / "train_32x32.mat", "broken", "fetch it again")):
        SVHN(str(root)).make_set("train")


@pytest.mark.parametrize(
    "change",
    [
        lambda x, y: {"X": x},
        lambda x, y: {"images": x, "y": y},
        lambda x, y: {"X": x[0], "y": y},
    ],
)
def test_a_mat_file_of_another_layout_is_named(root, change):
    rewrite(root / "train_32x32.mat", change)
    with pytest.raises(DataError, match=one_line(root / "train_32x32.mat", "another format", "fetch it again")):
        SVHN(str(root)).make_set("train")


@pytest.mark.parametrize("label", [11, 20, 255])
def test_a_label_that_is_no_digit_is_told_and_not_taken_for_one(root, label):
    rewrite(root / "train_32x32.mat", lambda x, y: {"X": x, "y": np.full_like(y, label)})
    with pytest.raises(DataError, match=one_line(root, f"label {label} ", "10 classes")):
        SVHN(str(root)).make_set("train")


def test_images_that_are_no_bytes_are_told(root):
    rewrite(root / "train_32x32.mat", lambda x, y: {"X": x / 255, "y": y})
    with pytest.raises(DataError, match=one_line(root, "float64")):
        SVHN(str(root)).make_set("train")


def test_a_missing_file_is_named_and_the_other_split_can_be_read(root):
    (root / "test_32x32.mat").unlink()
    with pytest.raises(DataError, match=one_line(root / "test_32x32.mat", "not found", "complete?")):
        SVHN(str(root)).make_set("val")
    assert len(SVHN(str(root)).make_set("train")) == 8


def test_labels_may_be_of_type_double(root):
    expected = SVHN(str(root)).make_set("train").labels.tolist()
    rewrite(root / "train_32x32.mat", lambda x, y: {"X": x, "y": y.astype(float) + 0})
    assert SVHN(str(root)).make_set("train").labels.tolist() == expected
    rewrite(root / "train_32x32.mat", lambda x, y: {"X": x, "y": y.astype(float) + 0.5})
    with pytest.raises(DataError, match=one_line(root, "no whole numbers")):
        SVHN(str(root)).make_set("train")

import warnings

import numpy as np
import pytest
from one_line import one_line
from PIL import Image

from datamodules import class_check
from datamodules.class_check import DataError, check_classes
from datamodules.label_values import LabelValues
from datamodules.samples import LabelFiles, LabelledImages
from datamodules.transforms import Resize

CLASSES = ("background", "cat", "dog")


@pytest.fixture
def check(tmp_path):
    """Looks at label maps of one row each."""

    def check(*rows, own_files=True, split="train", values=None, void=(), classes=CLASSES):
        paths = [tmp_path / f"{i}.png" for i in range(len(rows))]
        for path, row in zip(paths, rows, strict=True):
            Image.fromarray(np.array([row], dtype=np.uint8)).save(path)
        read = LabelFiles(paths, LabelValues(classes, values, void))
        check_classes(LabelledImages(paths, read, len(classes), Resize(None)), classes, split, own_files)

    return check


@pytest.fixture
def silent():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.parametrize("own_files", [False, True])
def test_nothing_is_said_where_every_class_occurs(check, silent, own_files):
    check([0, 1, 255], [2, 2, 2], own_files=own_files)
    check([1, 2, 3], values={1: "background", 2: "cat", 3: "dog"}, own_files=own_files)


@pytest.mark.parametrize("split", ["train", "val", "test"])
@pytest.mark.parametrize("rows", [([0, 255], [0, 0]), ([255, 255],), ([0, 1, 255],)])
def test_255_in_the_place_of_a_class_is_an_error(check, split, rows):
    with pytest.raises(DataError, match=one_line("no pixel of", "dog", f"all {len(rows)}", "255: dog", "void [255]")):
        check(*rows, split=split)


@pytest.mark.parametrize("options", [{"void": [255]}, {"values": {0: "background", 1: "cat", 255: None}}])
def test_a_255_that_is_said_to_be_void_is_taken(check, options):
    with pytest.warns(UserWarning, match=one_line("no pixel of dog in all 1 label maps", "val")):
        check([0, 1, 255], split="val", **options)


def test_published_sets_know_what_their_255_is(check):
    with pytest.warns(UserWarning, match=one_line("no pixel of cat, dog")):
        check([0, 255], own_files=False)


def test_a_class_that_does_not_occur_in_a_part_of_a_data_set_is_a_warning(check):
    with pytest.warns(UserWarning, match=one_line("no pixel of dog in all 2 label maps", "train")):
        check([0, 1], [0, 0])
    with pytest.warns(UserWarning, match=one_line("no pixel of cat, dog")):
        check([0, 0], split="val")


def test_a_training_set_of_one_class_is_an_error(check):
    with pytest.raises(DataError, match=one_line("no pixel of cat, dog", "all are background", "--data.values")):
        check([0, 0], [0, 0])


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_set_of_nothing_but_void_is_an_error(check, split):
    with pytest.raises(DataError, match=one_line("no pixel of background, cat, dog", "--data.values")):
        check([5, 5], split=split, void=[5])


def test_only_some_label_maps_of_a_large_set_are_looked_at(check, monkeypatch):
    monkeypatch.setattr(class_check, "MOST_MAPS", 4)
    many = [[0, 1, 255]] * 9
    with pytest.warns(UserWarning, match=one_line("no pixel of dog in the 4 of 9 label maps looked at")):
        check(*many)
    with pytest.raises(DataError, match=one_line("no pixel of cat, dog in the 4 of 9", "255")):
        check(*[[0, 255]] * 9)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check(*many, own_files=False)


def test_the_look_ends_with_the_last_class_or_after_many_pixels(check, monkeypatch):
    read = []
    monkeypatch.setattr(
        LabelFiles, "stored", lambda self, index: read.append(index) or np.array([[0, 1, 2 - index % 2]])
    )
    check(*[[0]] * 9)
    assert read == [0]
    read.clear()
    monkeypatch.setattr(class_check, "MOST_PIXELS", 10)
    monkeypatch.setattr(LabelFiles, "stored", lambda self, index: read.append(index) or np.array([[0, 1, 1]]))
    with pytest.warns(UserWarning, match="the 4 of 9"):
        check(*[[0]] * 9)
    assert len(read) == 4


def test_a_label_outside_the_classes_is_told_before_training(check):
    with pytest.raises(DataError, match=one_line("0.png", "label 7 outside the 3 classes")):
        check([0, 7])


def test_more_than_five_names_are_counted(check):
    with pytest.warns(UserWarning, match=one_line("no pixel of c2, c3, c4, c5, c6 and 3 more in")):
        check([0, 1], classes=[f"c{i}" for i in range(10)])

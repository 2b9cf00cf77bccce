import pickle
from pathlib import Path

import numpy as np
import pytest
from one_line import one_line

from datamodules.label_values import DataError, LabelValues

PATH = Path("labels/a.png")
CITYSCAPES = {7: "road", 8: "sidewalk", 11: "building", "other": None}


def apply(values, stored, dtype=np.uint8):
    return values(np.array(stored, dtype=dtype), PATH).tolist()


def number(red, green, blue):
    return red << 16 | green << 8 | blue


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.int64])
@pytest.mark.parametrize(
    ("values", "void", "stored", "labels"),
    [
        ({0: "road", 255: "building"}, [], [0, 255], [0, 2]),
        ({"0": "road", "255": "building"}, [], [0, 255], [0, 2]),
        ({1: "road", 2: "sidewalk", 3: None}, [], [1, 2, 3, 255], [0, 1, 255, 255]),
        ({1: "building", 2: "building"}, [0, 9], [0, 1, 2, 9], [255, 2, 2, 255]),
        (CITYSCAPES, [], [0, 7, 8, 11, 33, 255], [255, 0, 1, 2, 255, 255]),
        ({0: None, "other": "road"}, [], [0, 1, 200], [255, 0, 0]),
        (None, [11], [0, 2, 11, 255], [0, 2, 255, 255]),
        (None, [], [0, 2, 255], [0, 2, 255]),
    ],
)
def test_values_become_the_labels_of_their_classes(dtype, values, void, stored, labels):
    assert apply(LabelValues(["road", "sidewalk", "building"], values, void), stored, dtype) == labels


def test_large_values_have_classes_too():
    values = LabelValues(["a", "b"], {1000: "a", 65535: "b"})
    assert apply(values, [1000, 65535], np.uint16) == [0, 1]


@pytest.mark.parametrize("road", ["128,64,128", "#804080", "(128, 64, 128)"])
def test_colours_become_the_labels_of_their_classes(road):
    values = LabelValues(["road", "tree"], {road: "road", "0,128,0": "tree", "0,0,0": None})
    assert values.colours and not LabelValues(["a"]).colours
    stored = [[number(128, 64, 128), number(0, 128, 0)], [0, 0]]
    assert apply(values, stored, np.int32) == [[0, 1], [255, 255]]
    assert apply(pickle.loads(pickle.dumps(values)), stored, np.int32) == [[0, 1], [255, 255]]


def test_a_worker_is_not_sent_the_table():
    values = LabelValues(["road"], {"1,2,3": "road"})
    apply(values, [number(1, 2, 3)], np.int32)
    assert len(pickle.dumps(values)) < 1000


@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_a_value_that_is_not_in_the_mapping_is_told(dtype):
    values = LabelValues(["a", "b"], {0: "a", 1: "b"})
    with pytest.raises(DataError, match=one_line(PATH, "value 128", "--data.values", "null")):
        apply(values, [0, 1, 128], dtype)


@pytest.mark.parametrize("value", [-1, 65536, 2**40])
def test_a_value_of_no_table_is_told_too(value):
    with pytest.raises(DataError, match=one_line(PATH, f"value {value},", "--data.values")):
        apply(LabelValues(["a"], {0: "a"}), [0, value], np.int64)
    assert apply(LabelValues(["a"], {0: "a", "other": None}), [0, value], np.int64) == [0, 255]


def test_a_colour_that_is_not_in_the_mapping_is_told():
    with pytest.raises(DataError, match=one_line(PATH, "colour 1,2,255", "--data.values")):
        apply(LabelValues(["a"], {"0,0,0": "a"}), [0, number(1, 2, 255)], np.int32)


def test_without_a_mapping_a_value_outside_the_classes_is_told_as_ever():
    with pytest.raises(DataError, match=one_line(PATH, "label 3 outside the 2 classes 0..1", "255 (void)")):
        apply(LabelValues(["a", "b"], void=[7]), [0, 7, 3])


@pytest.mark.parametrize("key", ["red", "1,2", "1,2,256", "#12345", -1, 65536, 1.5, True, None, "", "1,2,3,4"])
def test_what_is_neither_value_nor_colour_is_told(key):
    with pytest.raises(DataError, match=one_line("--data.values", repr(key), "neither a value")):
        LabelValues(["a"], {key: "a"})


@pytest.mark.parametrize(
    ("values", "void", "told"),
    [
        ({0: "c"}, [], ("no class 'c'", "a, b")),
        ({0: "a", "0": "b"}, [], ("0 is named twice",)),
        ({"0,0,0": "a", "#000000": "b"}, [], ("#000000 is named twice",)),
        ({0: "a", "0,0,0": "b"}, [], ("colours, and values",)),
        ({"0,0,0": "a"}, [0], ("colours, and values or --data.void",)),
        ({0: "a", 1: "b"}, [1], ("--data.void: 1 is in --data.values",)),
    ],
)
def test_what_contradicts_itself_is_told(values, void, told):
    with pytest.raises(DataError, match=one_line(*told)):
        LabelValues(["a", "b"], values, void)


def test_two_classes_of_one_name_are_told():
    with pytest.raises(DataError, match=one_line("--data.classes", "two are called a")):
        LabelValues(["a", "b", "a"])


@pytest.mark.parametrize(
    ("values", "void", "says"),
    [(None, [], False), ({0: "a"}, [], False), (None, [255], True), ({0: "a", 255: None}, [], True)],
)
def test_whether_anyone_said_what_255_is(values, void, says):
    assert LabelValues(["a"], values, void).says_what_255_is == says

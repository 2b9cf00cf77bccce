import copy
import json

import pytest
from coco_content import SQUARE, record
from one_line import one_line

from datamodules import coco_records
from datamodules.images import DataError

NAMED = ("instances.json", "fetch")
"""The file and the remedy."""


@pytest.mark.parametrize(
    "text",
    [
        b"", b"null", b"5", b'"text"', b"[]", b"{}", b"<html>", b"\x1f\x8b\x08\x00\xff\xfe", b'{"images": [{"id": 1,',
        b'{"images": []} x', b"[" * 100_000, b'{"a":' * 100_000, b'{"images": [], "annotations": {}, "categories": []}',
        b'{"images": "\xe4"}', b"\n\n",
    ],
)  # fmt: skip
def test_a_file_of_another_format_is_told(read, text):
    with pytest.raises(DataError, match=one_line(*NAMED)):
        read(text)


def test_a_file_is_refused_wherever_it_was_cut(read, content):
    text = json.dumps(content)
    for end in range(0, len(text), 97):
        with pytest.raises(DataError, match=one_line(*NAMED)):
            read(text[:end])


@pytest.mark.parametrize("kind", ["images", "annotations", "categories"])
@pytest.mark.parametrize("value", [None, 5, "text", {}, [None], [5], ["text"], [[]], [{}]])
def test_lists_of_something_else_than_records_are_told(read, content, kind, value):
    with pytest.raises(DataError, match=one_line(*NAMED[:1], kind, *NAMED[1:])):
        read({**content, kind: value})


KEYS = [
    *(("images", key) for key in ("id", "file_name", "height", "width")),
    *(("annotations", key) for key in ("id", "image_id", "category_id", "area", "segmentation")),
    *(("categories", key) for key in ("id", "name")),
]
OF_TYPE = {"file_name": "", "name": "", "area": 1.0, "segmentation": []}
ODD = [None, True, "text", "7", 7.5, 7.0, float("nan"), [], [7], {}, "\ud800"]
"""What a key may hold instead of a whole number; some of it looks like one."""


@pytest.mark.parametrize(("kind", "key"), KEYS)
def test_a_missing_key_is_told(read, content, kind, key):
    del content[kind][-1][key]
    with pytest.raises(DataError, match=one_line("instances.json", f"of {kind} has no {key}", "fetch")):
        read(content)


@pytest.mark.parametrize(("kind", "key"), KEYS)
def test_a_key_of_another_type_is_told(read, content, kind, key):
    for value in ODD:
        if type(value) is not type(OF_TYPE.get(key, 0)) and not (key == "segmentation" and value == {}):
            changed = copy.deepcopy(content)
            changed[kind][-1][key] = value
            with pytest.raises(DataError, match=one_line("instances.json", f"of {kind} has the {key} ", "fetch")):
                read(changed)


@pytest.mark.parametrize("side", ["height", "width"])
@pytest.mark.parametrize("pixels", [0, -12, 2**32, 10**30])
def test_an_impossible_size_is_told(read, content, side, pixels):
    content["images"][0][side] = pixels
    with pytest.raises(DataError, match=one_line("instances.json", "image 8 ", pixels, "fetch")):
        read(content)


@pytest.mark.parametrize("area", ["NaN", "Infinity", "-Infinity", "1e999", "1" + "0" * 400, "1" + "0" * 5000])
def test_an_impossible_area_is_told(read, content, area):
    content["annotations"][0]["area"] = "@"
    with pytest.raises(DataError, match=one_line(*NAMED)):
        read(json.dumps(content).replace('"@"', area))


@pytest.mark.parametrize(
    ("kind", "key", "value"), [("images", "id", 2**70), ("images", "id", -(2**70)), ("images", "file_name", "\ud800")]
)
def test_what_no_array_can_hold_is_told(read, content, kind, key, value):
    content[kind][0][key] = value
    with pytest.raises(DataError, match=one_line(*NAMED)):
        read(content)


def test_segmentations_of_categories_that_are_not_asked_for_are_not_looked_at(read, content):
    content["annotations"].append(record([[1]], category_id=22))
    assert read(content).label_map(0).any()


@pytest.mark.parametrize(("key", "value"), [("image_id", 9), ("category_id", 12), ("category_id", 10**30)])
def test_an_annotation_of_something_absent_is_told(read, content, key, value):
    content["annotations"].append(record([SQUARE], **{key: value, "id": 101}))
    with pytest.raises(DataError, match=one_line("instances.json", "annotation 101 ", value, "fetch")):
        read(content)


@pytest.mark.parametrize("kind", ["images", "annotations", "categories"])
def test_two_records_of_one_id_are_told(read, content, kind):
    content[kind].append(copy.deepcopy(content[kind][0]))
    name = f"two of its {kind} have the id {content[kind][0]['id']};"
    with pytest.raises(DataError, match=one_line("instances.json", name, "remove one")):
        read(content)


def test_other_categories_than_asked_for_are_told(read, content):
    content["categories"] = [{"id": number, "name": name} for number, name in enumerate(("Laptop", "person"), 1)]
    with pytest.raises(DataError, match=one_line("instances.json", "'airplane'", "19 of 20", "fetch")):
        read(content)


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), OSError(5, "Input/output error")])
def test_a_file_that_cannot_be_read_is_told(read, content, monkeypatch, error):
    def fail(path):
        raise error

    monkeypatch.setattr(coco_records, "Parts", fail)
    with pytest.raises(DataError, match=one_line("instances.json", error.strerror)):
        read(content)

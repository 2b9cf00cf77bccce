import copy
import json

import numpy as np
import pytest
from coco_content import LABELS, SIZE, SQUARE, record, small_content
from one_line import one_line
from pycocotools import mask

from datamodules import coco_records
from datamodules.coco_annotations import Annotations
from datamodules.coco_records import COCOS_OWN, read_records
from datamodules.images import DataError


@pytest.fixture
def content():
    return small_content()


@pytest.fixture
def read(tmp_path):
    """Reads content, a text or bytes as an annotation file."""

    def read(content):
        if not isinstance(content, bytes):
            content = (content if isinstance(content, str) else json.dumps(content)).encode()
        path = tmp_path / "instances.json"
        path.write_bytes(content)
        return Annotations(**read_records(path, LABELS, COCOS_OWN))

    return read


# Run lengths


def random_mask(seed):
    random = np.random.default_rng(seed)
    painted = random.random(SIZE) < random.random()
    return painted if seed % 3 else np.kron(painted[:3, :4], np.ones((4, 4), dtype=bool))


def in_run_lengths(painted, compressed):
    encoded = mask.encode(np.asfortranarray(painted.astype(np.uint8)))
    if compressed:
        return {"size": encoded["size"], "counts": encoded["counts"].decode()}
    flat = painted.ravel(order="F")
    bounds = np.flatnonzero(np.diff(np.concatenate([[0], flat]))).tolist()
    return {"size": encoded["size"], "counts": np.diff([0, *bounds, flat.size]).tolist()}


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_run_lengths_are_the_mask_they_encode(read, content, compressed, seed):
    painted = random_mask(seed)
    content["annotations"] = [record(in_run_lengths(painted, compressed))]
    assert np.array_equal(read(content).label_map(0), 15 * painted)


@pytest.mark.parametrize("painted", [np.zeros(SIZE, dtype=bool), np.ones(SIZE, dtype=bool)], ids=["nothing", "all"])
@pytest.mark.parametrize("compressed", [False, True])
def test_run_lengths_may_cover_nothing_or_all(read, content, compressed, painted):
    content["annotations"] = [record(in_run_lengths(painted, compressed))]
    assert np.array_equal(read(content).label_map(0), 15 * painted)


def test_compressed_run_lengths_of_a_large_mask_are_read(read, content):
    """Differences between runs of several characters, of both signs."""
    painted = np.zeros((700, 900), dtype=bool)
    for left, top, side in ((3, 5, 600), (650, 1, 2), (700, 90, 150), (890, 0, 10)):
        painted[top : top + side, left : left + side] = True
    content["images"][1] |= {"height": 700, "width": 900}
    content["annotations"] = [record(in_run_lengths(painted, compressed=True))]
    assert np.array_equal(read(content).label_map(0), 15 * painted)


def test_what_stands_beside_run_lengths_is_left_aside(read, content):
    content["annotations"] = [record({"comment": "abc", **in_run_lengths(random_mask(1), True)}, iscrowd=0)]
    assert np.array_equal(read(content).label_map(0), 15 * random_mask(1))


# What is refused

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


@pytest.mark.parametrize("pieces", [[[]], [[2, 2]], [[2, 2, 9, 9]], [[2, 2, 9, 9], []]])
def test_polygons_of_fewer_than_three_points_enclose_nothing(read, content, pieces):
    """pycocotools would take four numbers for a box."""
    before = read(content)
    content["annotations"] += [record([SQUARE, *pieces], id=101), record(pieces, id=102)]
    one, other = before.label_map(0), read(content).label_map(0)
    content["annotations"][-2:] = [record([SQUARE], id=101)]
    assert np.array_equal(other, read(content).label_map(0))
    assert not np.array_equal(other, one)


@pytest.mark.parametrize(
    "segmentation",
    [
        SQUARE, [[2]], [[*SQUARE, 2]], [SQUARE, [2, 2, 9]], [None], [5], ["222222"],
        [["2"] * 6], [[None] * 6], [[SQUARE]], [[[2, 2], [9, 2], [9, 9]]], [{}], [{"a": 1}], [SQUARE, {"counts": [1]}],
        [[float("nan"), *SQUARE[1:]]], [[*SQUARE[:3], float("nan"), *SQUARE[4:]]], [[float("inf"), *SQUARE[1:]]],
        [[float("-inf"), *SQUARE[1:]]], [[1e9, *SQUARE[1:]]], [[*SQUARE[:-1], -1e9]], [[1e300, *SQUARE[1:]]],
        [[10**400, *SQUARE[1:]]], [[[[[[]]]]]],
    ],
)  # fmt: skip
def test_polygons_that_cannot_be_drawn_are_told(read, content, segmentation):
    """An odd number of numbers, something else, or so far away that drawing takes all memory."""
    content["annotations"].append(record(segmentation, id=101))
    with pytest.raises(DataError, match=one_line("instances.json", "annotation 101 ", "polygon", "fetch")):
        read(content)


ALL = [SIZE[0] * SIZE[1]]
COMPRESSED = in_run_lengths(random_mask(1), compressed=True)["counts"]


@pytest.mark.parametrize(
    "segmentation",
    [
        {}, {"size": list(SIZE)}, {"counts": ALL}, {"counts": None, "size": list(SIZE)},
        *({"counts": ALL, "size": size} for size in (None, [], 192, "12,16", [12], [16, 12], [12, 16, 1], ["12"])),
        *(
            {"counts": counts, "size": list(SIZE)}
            for counts in (
                5, {}, [], [5], [*ALL, 1], [-5, ALL[0] + 5], [5, -10, ALL[0] + 5], [float(ALL[0])], [0.5, ALL[0] - 0.5],
                ["192"], [ALL], [None], [2**70], [float("nan")], True, "", "text, and no run lengths", "é" * 9, "\0",
                "\ud800", COMPRESSED[:-1], COMPRESSED[:-5], COMPRESSED + "1", COMPRESSED + "o", COMPRESSED + " ",
                COMPRESSED[:-1] + "o", "o" * 100 + "0", "O",
            )
        ),
    ],
)  # fmt: skip
def test_run_lengths_that_cannot_be_drawn_are_told(read, content, segmentation):
    """Of another size than the image, not adding up to it, or no run lengths at all."""
    content["annotations"].append(record(segmentation, id=101))
    with pytest.raises(DataError, match=one_line("instances.json", "annotation 101 ", "fetch")):
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

import numpy as np
import pytest
from coco_content import SIZE, SQUARE, record
from one_line import one_line
from pycocotools import mask

from datamodules.images import DataError


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

import numpy as np
import pytest

from callbacks.insight.boxes import box_of, centred_boxes, largest, overlaps
from callbacks.insight.components import components, filled, levels_of


def test_the_box_is_that_around_the_largest_component_with_its_holes_filled():
    heatmap = np.zeros((12, 20))
    heatmap[1:9, 2:10] = 0.6
    heatmap[2:8, 3:9] = 0.1  # of 28 pixels there are 64 when it is filled
    heatmap[4:10, 12:19] = 0.6  # 42
    heatmap[5, 5] = 1
    assert box_of(heatmap, 0.5).tolist() == [2, 1, 10, 9]
    assert box_of(heatmap, 0.1).tolist() == [2, 1, 10, 9]
    assert box_of(heatmap, 0.7).tolist() == [5, 5, 6, 6]
    assert box_of(heatmap, 0.0).tolist() == [0, 0, 20, 12]
    found = largest(components(filled(levels_of(heatmap))))
    for threshold in (0, 100, 500, 700, 999):
        assert found[threshold].tolist() == box_of(heatmap, threshold / 1000).tolist()


@pytest.mark.parametrize("heatmap", [np.zeros((4, 5)), np.full((4, 5), np.nan)])
def test_where_nothing_stands_out_there_is_no_box(heatmap):
    assert box_of(heatmap, 0.2).tolist() == [0, 0, 0, 0]


def test_overlaps_are_of_areas_or_with_both_ends():
    """By counting pixels."""

    def pixels(box, ends):
        shown = np.zeros((30, 30), dtype=bool)
        shown[box[1] : box[3] + ends, box[0] : box[2] + ends] = True
        return shown

    boxes = np.random.default_rng(0).integers(0, 14, (50, 4))
    boxes[:, 2:] += boxes[:, :2] + 1
    truth = np.array([4, 6, 17, 15])
    for ends in (0, 1):
        found = overlaps(boxes, truth.astype(float), ends)
        for box, value in zip(boxes, found, strict=True):
            one, other = pixels(box, ends), pixels(truth, ends)
            assert value == pytest.approx((one & other).sum() / (one | other).sum())
    assert overlaps(truth, truth.astype(float)) == 1


def test_an_empty_box_overlaps_with_nothing():
    empty, truth = np.zeros((1, 4)), np.array([0.0, 0.0, 5.0, 5.0])
    assert overlaps(empty, truth) == 0 and overlaps(empty, np.zeros(4)) == 0


def test_centred_boxes_have_shares_of_the_sides_and_the_middle_of_the_image():
    boxes = centred_boxes(50, 200)
    assert boxes.shape == (100, 100, 4)
    assert boxes[-1, -1].tolist() == [0, 0, 200, 50]
    assert boxes[19, 49] == pytest.approx([50, 20, 150, 30])  # a fifth of the height, half of the width

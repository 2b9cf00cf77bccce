import numpy as np
import pytest
from scipy import ndimage

from callbacks.insight.components import THRESHOLDS, components, filled, levels_of


def between_0_and_1(values):
    return (values - values.min()) / np.ptp(values)


def noise(*shape, sigma=0.0, seed=0):
    return between_0_and_1(ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), sigma))


def ring():
    """A bright ring with a dim point inside, and a bright bar beside it."""
    y, x = np.indices((24, 40))
    distance = np.hypot(y - 11, x - 12)
    return np.select([(distance > 6) & (distance < 9), distance < 2, (x > 30) & (y % 24 > 3)], [0.9, 0.5, 0.7], 0.0)


HEATMAPS = {
    "noise": noise(20, 23),
    "smooth": noise(40, 31, sigma=3),
    "steps": np.round(noise(25, 25, sigma=1), 1),
    "two_values": (noise(30, 30) > 0.6).astype(float),
    "ring": ring(),
    "flat": np.zeros((7, 5)),
    "a_row": noise(1, 30),
    "a_pixel": np.ones((1, 1)),
}


def one_by_one(heatmap, threshold, fill):
    """Area and box of each component, from the definition."""
    inside = heatmap >= threshold
    labels, _ = ndimage.label(ndimage.binary_fill_holes(inside) if fill else inside, np.ones((3, 3)))
    found = []
    for number, (rows, columns) in enumerate(ndimage.find_objects(labels), 1):
        found.append(((labels == number).sum(), (columns.start, rows.start, columns.stop, rows.stop)))
    return sorted(found)


@pytest.mark.parametrize("fill", [False, True])
@pytest.mark.parametrize("name", HEATMAPS)
def test_components_are_those_of_each_threshold_by_itself(name, fill):
    heatmap = HEATMAPS[name]
    levels = levels_of(heatmap)
    found = components(filled(levels) if fill else levels)
    for place, threshold in enumerate(THRESHOLDS):
        areas, boxes = found.area[:, place], found.box[:, place]
        mine = sorted((area, tuple(box)) for area, box in zip(areas.tolist(), boxes.tolist(), strict=True) if area)
        assert mine == one_by_one(heatmap, threshold, fill), threshold


def test_thresholds_are_those_of_choe_et_al():
    assert len(THRESHOLDS) == 1000 and THRESHOLDS[0] == 0 and THRESHOLDS[-1] == 0.999
    assert np.array_equal(THRESHOLDS, np.array([float(f"0.{place:03d}") for place in range(1000)]))


def test_a_pixel_reaches_the_thresholds_that_it_is_not_below():
    values = np.array([[0, 0.2, np.nextafter(0.2, 0), 0.9989, 0.999, 1]])
    assert levels_of(values).tolist() == [[0, 200, 199, 998, 999, 999]]


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_heatmap_that_is_not_finite_has_no_components(wrong):
    heatmap = noise(6, 6)
    heatmap[2, 3] = wrong
    levels = levels_of(heatmap)
    assert not components(levels).area.any() and not components(filled(levels)).area.any()

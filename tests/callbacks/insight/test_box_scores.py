import numpy as np
import pytest
from scipy import ndimage

from callbacks.insight.box_scores import BoxHits, best, scores
from callbacks.insight.boxes import overlaps

SIZE = 24


def blobs(seed, count=9):
    """Heatmaps with one to three blobs on noise, boxes near the first, and whether the class is right."""
    rng = np.random.default_rng(seed)
    y, x = np.indices((SIZE, SIZE))
    heatmaps, boxes = [], []
    for _ in range(count):
        heat = 0.15 * rng.random((SIZE, SIZE))
        for number in range(rng.integers(1, 4)):
            top, left, sigma = *rng.uniform(6, 18, 2), rng.uniform(2, 5)
            heat += rng.uniform(0.4, 1) * np.exp(-((y - top) ** 2 + (x - left) ** 2) / (2 * sigma**2))
            if not number:
                spread = rng.uniform(0.7, 2.2) * sigma
                box = np.clip([left - spread, top - spread, left + spread, top + spread], 0, SIZE)
        heat = ndimage.gaussian_filter(heat, 1)
        heatmaps.append((heat - heat.min()) / np.ptp(heat))
        boxes.append(box)
    return np.stack(heatmaps), np.stack(boxes), rng.random(count) < 0.5


def counted(*seeds):
    hits = BoxHits(["gradient"], 0.2)
    for seed in seeds:
        heatmaps, boxes, right = blobs(seed)
        hits.add({"gradient": heatmaps}, boxes, right)
    return hits


def by_definition(heatmap, box, threshold, every):
    """Intersection over union by Choe et al. 2020, at one threshold: of the largest component, or the best of all.

    None where two are the largest.
    """
    inside = heatmap >= threshold
    labels, _ = ndimage.label(inside if every else ndimage.binary_fill_holes(inside), np.ones((3, 3)))
    boxes = np.array([[c.start, r.start, c.stop, r.stop] for r, c in ndimage.find_objects(labels)])
    found, sizes = overlaps(boxes, box), np.bincount(labels.ravel())[1:]
    if every:
        return found.max()
    return found[sizes.argmax()] if (sizes == sizes.max()).sum() == 1 else None


def test_max_box_acc_is_that_of_the_definition():
    """The best of the means over images, not the mean of each image's best: that is another number."""
    heatmaps, boxes, _ = blobs(0)
    hits = counted(0)
    told, best_of_means, mean_of_bests = scores(hits, None), {}, {}
    for every, name in ((False, "largest"), (True, "any")):
        found = np.array(
            [
                [by_definition(*each, place / 1000, every) for place in range(1000)]
                for each in zip(heatmaps, boxes, strict=True)
            ],
            dtype=float,
        )
        known = ~np.isnan(found).any(0)
        assert known.mean() > 0.8
        for place, level in enumerate((0.3, 0.5, 0.7)):
            right = found[:, known] >= level
            assert np.array_equal(hits.share(f"gradient {name}")[place][known], right.mean(0))
            best_of_means[name, level], mean_of_bests[name, level] = right.mean(0).max(), right.max(1).mean()
    assert told["gradient_max_box_acc"] == best_of_means["largest", 0.5]
    assert mean_of_bests["largest", 0.5] > best_of_means["largest", 0.5]
    assert told["gradient_max_box_acc_70"] == best_of_means["largest", 0.7]
    v2 = np.mean([best_of_means["any", level] for level in (0.3, 0.5, 0.7)])
    assert told["gradient_max_box_acc_v2"] == pytest.approx(v2)


def test_thresholds_are_chosen_on_other_images():
    hits, training = counted(0, 1), counted(2, 3)
    told = scores(hits, training)
    place = best(training.counts["gradient largest"][1])
    assert told["gradient_threshold"] == place / 1000
    assert told["gradient_box_acc"] == hits.share("gradient largest")[1][place] <= told["gradient_max_box_acc"]
    assert told["gradient_top1_box_acc"] == hits.share("gradient right")[place]
    strict = best(training.counts["gradient largest"][2])
    assert told["gradient_box_acc_70"] == hits.share("gradient largest")[2][strict]
    size = np.unravel_index(best(training.counts["centred"][1]), (100, 100))
    assert told["centred_box_acc"] == hits.share("centred")[1][size] <= told["centred_max_box_acc"]
    assert told["gradient_box_acc_gain"] == told["gradient_box_acc"] - told["centred_box_acc"]
    assert not [name for name in scores(hits, None) if "_box_acc" in name and "max" not in name]


def test_as_published_the_threshold_is_fixed_and_each_side_has_a_pixel_more():
    """A box of 2 x 2 pixels on one of 2 x 4: .5 as an area, .6 with both ends; .43 and .5 on 2 x 4.67."""
    heatmap = np.zeros((1, 9, 9))
    heatmap[0, 2:4, 2:4], heatmap[0, 7, 7] = 0.2, 1
    heatmap[0, 2, 2] = 0.199
    hits = BoxHits(["gradient"], 0.2)
    hits.add({"gradient": heatmap}, np.array([[2, 2, 4, 6.6]]), np.array([False]))
    told = scores(hits, None)
    assert (told["gradient_gt_known_loc"], told["gradient_top1_loc"], told["top1_acc"]) == (1, 0, 0)
    assert hits.counts["gradient largest"][:, 200].tolist() == [1, 0, 0]
    assert hits.counts["gradient published"].tolist() == [1, 0]


def test_the_box_in_the_middle_needs_no_heatmap():
    boxes = np.array([[6.0, 8.0, 18.0, 16.0], [7.0, 9.0, 17.0, 15.0], [0.0, 0.0, 3.0, 3.0]])
    hits = BoxHits(["cam"], 0.2)
    hits.add({"cam": np.zeros((3, SIZE, SIZE))}, boxes, np.zeros(3, dtype=bool))
    told = scores(hits, None)
    assert told["centred_max_box_acc"] == told["centred_max_box_acc_70"] == pytest.approx(2 / 3)
    assert told["cam_max_box_acc_gain"] == told["cam_max_box_acc"] - 2 / 3


def test_counts_add_up_whatever_the_batches_and_processes():
    together, alone = counted(0, 1), BoxHits(["gradient"], 0.2)
    for seed in (0, 1):
        heatmaps, boxes, right = blobs(seed)
        for i in range(len(boxes)):
            alone.add({"gradient": heatmaps[i : i + 1]}, boxes[i : i + 1], right[i : i + 1])
    assert all(np.array_equal(together.counts[name], alone.counts[name]) for name in together.counts)
    one, other = counted(0), counted(1)
    vector = np.concatenate([count.ravel() for count in other.counts.values()])
    one.sum(lambda mine: mine + vector)
    assert all(np.array_equal(together.counts[name], one.counts[name]) for name in together.counts)
    assert scores(one, None) == scores(together, None)


def test_a_heatmap_of_nan_finds_nothing():
    hits = BoxHits(["gradient"], 0.2)
    hits.add({"gradient": np.full((1, 9, 9), np.nan)}, np.array([[0.0, 0.0, 9.0, 9.0]]), np.array([True]))
    told = scores(hits, None)
    assert told["gradient_max_box_acc"] == told["gradient_max_box_acc_v2"] == told["gradient_gt_known_loc"] == 0


def test_of_equally_good_places_the_middle_one_is_taken():
    assert best(np.array([1, 3, 3, 0, 3])) == 2
    assert best(np.array([[0, 5], [1, 2]])) == 1

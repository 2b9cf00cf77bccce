import math

import pytest
from scipy.stats import binomtest

from reports.intervals import wilson, with_interval


@pytest.mark.parametrize(
    ("right", "count", "low", "high"), [(100, 100, 0.9630, 1), (0, 10, 0, 0.2775), (81, 263, 0.2553, 0.3662)]
)
def test_known_values(right, count, low, high):
    """The last from Newcombe 1998, table I."""
    assert wilson(right / count, count) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


@pytest.mark.parametrize(("right", "count"), [(1, 1), (3, 7), (9123, 10_000), (49_999, 50_000)])
def test_it_agrees_with_scipy(right, count):
    expected = binomtest(right, count).proportion_ci(0.95, "wilson")
    assert wilson(right / count, count) == (pytest.approx(expected.low), pytest.approx(expected.high))


@pytest.mark.parametrize(("share", "count"), [(1.1, 10), (-0.1, 10), (math.nan, 10), (0.5, 0), (0.5, math.inf)])
def test_what_is_no_share_of_samples_is_refused(share, count):
    with pytest.raises(ValueError, match="between 0 and 1"):
        wilson(share, count)


def test_metrics_of_image_level_labels_get_an_interval():
    assert with_interval({"accuracy": 0.9, "samples": 50})["accuracy_interval"] == list(wilson(0.9, 50))


@pytest.mark.parametrize(
    "metrics",
    [{"accuracy": 0.9, "miou": 0.5, "samples": 50}, {"samples": 50}, {"accuracy": math.nan, "samples": 0}, {}],
)
def test_metrics_of_label_maps_and_of_nothing_get_none(metrics):
    assert with_interval(metrics) == metrics

import numpy as np
import pytest
import torch
from scipy.stats import bootstrap

from callbacks.evaluation.bootstrap import intervals
from lightning_modules.counts import Counts


def random_counts(images, classes=3, seed=0):
    """Of images that differ: each has pixels of its own number, of its own share right."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 200, (images, classes), generator=generator)
    tp = (torch.rand(images, 1, generator=generator) * pixels).long()
    return Counts(tp, (pixels - tp).roll(1, 1), pixels - tp)


def accuracy(tp, fn):
    return tp.sum() / (tp + fn).sum()


def miou(counts):
    tp, fp, fn = (each.sum(0).double() for each in counts)
    return (tp / (tp + fp + fn)).nanmean()


def test_it_agrees_with_scipys():
    counts = random_counts(40)
    rows = np.arange(40)

    def of(indices, value):
        return float(value(Counts(*(each[torch.as_tensor(indices)] for each in counts))))

    statistics = {
        "accuracy_interval": lambda indices: of(indices, lambda c: accuracy(c.tp, c.fn)),
        "miou_interval": lambda indices: of(indices, miou),
    }
    found = intervals(counts)
    for name, statistic in statistics.items():
        options = {"n_resamples": 1000, "vectorized": False, "method": "percentile", "rng": np.random.default_rng(1)}
        expected = bootstrap((rows,), statistic, confidence_level=0.95, **options).confidence_interval
        width = expected.high - expected.low
        assert found[name] == pytest.approx((expected.low, expected.high), abs=0.15 * width)


@pytest.mark.parametrize("name", ["accuracy_interval", "miou_interval"])
def test_nineteen_of_twenty_samples_cover_the_truth(name):
    """Of 60 images each, drawn from 30,000."""
    everything = random_counts(30_000)
    truth = float(accuracy(everything.tp, everything.fn) if name == "accuracy_interval" else miou(everything))
    samples = [Counts(*(each[start : start + 60] for each in everything)) for start in range(0, 12_000, 60)]
    covered = [low <= truth <= high for low, high in (intervals(sample)[name] for sample in samples)]
    assert 0.90 <= np.mean(covered) <= 0.99


def test_the_same_draws_every_time_and_no_global_generator_is_touched():
    counts = random_counts(9)
    torch.manual_seed(0)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    assert intervals(counts) == intervals(counts)
    assert torch.equal(torch.get_rng_state(), before[0]) and (np.random.get_state()[1] == before[1]).all()


def test_parts_of_the_draws_make_the_same_interval(monkeypatch):
    counts = random_counts(9)
    whole = intervals(counts)
    monkeypatch.setattr("callbacks.evaluation.bootstrap._AT_ONCE", 70)
    assert intervals(counts) == whole


def test_a_class_that_occurs_nowhere_and_void_images_change_nothing_but_draws():
    counts = random_counts(30)
    padded = Counts(*(torch.nn.functional.pad(each, (0, 2)) for each in counts))
    assert intervals(padded) == intervals(counts)
    void = Counts(*(torch.cat([each, torch.zeros_like(each)]) for each in counts))
    assert all(0 < low < high < 1 for low, high in intervals(void).values())


def test_a_single_image_and_void_alone_have_none():
    assert intervals(random_counts(1)) == {}
    assert intervals(Counts(*(torch.zeros(5, 3, dtype=torch.long) for _ in range(3)))) == {}


def test_the_miou_may_be_of_other_counts():
    one, two = random_counts(20, seed=1), random_counts(20, seed=2)
    expected = {
        "accuracy_interval": intervals(one)["accuracy_interval"],
        "miou_interval": intervals(two)["miou_interval"],
    }
    assert intervals(one, two) == expected

from itertools import product

import pytest
import torch

from callbacks.evaluation.worst_case import lowest_miou, worst_case
from lightning_modules.counts import Counts, DatasetMetrics


def random_counts(attacks, images, classes, seed):
    """Of label maps with the same labels for all attacks: so many pixels of each class, some of them right."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 30, (images, classes), generator=generator)
    tp = (torch.rand(attacks, images, classes, generator=generator) * (pixels + 1)).long()
    fn = pixels - tp
    wrong = fn.sum(2, keepdim=True)
    share = torch.rand(attacks, images, classes, generator=generator)
    fp = (share / share.sum(2, keepdim=True) * wrong).long()
    fp[..., 0] += wrong[..., 0] - fp.sum(2)
    return Counts(tp, fp, fn)


def miou_of(counts, choice):
    tp, fp, fn = (sum(each[attack, image] for image, attack in enumerate(choice)) for each in counts)
    return float((tp.double() / (tp + fp + fn)).nanmean())


def brute_force(counts):
    attacks, images = counts.tp.shape[:2]
    return min(miou_of(counts, choice) for choice in product(range(attacks), repeat=images))


@pytest.mark.parametrize("seed", range(12))
def test_the_greedy_miou_is_the_lowest_there_is_on_small_cases(seed):
    """Greedy need not be optimal; on these it is, or within a hundredth, and no single swap would lower it."""
    counts = random_counts(attacks=3, images=6, classes=3, seed=seed)
    choice = lowest_miou(counts)
    found = miou_of(counts, choice)
    assert found <= brute_force(counts) + 0.01
    for image, attack in product(range(6), range(3)):
        swapped = choice.clone()
        swapped[image] = attack
        assert miou_of(counts, swapped) >= found - 1e-12


def test_most_small_cases_are_optimal():
    cases = [random_counts(2, 7, 3, seed) for seed in range(20)]
    optimal = [miou_of(counts, lowest_miou(counts)) == pytest.approx(brute_force(counts)) for counts in cases]
    assert sum(optimal) >= 18


def test_the_miou_is_no_mean_over_images():
    """Picking by each image's own accuracy is not the lowest mIoU: a class that is rare counts as much as another."""
    tp = torch.tensor([[[95, 0]], [[84, 10]]])
    fn = torch.tensor([[100, 10]]) - tp
    counts = Counts(tp, fn.flip(2), fn)
    assert miou_of(counts, [0]) < miou_of(counts, [1])
    values, picked, lowest = worst_case(counts, torch.zeros(2, 1), dense=True)
    assert picked.tolist() == [1] and lowest.tolist() == [0]
    assert values["accuracy"].item() == pytest.approx(94 / 110)
    assert values["miou"].item() == pytest.approx(miou_of(counts, [0]))


def test_no_attack_alone_is_worse():
    counts = random_counts(attacks=3, images=9, classes=4, seed=1)
    values, picked, _ = worst_case(counts, torch.zeros(3, 9), dense=True)
    assert len(set(picked.tolist())) == 3
    right = counts.tp.sum(2)
    assert right[picked, torch.arange(9)].tolist() == right.amin(0).tolist()
    for attack in range(3):
        metrics = DatasetMetrics(4, dense=True)
        metrics.update(Counts(*(each[attack] for each in counts)), torch.zeros(9))
        alone = metrics.compute()
        assert values["accuracy"] < alone["accuracy"]
        assert values["miou"] < alone["miou"]
    assert values["samples"] == 9


def test_an_image_level_label_is_broken_when_one_attack_breaks_it():
    right = torch.tensor([[1, 1, 0, 0], [1, 0, 1, 0]])
    tp = torch.stack([right, torch.zeros_like(right)], 2)
    counts = Counts(tp, tp.flip(2), torch.stack([1 - right, torch.zeros_like(right)], 2))
    loss = torch.tensor([[0.1, 0.2, 3.0, 4.0], [0.3, 2.0, 0.5, 5.0]])
    values, picked, lowest = worst_case(counts, loss, dense=False)
    assert values["accuracy"] == 0.25
    assert picked.tolist() == lowest.tolist() == [1, 1, 0, 1], "of equals, the larger loss"
    assert values["loss"].item() == pytest.approx((0.3 + 2.0 + 3.0 + 5.0) / 4)
    assert "miou" not in values


def test_an_all_void_image_changes_nothing():
    counts = random_counts(attacks=2, images=4, classes=3, seed=2)
    padded = Counts(*(torch.cat([each, torch.zeros_like(each[:, :1])], 1) for each in counts))
    got, *_ = worst_case(padded, torch.zeros(2, 5), dense=True)
    expected, *_ = worst_case(counts, torch.zeros(2, 4), dense=True)
    assert got["miou"] == expected["miou"] and got["accuracy"] == expected["accuracy"]

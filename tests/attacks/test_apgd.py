from functools import partial
from itertools import pairwise

import pytest
import torch
from networks import fcn, linear, per_pixel, ragged_labels, seeded, uniform
from torch import nn

from attacks import APGD, DLR, L2, PGD, SEA, Box, JensenShannon, Linf, MaskedCrossEntropy, TargetedAPGD
from attacks.apgd import AdaptiveSteps, MostWrong, checkpoints, wrong_share
from attacks.loop import projected_gradient
from attacks.objectives import CrossEntropy, cross_entropy

IMAGE, LABEL = uniform(4, 3, 6, 6, seed=5), ragged_labels()


def classifier(classes=6):
    """A small classifier of 8 x 8 pixels with a rugged loss; float64."""
    network = seeded(
        lambda: nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.Tanh(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, classes)
        )
    ).double()
    for parameter in network.parameters():
        parameter.data *= 3
    return network.eval()


PICTURES = uniform(24, 3, 8, 8, seed=6)


@pytest.mark.parametrize(
    ("steps", "expected"), [(100, [22, 41, 57, 70, 80, 87, 93, 99]), (20, [5, 9, 12, 14, 16, 18, 19, 20]), (1, [1])]
)
def test_checkpoints_are_those_of_the_paper(steps, expected):
    assert checkpoints(steps) == expected


class Path:
    """An objective with values told beforehand, the same for every sample; its gradient points upwards."""

    def __init__(self, values):
        self.values, self.seen = values, []

    def __call__(self, image, progress):
        value = image.flatten(1).sum(1)
        told = torch.full_like(value, float(self.values[len(self.seen)]))
        self.seen.append(image.detach().clone())
        return value - value.detach() + told, image


def lengths(values):
    """The step sizes of a run of 20 steps with these values; checkpoints are 5, 9, 12, 14, ..."""
    origin = torch.full((1, 3, 2, 2), 0.5, dtype=torch.float64)
    update = AdaptiveSteps(Linf(0.1) & Box(), origin, 0.2, 20)
    found = []

    def watched(*arguments):
        result = update(*arguments)
        found.append(update.step_size.item())
        return result

    path = Path(values)
    projected_gradient(path, Linf(0.1) & Box(), origin, steps=20, update=watched)
    return found, path.seen, update


def test_a_steady_rise_keeps_the_step_size():
    assert lengths(range(20))[0] == [0.2] * 20


def test_a_sample_that_oscillates_is_slowed_at_every_checkpoint_and_goes_on_from_its_best():
    values = [0, 9, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1]
    found, seen, update = lengths(values)
    assert found[4] == 0.2 and found[5] == 0.1 and found[8] == 0.1 and found[9] == 0.05 and found[12] == 0.025
    assert torch.equal(update.best[1], seen[1])


def test_a_sample_that_gained_nothing_is_slowed_even_if_it_mostly_rises():
    """From a low point: four of five steps rise, none beats the best."""
    found, _, _ = lengths([10, 0, 1, 2, 3, 4, *range(5, 10), 9.1, 9.2, 9.3, 9.4, 9.5, 9.6, 9.7, 9.8, 9.9])
    assert found[4] == 0.2 and found[5] == 0.1, "stands still at the first length"
    assert found[9] == 0.1, "just slowed, it gets a chance"
    assert found[12] == 0.05


def test_samples_are_slowed_one_by_one():
    network, label = classifier(), classifier()(PICTURES).argmax(1)
    update = AdaptiveSteps(Linf(0.1) & Box(), PICTURES, 0.2, 50)
    objective = CrossEntropy(network, PICTURES, label)
    projected_gradient(objective, Linf(0.1) & Box(), PICTURES, steps=50, update=update)
    assert len(update.step_size.unique()) > 1


def test_the_first_step_is_plain_and_the_second_carries_momentum():
    origin = torch.full((1, 3, 2, 2), 0.5, dtype=torch.float64)
    gradients = [torch.ones_like(origin), -torch.ones_like(origin)]
    update = AdaptiveSteps(Linf(0.4) & Box(), origin, 0.1, 20)
    value = torch.zeros(1, dtype=torch.float64)
    first = update(origin, gradients[0], value, origin)
    assert torch.allclose(first, origin + 0.1)
    second = update(first, gradients[1], value, origin)
    assert torch.allclose(second, first + 0.75 * -0.1 + 0.25 * 0.1)


def test_it_raises_the_loss_at_least_as_much_as_pgd_of_as_many_steps():
    network, label = classifier(), classifier()(PICTURES).argmax(1)
    loss = {}
    for attack in (APGD(Linf(0.03), steps=40), PGD(Linf(0.03), steps=40, use_best=True)):
        with torch.no_grad():
            loss[type(attack)] = cross_entropy(network(attack(network, PICTURES, label)), label).mean()
    assert loss[APGD] > 0.95 * loss[PGD]


@pytest.mark.parametrize("objective", [CrossEntropy, DLR])
@pytest.mark.parametrize("ball", [Linf(0.3), L2(1.5)])
def test_a_linear_network_is_attacked_as_well_as_can_be(ball, objective):
    network, image = linear(3), 0.4 + 0.2 * uniform(5, 3, 4, 4, seed=1)
    label = network(image).argmax(1)
    result = APGD(ball, steps=60, objective=objective)(network, image, label)
    weight = network[1].weight.detach()
    reachable = []
    for other in (1, 2):
        direction = weight[(label + other) % 3] - weight[label]
        norm = direction.abs().sum(1) if isinstance(ball, Linf) else direction.norm(dim=1)
        margin = (network(image).gather(1, label[:, None]) - network(image).gather(1, (label[:, None] + other) % 3))[
            :, 0
        ]
        reachable.append(ball.eps * norm > margin)
    broken = network(result).argmax(1) != label
    assert broken[reachable[0] | reachable[1]].all() and reachable[0].any()


def test_the_result_is_the_most_wrong_image_of_all_that_were_seen():
    network, label = fcn().eval(), fcn().eval()(IMAGE).argmax(1)
    seen = []

    def spy(*arguments):
        objective = CrossEntropy(*arguments)

        def look(image, progress):
            value, logits = objective(image, progress)
            seen.append(wrong_share(logits, label))
            return value, logits

        return look

    result = APGD(Linf(0.1), steps=20, restarts=2, objective=spy)(network, IMAGE, label)
    assert len(seen) == 2 * 21
    assert torch.equal(wrong_share(network(result), label), torch.stack(seen).amax(0))


def test_most_wrong_goes_by_pixels_first_and_value_second():
    label = torch.tensor([[[0, 0, 255]]])
    best = MostWrong(label)
    right, wrong = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    for fill, pixels, value in ((0.0, [right, right, wrong], 5.0), (1.0, [wrong, right, right], 1.0),
                                (2.0, [wrong, right, right], 2.0), (3.0, [right, right, wrong], 9.0)):  # fmt: skip
        logits = torch.stack(pixels, 1).view(1, 2, 1, 3)
        best.update(torch.full((1, 1, 1, 1), fill), torch.tensor([value]), logits)
    assert best.image.item() == 2 and best.wrong.item() == 0.5 and best.value.item() == 2


def test_targets_break_what_the_untargeted_attack_does_and_more():
    network, label = classifier(), classifier()(PICTURES).argmax(1)
    robust = {}
    for attack in (APGD(Linf(0.012), steps=30), TargetedAPGD(Linf(0.012), steps=30, targets=5)):
        result = attack(network, PICTURES, label)
        assert (result - PICTURES).abs().max() <= 0.012 + 1e-12
        robust[type(attack)] = (network(result).argmax(1) == label).double().mean()
    assert 0 < robust[TargetedAPGD] <= robust[APGD] < 1


def test_targets_leave_alone_what_is_wrong_already():
    network = classifier()
    label = (network(PICTURES).argmax(1) + 1) % 6
    assert torch.equal(TargetedAPGD(Linf(0.1), steps=5)(network, PICTURES, label), PICTURES)


def test_of_a_label_map_more_targets_leave_no_more_right():
    network, label = fcn(6).eval(), fcn(6).eval()(IMAGE).argmax(1)
    wrong = [
        wrong_share(network(TargetedAPGD(Linf(0.02), steps=6, targets=targets)(network, IMAGE, label)), label)
        for targets in range(1, 6)
    ]
    assert all((more >= fewer).all() for fewer, more in pairwise(wrong))
    assert wrong[0].mean() > 0


def test_sea_in_a_large_ball_comes_from_the_box():
    network, label = fcn().eval(), fcn().eval()(IMAGE).argmax(1)
    result = SEA(Linf(0.8), MaskedCrossEntropy, steps=30)(network, IMAGE, label)
    assert result.min() >= 0 and result.max() <= 1 and (result - IMAGE).abs().max() <= 0.8 + 1e-12
    assert wrong_share(network(result), label).mean() > 0.7


@pytest.mark.parametrize("objective", [MaskedCrossEntropy, JensenShannon])
def test_sea_comes_from_outside_and_ends_inside(objective):
    network, label = fcn().eval(), fcn().eval()(IMAGE).argmax(1)
    far = []

    def spy(*arguments):
        made = objective(*arguments)

        def look(image, progress):
            far.append((image - IMAGE).abs().max().item())
            return made(image, progress)

        return look

    result = SEA(Linf(0.05), spy, steps=20)(network, IMAGE, label)
    assert (result - IMAGE).abs().max() <= 0.05 + 1e-12
    stages = far[:7], far[7:14], far[14:]  # 6 + 6 + 8 steps, and a last look at each end
    assert [round(max(stage), 6) for stage in stages] == [0.1, 0.075, 0.05]


def test_sea_breaks_more_pixels_than_pgd_of_as_many_steps():
    network, label = fcn().eval(), fcn().eval()(IMAGE).argmax(1)
    attacks = [SEA(Linf(0.02), MaskedCrossEntropy, steps=60), PGD(Linf(0.02), steps=60)]
    wrong = [wrong_share(network(attack(network, IMAGE, label)), label).mean() for attack in attacks]
    assert wrong[0] >= wrong[1] > 0


def test_few_steps_are_refused():
    with pytest.raises(ValueError, match="APGD: steps=0"):
        APGD(Linf(0.1), steps=0)
    with pytest.raises(ValueError, match="SEA: steps=2 must be 3 or more"):
        SEA(Linf(0.1), MaskedCrossEntropy, steps=2)


@pytest.mark.parametrize("attack", [APGD(Linf(0.1), steps=6), SEA(Linf(0.1), partial(MaskedCrossEntropy), steps=6)])
def test_an_all_void_image_stays_within_the_set_and_finite(attack):
    result = attack(per_pixel(), IMAGE, LABEL)
    assert result.isfinite().all() and (result - IMAGE).abs().max() <= 0.1 + 1e-12

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from networks import fcn, per_pixel, ragged_labels, uniform

from attacks import BalancedMaskedCrossEntropy, CosPGD, JensenShannon, Linf, MaskedCrossEntropy, SegPGD
from attacks.objectives import cross_entropy
from attacks.segmentation import CosPGDLoss, SegPGDLoss

IMAGE, LABEL = uniform(4, 3, 6, 6, seed=5), ragged_labels()
BALANCE = [6.0, 1.0, 2.0]
LOSSES = {
    "SegPGD": SegPGDLoss,
    "CosPGD": CosPGDLoss,
    "CosPGD, sigmoid": partial(CosPGDLoss, activation="sigmoid"),
    "MCE": MaskedCrossEntropy,
    "MCE-Bal": lambda *arguments: BalancedMaskedCrossEntropy(*arguments, pixels=BALANCE),
    "JS": JensenShannon,
}
every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES.keys())


def scaled(factor=6):
    """A network that is sure of itself."""
    network = per_pixel()
    network.weight.data *= factor
    return network.eval()


def by_hand(weight, progress=0.0):
    """Each sample's mean of weight * cross-entropy over its valid pixels, pixel by pixel."""
    network = scaled()
    values = []
    for logits, label in zip(network(IMAGE), LABEL, strict=True):
        terms = [
            weight(logits[:, y, x], int(label[y, x]), progress) * -logits[:, y, x].log_softmax(0)[label[y, x]]
            for y, x in (label != 255).nonzero().tolist()
        ]
        values.append(torch.stack(terms).mean() if terms else torch.zeros((), dtype=torch.float64))
    return torch.stack(values)


def right(z, y):
    return int(z.argmax()) == y


WEIGHTS = {
    "SegPGD": lambda z, y, t: 1 - t / 2 if right(z, y) else t / 2,
    "CosPGD": lambda z, y, t: F.cosine_similarity(z.softmax(0), F.one_hot(torch.tensor(y), 3).double(), dim=0).detach(),
    "CosPGD, sigmoid": lambda z, y, t: (z[y].sigmoid() / z.sigmoid().norm()).detach(),
    "MCE": lambda z, y, t: float(right(z, y)),
    "MCE-Bal": lambda z, y, t: right(z, y) / BALANCE[y] * sum(BALANCE) / 3,
}


@pytest.mark.parametrize("name", WEIGHTS)
@pytest.mark.parametrize("progress", [0.0, 0.5, 0.9])
def test_pixels_are_weighted_as_the_paper_says(name, progress):
    value, _ = LOSSES[name](scaled(), IMAGE, LABEL)(IMAGE, progress)
    torch.testing.assert_close(value, by_hand(WEIGHTS[name], progress))


def test_the_weights_have_no_gradient():
    """CosPGD's would otherwise pull, too."""
    image = IMAGE.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(CosPGDLoss(scaled(), image, LABEL)(image, 0.0)[0].sum(), image)
    loss = CosPGDLoss(scaled(), IMAGE, LABEL)
    fixed = loss.weight(scaled()(IMAGE).detach(), 0.0)
    pixels = F.cross_entropy(scaled()(image), LABEL, reduction="none", ignore_index=255)
    valid = (LABEL != 255).flatten(1).sum(1).clamp(min=1)
    (expected,) = torch.autograd.grad(((fixed * pixels).flatten(1).sum(1) / valid).sum(), image)
    torch.testing.assert_close(gradient, expected)


def test_segpgd_begins_with_what_is_right_and_ends_with_everything_alike():
    ones = torch.ones(1, 1, 1, dtype=torch.long)
    logits = torch.tensor([[0.0, 1.0, 0.0]]).view(1, 3, 1, 1)
    weights = [
        [SegPGDLoss(None, logits, label).weight(logits, t / 10).item() for t in (0, 5, 9)] for label in (ones, 0 * ones)
    ]
    assert weights[0] == pytest.approx([1, 0.75, 0.55])
    assert weights[1] == pytest.approx([0, 0.25, 0.45])


@pytest.mark.parametrize("name", ["MCE", "MCE-Bal"])
def test_a_masked_loss_is_0_with_no_gradient_when_all_is_wrong(name):
    image = IMAGE.clone().requires_grad_()
    wrong = (scaled()(IMAGE).argmax(1) + 1) % 3
    value, _ = LOSSES[name](scaled(), image, wrong)(image, 0.0)
    assert (value == 0).all()
    assert (torch.autograd.grad(value.sum(), image)[0] == 0).all()


def test_jensen_shannon_is_that_divergence():
    value, _ = JensenShannon(scaled(), IMAGE, LABEL)(IMAGE, 0.0)
    for i, (logits, label) in enumerate(zip(scaled()(IMAGE), LABEL, strict=True)):
        terms = []
        for y, x in (label != 255).nonzero().tolist():
            p, q = logits[:, y, x].softmax(0), F.one_hot(label[y, x], 3).double()
            m = (p + q) / 2
            terms.append((torch.xlogy(p, p / m).sum() + torch.xlogy(q, q / m).sum()) / 2)
        expected = torch.stack(terms).mean() if terms else torch.zeros((), dtype=torch.float64)
        torch.testing.assert_close(value[i], expected)


def test_the_gradient_of_jensen_shannon_vanishes_where_the_pixel_is_won():
    gradients = []
    for margin in (0.0, 5.0, 20.0, 200.0):
        logits = torch.tensor([0.0, margin, 0.0], dtype=torch.float64).view(1, 3, 1, 1).requires_grad_()
        value, _ = JensenShannon(lambda image: image, logits, torch.zeros(1, 1, 1, dtype=torch.long))(logits, 0.0)
        gradients.append(torch.autograd.grad(value.sum(), logits)[0].abs().max().item())
    assert gradients == sorted(gradients, reverse=True)
    assert gradients[0] > 0.1 and gradients[2] < 1e-7 and gradients[3] == pytest.approx(0, abs=1e-80)


@every_loss
def test_void_pixels_count_nowhere_and_an_all_void_image_gives_0(loss):
    image = IMAGE.clone().requires_grad_()
    value, _ = loss(scaled(), image, LABEL)(image, 0.5)
    (gradient,) = torch.autograd.grad(value.sum(), image)
    void = (LABEL == 255).unsqueeze(1).expand_as(gradient)
    assert value.isfinite().all() and value[3] == 0
    assert (gradient[void] == 0).all() and (gradient[~void] != 0).any()


@every_loss
def test_labels_of_images_are_taken_as_one_pixel(loss):
    logits, label = 4 * uniform(5, 3, seed=3), torch.tensor([0, 1, 2, 0, 1])
    flat = loss(lambda image: image, logits, label)(logits, 0.3)[0]
    wide = loss(lambda image: image, logits[..., None, None], label[:, None, None])(logits[..., None, None], 0.3)[0]
    torch.testing.assert_close(flat, wide)


def test_a_class_without_pixels_weighs_nothing_in_the_balance():
    balance = BalancedMaskedCrossEntropy(scaled(), IMAGE, LABEL, [1, 0, 5]).balance
    assert balance.tolist() == pytest.approx([2, 0, 0.4])


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("shift", [-1000, 1000])
def test_logits_far_from_0_have_a_weight(activation, shift):
    logits = torch.tensor([[2.0, 0.0, 1.0]]).view(1, 3, 1, 1) + shift
    weight = CosPGDLoss(None, logits, torch.zeros(1, 1, 1, dtype=torch.long), activation).weight(logits, 0.0)
    expected = F.cosine_similarity(torch.tensor([2.0, 0, 1]).softmax(0), torch.tensor([1.0, 0, 0]), dim=0).item()
    assert weight.item() == pytest.approx(3**-0.5 if activation == "sigmoid" and shift > 0 else expected, rel=1e-4)


def test_an_unknown_activation_is_refused():
    with pytest.raises(ValueError, match="activation='relu' is neither"):
        CosPGD(Linf(0.1), activation="relu")


def test_the_balance_needs_the_number_of_pixels():
    with pytest.raises(ValueError, match="give pixels"):
        BalancedMaskedCrossEntropy(scaled(), IMAGE, LABEL)


@pytest.mark.parametrize("attack", [SegPGD(Linf(0.1), steps=10), CosPGD(Linf(0.1), steps=10)], ids=repr)
def test_the_attacks_break_more_pixels_than_noise(attack):
    network = fcn().eval()
    label = network(IMAGE).argmax(1)
    noise = IMAGE + 0.1 * (2 * uniform(4, 3, 6, 6, seed=9) - 1)
    adversarial = attack(network, IMAGE, label)
    wrong = [(network(image).argmax(1) != label).double().mean() for image in (IMAGE, noise, adversarial)]
    assert wrong[0] == 0 and wrong[2] > wrong[1] + 0.1
    assert (cross_entropy(network(adversarial), label) > cross_entropy(network(IMAGE), label)).all()

from types import SimpleNamespace
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from networks import fcn, linear, per_pixel, ragged_labels, uniform
from one_line import one_line
from torch import nn

from attacks import PGD, CrossEntropy, KLDivergence, Linf
from attacks.objectives import cross_entropy, kl_divergence, logits_of, pixel_cross_entropy, valid_mean, valid_pixels


def logits_like(label, classes=3):
    return (4 * uniform(len(label), classes, *label.shape[1:], seed=9) - 2).requires_grad_()


def mean_over_valid_pixels(logits, label):
    """The definition, pixel by pixel."""
    means = []
    for scores, classes in zip(logits.log_softmax(1), label, strict=True):
        losses = [-scores[c, i, j] for (i, row) in enumerate(classes.tolist()) for j, c in enumerate(row) if c != 255]
        means.append(sum(losses) / len(losses) if losses else torch.zeros((), dtype=logits.dtype))
    return torch.stack(means)


def test_dense_cross_entropy_is_each_samples_mean_over_its_valid_pixels():
    label = ragged_labels()
    logits = logits_like(label)
    torch.testing.assert_close(cross_entropy(logits, label), mean_over_valid_pixels(logits, label))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_of_many_pixels_in_16_bits_one_counts_and_none_overflow(dtype):
    right = torch.zeros(1, 300, 300, dtype=dtype)
    right[0, 0, :20] = 1
    label = torch.zeros(1, 300, 300, dtype=torch.long)
    assert valid_mean(right, label).item() == pytest.approx(20 / 90000, rel=1e-3)
    assert valid_mean(torch.full_like(right, 2), label).item() == 2


def test_an_all_void_image_has_loss_0_and_no_gradient():
    label = ragged_labels()
    logits = logits_like(label)
    loss = cross_entropy(logits, label)
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    assert loss[3] == 0
    assert torch.equal(gradient[3], torch.zeros_like(gradient[3]))
    assert gradient.isfinite().all()


def test_void_pixels_have_no_gradient_and_no_influence():
    label = ragged_labels()
    logits = logits_like(label)
    void = (label == 255).unsqueeze(1).expand_as(logits)
    (gradient,) = torch.autograd.grad(cross_entropy(logits, label).sum(), logits)
    assert not gradient[void].any()
    assert gradient[~void].all()
    assert torch.equal(cross_entropy(logits.masked_fill(void, 1e4), label), cross_entropy(logits, label))


def test_a_samples_loss_and_gradient_ignore_its_neighbours():
    label = ragged_labels()
    logits = logits_like(label)
    (gradient,) = torch.autograd.grad(cross_entropy(logits, label).sum(), logits)
    for i in range(4):
        alone = cross_entropy(logits[[i]], label[[i]])
        torch.testing.assert_close(alone, cross_entropy(logits, label)[[i]])
        torch.testing.assert_close(torch.autograd.grad(alone.sum(), logits)[0][i], gradient[i])


def test_pixel_cross_entropy_is_shaped_like_the_label_and_0_at_void():
    label = ragged_labels()
    loss = pixel_cross_entropy(logits_like(label), label)
    assert loss.shape == label.shape
    assert torch.equal(loss == 0, label == 255)


def test_image_level_labels_are_plain_cross_entropy_and_255_is_a_class():
    logits, label = 4 * uniform(4, 300) - 2, torch.tensor([0, 255, 299, 255])
    torch.testing.assert_close(cross_entropy(logits, label), F.cross_entropy(logits, label, reduction="none"))
    assert (cross_entropy(logits, label) > 0).all()


def test_only_label_maps_know_void():
    assert valid_pixels(torch.tensor([0, 255])).tolist() == [True, True]
    assert valid_pixels(torch.tensor([[[0, 255, 254]]])).tolist() == [[[True, False, True]]]


@pytest.mark.parametrize(
    ("logits", "label"),
    [
        ((2, 3), (2, 4, 4)),
        ((2, 3, 4, 4), (2,)),
        ((2, 3, 4, 4), (2, 5, 5)),
        ((2, 3, 4, 4), (2, 1, 4, 4)),
        ((2, 3), (3,)),
    ],
)
def test_logits_that_do_not_fit_the_labels_are_named(logits, label):
    with pytest.raises(ValueError) as error:
        cross_entropy(torch.zeros(logits), torch.zeros(label, dtype=torch.int64))
    assert str(error.value).startswith(f"logits {logits} do not fit labels {label}: a network gives")
    assert "\n" not in str(error.value)


def test_the_main_logits_are_read_from_a_tensor_or_a_dict():
    logits, aux = torch.zeros(1, 2), torch.ones(1, 2)
    assert logits_of(logits) is logits
    assert logits_of({"out": logits, "aux": aux}) is logits


class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.main = per_pixel()

    def forward(self, image):
        return {"out": self.main(image), "aux": torch.zeros(1)}


@pytest.mark.parametrize("network", [per_pixel(), TwoHeads()])
def test_the_objective_gives_one_value_per_sample_and_the_logits_it_saw(network):
    image, label = uniform(4, 3, 6, 6), ragged_labels()
    value, logits = CrossEntropy(network, image, label)(image, 0.5)
    assert torch.equal(logits, logits_of(network(image)))
    assert torch.equal(value, cross_entropy(logits, label))
    assert value.shape == (4,)


def divergence_over_valid_pixels(clean, adversarial, label):
    """The definition, pixel by pixel."""
    means = []
    for p, q, classes in zip(clean.softmax(1), adversarial.softmax(1), label, strict=True):
        terms = [
            sum(a * (a / b).log() for a, b in zip(p[:, i, j].tolist(), q[:, i, j], strict=True))
            for (i, row) in enumerate(classes.tolist())
            for j, c in enumerate(row)
            if c != 255
        ]
        means.append(sum(terms) / len(terms) if terms else torch.zeros((), dtype=clean.dtype))
    return torch.stack(means)


def test_the_divergence_is_each_samples_mean_over_its_valid_pixels():
    label = ragged_labels()
    clean, adversarial = logits_like(label).detach(), 3 * uniform(4, 3, 6, 6, seed=5)
    expected = divergence_over_valid_pixels(clean, adversarial, label)
    torch.testing.assert_close(kl_divergence(clean, adversarial, label), expected)
    assert (expected[:3] > 0.1).all() and expected[3] == 0
    swapped = kl_divergence(adversarial, clean, label)
    assert not torch.allclose(swapped, expected, rtol=1e-2), "from the clean prediction to the other, not back"


def test_the_divergence_of_image_labels_looks_at_no_label():
    clean, adversarial = uniform(4, 300, seed=1), uniform(4, 300, seed=2)
    expected = (clean.softmax(1) * (clean.log_softmax(1) - adversarial.log_softmax(1))).sum(1)
    for label in (torch.tensor([0, 255, 299, 255]), torch.zeros(4, dtype=torch.int64)):
        torch.testing.assert_close(kl_divergence(clean, adversarial, label), expected)


def test_the_divergence_is_finite_where_a_prediction_is_certain():
    clean, adversarial = torch.tensor([[1000.0, 0.0]]), torch.tensor([[0.0, 1000.0]], requires_grad=True)
    value = kl_divergence(clean, adversarial, torch.tensor([0]))
    (gradient,) = torch.autograd.grad(value.sum(), adversarial)
    assert value.item() == 1000 and gradient.isfinite().all()


def test_the_divergence_has_no_gradient_at_the_clean_image_and_pgd_needs_its_random_start():
    network, image, label = fcn().eval(), uniform(4, 3, 6, 6), ragged_labels()
    objective = KLDivergence(network, image, label)
    moving = image.clone().requires_grad_()
    value, logits = objective(moving, 0.0)
    (gradient,) = torch.autograd.grad(value.sum(), moving)
    assert value.abs().max() < 1e-12 and gradient.abs().max() < 1e-12
    torch.testing.assert_close(logits, network(image))
    attacked = PGD(Linf(0.1), steps=3, objective=KLDivergence)(network, image, label)
    noise = PGD(Linf(0.1), steps=1, step_size=0, objective=KLDivergence)(network, image, label)
    values = [objective(other, 1.0)[0] for other in (noise, attacked)]
    assert (values[0][:3] > 0).all() and (values[1][:3] > 1.5 * values[0][:3]).all()


def test_the_divergence_of_a_linear_network_has_a_gradient_in_closed_form():
    """At x' it is W^T (q - p)."""
    network, image, label = linear(classes=3), uniform(2, 3, 4, 4), torch.tensor([0, 1])
    objective = KLDivergence(network, image, label)
    moved = (image + 0.3).requires_grad_()
    (gradient,) = torch.autograd.grad(objective(moved, 0.0)[0].sum(), moved)
    q_minus_p = network(moved).softmax(1) - network(image).softmax(1)
    torch.testing.assert_close(gradient.flatten(1), q_minus_p @ network[1].weight)


def test_the_clean_prediction_is_made_once_and_without_a_graph():
    calls = []

    def network(image):
        calls.append(torch.is_grad_enabled())
        return image.mean((2, 3))

    image = uniform(2, 3, 4, 4)
    objective = KLDivergence(network, image, torch.tensor([0, 1]))
    for t in range(3):
        objective(image, t / 3)
    assert calls == [False, True, True, True]


class Output(NamedTuple):
    logits: torch.Tensor
    aux_logits: torch.Tensor


LOGITS, AUX = uniform(2, 3), uniform(2, 3, seed=1)


@pytest.mark.parametrize(
    "output",
    [LOGITS, {"out": LOGITS, "aux": AUX}, {"loss": None, "logits": LOGITS}, Output(LOGITS, AUX), (LOGITS, AUX),
     [LOGITS], SimpleNamespace(logits=LOGITS)],
)  # fmt: skip
def test_logits_are_found_in_what_libraries_return(output):
    assert logits_of(output) is LOGITS


@pytest.mark.parametrize(
    ("output", "got"),
    [(None, "a NoneType"), ({"scores": LOGITS}, "a dict of scores"), ({"out": None}, "a dict of out"), ((), "a tuple"),
     ("logits", "a str"), ([AUX.tolist()], "a list")],
)  # fmt: skip
def test_what_holds_no_logits_is_told(output, got):
    with pytest.raises(ValueError, match=one_line("a network gives logits", "not", got, ": wrap it")):
        logits_of(output)

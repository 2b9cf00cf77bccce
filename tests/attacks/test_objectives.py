import pytest
import torch
import torch.nn.functional as F
from networks import per_pixel, ragged_labels, uniform
from torch import nn

from attacks import CrossEntropy
from attacks.objectives import cross_entropy, logits_of, pixel_cross_entropy, valid_pixels


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

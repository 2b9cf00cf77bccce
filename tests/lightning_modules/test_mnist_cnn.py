import pytest
import torch
import torch.nn.functional as F
from networks import seeded, uniform

from lightning_modules.mnist_cnn import MNISTCNN

LABEL = torch.tensor([3, 1, 4])


@pytest.fixture
def network():
    return seeded(lambda: MNISTCNN(10)).double()


def grey(size=28, seed=0):
    """Grey images in three channels."""
    return uniform(3, 1, size, size, seed=seed).expand(-1, 3, -1, -1)


def by_hand(state, x):
    """The logits of images of one channel of 28 pixels, straight from the weights."""
    for layer in 0, 3:
        x = F.conv2d(x, state[f"features.{layer}.weight"], state[f"features.{layer}.bias"], padding=2)
        x = F.max_pool2d(x.clamp(min=0), 2)
    x = (x.flatten(1) @ state["classifier.1.weight"].T + state["classifier.1.bias"]).clamp(min=0)
    return x @ state["classifier.3.weight"].T + state["classifier.3.bias"]


def test_logits(network):
    image = uniform(2, 3, 28, 28)
    expected = by_hand(network.state_dict(), image.sum(1, keepdim=True) / 3)
    torch.testing.assert_close(network(image), expected)
    assert (expected[0] - expected[1]).abs().max() > 1e-3  # it depends on the image


def test_parameters(network):
    shapes = {name: tuple(p.shape) for name, p in network.state_dict().items()}
    assert shapes == {
        "features.0.weight": (32, 1, 5, 5),
        "features.0.bias": (32,),
        "features.3.weight": (64, 32, 5, 5),
        "features.3.bias": (64,),
        "classifier.1.weight": (1024, 3136),
        "classifier.1.bias": (1024,),
        "classifier.3.weight": (10, 1024),
        "classifier.3.bias": (10,),
    }
    assert sum(p.numel() for p in network.parameters()) == 3_274_634


def fgsm(logits, image, epsilon=0.3):
    image = image.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(F.cross_entropy(logits(image), LABEL), image)
    return (image + epsilon * gradient.sign()).clamp(0, 1).detach()


def test_an_fgsm_step_is_that_on_the_grey_image(network):
    attacked = fgsm(network, grey())
    expected = fgsm(lambda image: by_hand(network.state_dict(), image), grey()[:, :1])
    torch.testing.assert_close(attacked, expected.expand(-1, 3, -1, -1))
    assert F.cross_entropy(network(attacked), LABEL) > F.cross_entropy(network(grey()), LABEL) + 0.05


def test_so_it_is_after_a_normaliser_with_other_statistics_in_every_channel(network):
    mean, std = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    attacked = fgsm(lambda image: network((image - mean) / std), grey())
    assert (attacked == attacked[:, :1]).all()
    assert (attacked != grey()).any()


def test_colours_gain_an_attack_nothing(network):
    coloured = grey() + 0.3 * (2 * uniform(3, 3, 28, 28, seed=1) - 1)
    in_grey = coloured.mean(1, keepdim=True).expand_as(coloured)
    assert (in_grey - grey()).abs().max() <= 0.3
    torch.testing.assert_close(network(in_grey), network(coloured))


@pytest.mark.parametrize("size", [(28, 28), (32, 32), (35, 61)], ids=str)
def test_any_size(network, size):
    assert network(uniform(2, 3, *size)).shape == (2, 10)


def test_a_sample_ignores_its_neighbours(network):
    torch.testing.assert_close(network(grey())[:1], network(grey()[:1]))


def test_every_weight_and_most_pixels_have_a_gradient(network):
    image = uniform(3, 3, 28, 28).requires_grad_()
    F.cross_entropy(network(image), LABEL).backward()
    assert (image.grad != 0).double().mean() > 0.95
    assert all(p.grad.any() for p in network.parameters())

"""Against captum where that is right, and against definitions of our own."""

import pytest
import torch
import torch.nn.functional as F
from networks import fcn, linear, per_pixel, ragged_labels, seeded, uniform
from torch import nn

from attacks.seeds import normal
from callbacks.insight import sensitivity
from lightning_modules import Network

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.5)


def residual():
    """A classifier with a normaliser, batch norm, ReLUs in place and one that is used again; float64."""
    network = seeded(lambda: Network("resnet_small", 4, mean=MEAN, std=STD)).double().eval()
    for number, module in enumerate(network.modules()):
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.copy_(uniform(len(module.running_mean), seed=number) - 0.5)
            module.running_var.copy_(uniform(len(module.running_var), seed=number) + 0.5)
    return network


def batch(count=3, size=12):
    return uniform(count, 3, size, size), torch.arange(count) % 4


class InADict(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, image):
        return {"out": self.network(image)}


def test_of_a_linear_network_the_maps_are_its_weights():
    network, image, label = linear(), uniform(2, 3, 4, 4), torch.tensor([1, 0])
    weight = network[1].weight.detach()
    expected = weight[label].view(2, 3, 4, 4)
    assert torch.allclose(sensitivity.vanilla(network, image, label), expected)
    assert torch.allclose(sensitivity.smoothgrad(network, image, label, torch.arange(2)), expected)
    assert torch.allclose(sensitivity.integrated(network, image, label), expected)
    error = network(image).softmax(1) - F.one_hot(label, 2)
    assert torch.allclose(sensitivity.loss(network, image, label), (error @ weight).view(2, 3, 4, 4))
    assert torch.allclose(sensitivity.vanilla(InADict(network), image, label), expected)


@pytest.mark.parametrize("name", ["vanilla", "loss"])
def test_of_a_label_map_each_valid_pixel_counts_by_its_own_label(name):
    network, image, label = per_pixel(), uniform(4, 3, 6, 6), ragged_labels()
    found = getattr(sensitivity, name)(network, image, label)
    valid = label != 255
    direction = network.weight.detach()[torch.where(valid, label, 0)][..., 0, 0]
    if name == "loss":
        weight = network.weight.detach()[..., 0, 0]
        direction = torch.einsum("bchw,cd->bhwd", network(image).softmax(1), weight) - direction
    expected = direction * (valid / valid.sum((1, 2), keepdim=True).clamp(min=1))[..., None]
    assert torch.allclose(found, expected.permute(0, 3, 1, 2))
    assert (found[3] == 0).all() and (label[3] == 255).all()


def test_integrated_gradients_are_a_left_sum_from_the_normalisers_grey():
    network, (image, label) = residual(), batch()
    grey = torch.tensor(MEAN).view(3, 1, 1).double()
    steps = [sensitivity.vanilla(network, grey + n / 50 * (image - grey), label) for n in range(50)]
    found = sensitivity.integrated(network, image, label)
    assert torch.allclose(found, torch.stack(steps).mean(0))
    times = sensitivity.integrated(network, image, label, times_difference=True)
    assert torch.allclose(times, found * (image - grey))
    with torch.no_grad():
        gained = (network(image) - network(grey.expand_as(image))).gather(1, label[:, None])[:, 0]
    finer = sensitivity.integrated(network, image, label, points=1000, times_difference=True).sum((1, 2, 3))
    assert torch.allclose(finer, gained, atol=0.03 * float(gained.abs().max())), "completeness"


def test_without_a_normaliser_the_way_begins_at_half():
    seen = []
    network = nn.Sequential(nn.Flatten(), nn.Linear(48, 2)).double()
    network.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
    image = uniform(1, 3, 4, 4)
    sensitivity.integrated(network, image, torch.tensor([0]), points=4, chunk=1)
    assert torch.allclose(torch.cat(seen), torch.cat([0.5 + n / 4 * (image - 0.5) for n in range(4)]))


def test_smoothgrads_noise_is_a_share_of_the_normalised_images_range():
    network, (image, label) = residual(), batch()
    seed, std = torch.tensor([5, 6, 7]), torch.tensor(STD).view(3, 1, 1).double()
    normalised = network.normalize(image)
    reach = (normalised.amax((1, 2, 3)) - normalised.amin((1, 2, 3))).view(-1, 1, 1, 1)

    def noisy(n):
        return (normalised + 0.2 * reach * normal(image, seed, n)) * std + torch.tensor(MEAN).view(3, 1, 1)

    expected = torch.stack([sensitivity.vanilla(network, noisy(n), label) for n in range(10)]).mean(0)
    assert torch.allclose(sensitivity.smoothgrad(network, image, label, seed, points=10), expected)


def test_neither_the_batch_nor_the_chunk_changes_a_map():
    network, image, label = fcn().eval(), uniform(4, 3, 6, 6), ragged_labels()
    seed = torch.arange(4)
    for make in (
        lambda i, chunk: sensitivity.smoothgrad(network, image[i], label[i], seed[i], 7, chunk=chunk),
        lambda i, chunk: sensitivity.integrated(network, image[i], label[i], 7, chunk=chunk),
        lambda i, _: sensitivity.guided(network, image[i], label[i]),
    ):
        together = make(slice(0, 4), 1000)
        assert torch.allclose(make(slice(0, 4), 1), together) and torch.allclose(make(slice(0, 4), 9), together)
        assert torch.allclose(make(slice(1, 2), 1000), together[1:2])


def test_no_more_images_than_the_chunk_are_held_at_a_time():
    sizes = []
    network = linear()
    network.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    sensitivity.integrated(network, uniform(3, 3, 4, 4), torch.tensor([0, 1, 0]), points=5, chunk=7)
    assert sizes == [6, 6, 3]


def test_a_normaliser_is_found_by_its_buffers():
    mean, std = sensitivity.normaliser(residual())
    assert torch.allclose(mean.flatten(), torch.tensor(MEAN).double())
    assert torch.allclose(std.flatten(), torch.tensor(STD).double())
    assert sensitivity.normaliser(fcn()) is None


class TestCaptum:
    """Each map is captum's; its GuidedBackprop sees modules only, of which ours has all."""

    captum = pytest.importorskip("captum.attr", reason="the package captum is not installed")

    @pytest.fixture
    def given(self):
        image, label = batch()
        return residual(), image.requires_grad_(), label

    def test_vanilla_and_loss(self, given):
        network, image, label = given
        expected = self.captum.Saliency(network).attribute(image, label, abs=False)
        assert torch.allclose(sensitivity.vanilla(network, image, label), expected)

        def negative(image):
            return F.cross_entropy(network(image), label, reduction="none")

        expected = self.captum.Saliency(negative).attribute(image, abs=False)
        assert torch.allclose(sensitivity.loss(network, image, label), expected)

    def test_guided(self, given):
        network, image, label = given
        expected = self.captum.GuidedBackprop(network).attribute(image, label)
        assert torch.allclose(sensitivity.guided(network, image, label), expected)
        assert not torch.allclose(expected, sensitivity.vanilla(network, image, label))

    @pytest.mark.parametrize("times", [True, False])
    def test_integrated(self, given, times):
        network, image, label = given
        grey = torch.tensor(MEAN).double().view(1, 3, 1, 1).expand_as(image)
        judge = self.captum.IntegratedGradients(network, multiply_by_inputs=times)
        expected = judge.attribute(image, grey, label, n_steps=50, method="riemann_left")
        found = sensitivity.integrated(network, image, label, times_difference=times)
        assert torch.allclose(found, expected, atol=1e-5 * float(expected.detach().abs().max()))

    def test_smoothgrad_with_many_noises(self, given):
        network, image, label = given
        image, label = image[:1].detach(), label[:1]
        deviation = 0.2 * float(network.normalize(image).amax() - network.normalize(image).amin())

        torch.manual_seed(0)
        judge = self.captum.NoiseTunnel(self.captum.Saliency(network.model))
        settings = {"nt_samples": 600, "nt_samples_batch_size": 50, "stdevs": deviation, "target": label, "abs": False}
        expected = judge.attribute(network.normalize(image), nt_type="smoothgrad", **settings) / network.normalize.std
        found = sensitivity.smoothgrad(network, image, label, torch.tensor([1]), points=600)
        plain = sensitivity.vanilla(network, image, label)
        assert (found - expected).norm() < 0.1 * expected.norm() < 0.5 * (plain - expected).norm()

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from networks import fcn, seeded, uniform
from one_line import one_line
from scipy import ndimage
from torch import nn

from callbacks.insight.heatmaps import ClassActivation, gradient_heatmap
from lightning_modules import Network


def classifier(classes=3, certain=1.0):
    """Pooled features of two convolutions, and a linear layer; float64, in train mode."""
    return seeded(
        lambda: nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.Softplus(), nn.Conv2d(6, 5, 3, stride=2, padding=1),
            nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(), Scaled(5, classes, certain),
        )
    ).double()  # fmt: skip


class Scaled(nn.Linear):
    """A linear layer of large weights."""

    def __init__(self, inputs, outputs, factor):
        super().__init__(inputs, outputs)
        self.weight.data *= factor
        self.bias.data *= factor


def shown(strength):
    """The display from its description, of one image's |gradient|; with the standardisation that the authors have."""
    standard = (strength - strength.mean()) / strength.std()
    clipped = np.clip(standard, np.percentile(standard, 2), np.percentile(standard, 98))
    scaled = np.pad((clipped - clipped.min()) / np.ptp(clipped), 1)
    box = sum(np.roll(scaled, (down, right), (0, 1)) for down in (-1, 0, 1) for right in (-1, 0, 1)) / 9
    smooth = ndimage.gaussian_filter(box[1:-1, 1:-1], 3)
    return (smooth - smooth.min()) / np.ptp(smooth)


def finite_differences(network, image, label, step=1e-6):
    """|d CE/dx|, the mean over channels, one value at a time."""
    gradient = torch.zeros_like(image)
    for place in np.ndindex(*image.shape[1:]):
        moved = [image.clone(), image.clone()]
        moved[0][(0, *place)] += step
        moved[1][(0, *place)] -= step
        losses = [F.cross_entropy(network(each), label) for each in moved]
        gradient[(0, *place)] = (losses[0] - losses[1]) / (2 * step)
    return gradient.abs().mean(1)[0].numpy()


@torch.no_grad()
@pytest.mark.parametrize("given", [False, True])
def test_the_gradient_heatmap_is_that_of_finite_differences(given):
    network, image = classifier().eval(), uniform(1, 3, 9, 11)
    predicted = network(image).argmax(1)
    label = (predicted + 1) % 3 if given else None
    heatmap, logits = gradient_heatmap(network, image, label)
    expected = shown(finite_differences(network, image, predicted if label is None else label))
    assert heatmap.shape == (1, 9, 11) and (heatmap.min(), heatmap.max()) == (0, 1)
    assert np.allclose(heatmap[0], expected, atol=1e-5)
    assert torch.equal(logits, network(image))


def test_a_network_that_is_certain_has_a_heatmap_all_the_same():
    """Its probability of the class is 1, the gradient of its loss 0 to the last digit."""
    image = uniform(1, 3, 12, 12)
    sure = classifier(certain=1e5).eval()
    gradient = torch.autograd.grad(F.cross_entropy(sure(x := image.requires_grad_()), sure(x).argmax(1)), x)[0]
    assert (gradient == 0).all()
    heatmap, _ = gradient_heatmap(sure, image.detach())
    assert heatmap.max() == 1 and heatmap.std() > 0.1


@pytest.mark.parametrize("kind", ["gradient", "cam"])
def test_a_heatmap_depends_on_its_own_image_alone_and_leaves_the_network_as_it_was(kind):
    network, image = classifier().train(), uniform(3, 3, 12, 16)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    look = (lambda x: gradient_heatmap(network, x)) if kind == "gradient" else ClassActivation(network, image)
    with torch.inference_mode():
        together, logits = look(image.clone())
    alone, own = look(image[1:2])
    assert np.allclose(together[1], alone[0], atol=1e-9) and torch.allclose(logits[1], own[0])
    assert all(module.training for module in network.modules()) and not any(
        p.grad is not None for p in network.parameters()
    )
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


def test_what_is_nan_or_the_same_everywhere_is_told_by_the_heatmap():
    image = uniform(2, 3, 8, 8)
    image[1, 0, 2, 2] = torch.nan
    heatmap, _ = gradient_heatmap(classifier(), image)
    assert np.isfinite(heatmap[0]).all() and np.isnan(heatmap[1]).all()
    flat = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)).double()
    assert gradient_heatmap(flat, image[:1])[0].max() <= 1


@torch.no_grad()
@pytest.mark.parametrize("given", [False, True])
def test_class_activation_maps_are_the_weighted_sum_of_the_feature_maps(given):
    network, image = classifier().eval(), uniform(2, 3, 8, 12)
    label = torch.tensor([2, 0]) if given else None
    heatmap, logits = ClassActivation(network, image)(image, label)
    features = network[:5](image)
    assert features.shape == (2, 5, 4, 6) and torch.allclose(logits, network(image))
    for i, of in enumerate(network(image).argmax(1).tolist() if label is None else label.tolist()):
        activation = sum(network[8].weight[of, k] * features[i, k] for k in range(5))
        assert activation.mean() + network[8].bias[of] == pytest.approx(logits[i, of].item())
        large = F.interpolate(activation[None, None], (8, 12), mode="bilinear", align_corners=False)[0, 0]
        assert np.allclose(heatmap[i], (large - large.min()) / (large.max() - large.min()), atol=1e-9)


@pytest.mark.parametrize(
    "name", ["resnet18", "efficientnet_lite0", "preact_resnet18", "densenet121", "mobilenet_v3_small"]
)
def test_feature_maps_are_found_in_networks_by_name(name):
    torch.manual_seed(0)
    network, image = Network(name, 4).eval(), torch.rand(2, 3, 64, 64)
    try:
        maps = ClassActivation(network, image)
    except ValueError as error:
        assert name == "mobilenet_v3_small" and "does not see the means of feature maps" in str(error)
        return
    heatmap, _ = maps(image)
    assert heatmap.shape == (2, 64, 64) and heatmap.max() == 1


def test_networks_without_pooled_feature_maps_are_told_in_one_line():
    image = uniform(1, 3, 8, 8)
    flat = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 2)).double()
    with pytest.raises(ValueError, match=one_line("cam: the last linear map (2) does not see the means", "gradient")):
        ClassActivation(flat, image)
    with pytest.raises(ValueError, match=one_line("has no last linear map")):
        ClassActivation(fcn(), image)
    with pytest.raises(ValueError, match=one_line("layer=head: the network has no such layer")):
        ClassActivation(classifier(), image, "head")

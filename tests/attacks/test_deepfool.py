import pytest
import torch
from networks import linear, seeded, uniform
from one_line import one_line
from torch import nn

from attacks import PGD, DeepFool, Linf
from attacks.adversary import undisturbed

GREY = 0.4 + 0.2 * uniform(5, 3, 4, 4, seed=1)


def size(delta):
    return delta.flatten(1).norm(dim=1)


def curved(classes=6):
    """A small classifier of 8 x 8 pixels with bent boundaries; float64."""
    network = seeded(
        lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.Tanh(), nn.Conv2d(8, 8, 3), nn.Flatten(), nn.Linear(128, classes))
    ).double()
    for parameter in network.parameters():
        parameter.data *= 3
    return network


PICTURES = uniform(12, 3, 8, 8, seed=6)


def to_the_planes(network, image, label):
    """For each class but the label's the way to the plane where both are equal, `(B, C, 48)`; 0 for the label's own."""
    logits, weight = network(image).detach(), network[1].weight.detach()
    normal = weight - weight[label].unsqueeze(1)
    gap = logits.gather(1, label[:, None]) - logits
    return normal * (gap / normal.square().sum(2).clamp(min=1e-30)).unsqueeze(2)


@pytest.mark.parametrize("classes", [2, 3, 8])
@pytest.mark.parametrize("overshoot", [0.02, 0.5])
def test_one_step_to_the_nearest_plane_of_an_affine_network(classes, overshoot):
    network = linear(classes)
    label = network(GREY).argmax(1)
    ways = to_the_planes(network, GREY, label)
    lengths = ways.norm(dim=2).scatter(1, label[:, None], torch.inf)
    nearest = ways[torch.arange(5), lengths.argmin(1)].view_as(GREY)
    result = DeepFool(steps=1, overshoot=overshoot)(network, GREY, label)
    torch.testing.assert_close(result, GREY + (1 + overshoot) * nearest, rtol=0, atol=1e-12)
    assert torch.equal(network(result).argmax(1), lengths.argmin(1))
    assert torch.equal(DeepFool(overshoot=overshoot)(network, GREY, label), result), "what has crossed moves no more"


def test_only_the_most_likely_classes_are_looked_at():
    network = linear(8)
    network[1].weight.data[0] *= 100  # far down the list, but its plane is near
    network[1].bias.data[0] -= network(GREY)[:, 0].max() + 1
    label = network(GREY).argmax(1)
    ways = to_the_planes(network, GREY, label)
    likely = network(GREY).topk(3).indices[:, 1:]
    lengths = ways.norm(dim=2)
    chosen = likely.gather(1, lengths.gather(1, likely).argmin(1, keepdim=True))[:, 0]
    result = DeepFool(num_classes=3, steps=1)(network, GREY, label)
    torch.testing.assert_close(result, GREY + 1.02 * ways[torch.arange(5), chosen].view_as(GREY), rtol=0, atol=1e-12)
    lengths = lengths.scatter(1, label[:, None], torch.inf)
    assert (chosen != lengths.argmin(1)).any(), "a class further down the list is nearer"


def test_it_crosses_bent_boundaries_with_little():
    network = curved()
    label = network(PICTURES).argmax(1)
    with undisturbed(network):
        result, crossed = DeepFool().cross(network, PICTURES, label)
    assert crossed.all() and (network(result).argmax(1) != label).all()
    strong = PGD(Linf(0.1), steps=20)(network, PICTURES, label)
    assert (size(result - PICTURES) < size(strong - PICTURES)).all()
    # Just over the boundary: a little nearer to the image, the class is still the old one.
    assert (network(PICTURES + 0.9 * (result - PICTURES)).argmax(1) == label).double().mean() > 0.8


def test_pixels_at_the_bounds_of_the_box_are_made_up_for_by_others():
    network, image = linear(3), GREY.clone()
    image[:, :, :2] = image[:, :, :2].round()
    label = network(image).argmax(1)
    result = DeepFool()(network, image, label)
    assert result.min() >= 0 and result.max() <= 1
    assert (network(result).argmax(1) != label).all()
    one = DeepFool(steps=1)(network, image, label)
    assert (network(one).argmax(1) == label).any(), "one step is not enough here"


def test_in_a_region_the_distance_is_that_within_it():
    network = linear(3)
    label = network(GREY).argmax(1)
    region = uniform(5, 1, 4, 4, seed=8) < 0.6
    result = DeepFool(steps=1)(network, GREY, label, region=region)
    assert not ((result != GREY) & ~region).any()
    assert (network(result).argmax(1) != label).all()
    weight, logits = network[1].weight.detach(), network(GREY).detach()
    for i in range(5):
        inside = region[i].expand(3, 4, 4).flatten()
        others = [k for k in range(3) if k != label[i]]
        gaps = [(logits[i, label[i]] - logits[i, k]) / (weight[k] - weight[label[i]])[inside].norm() for k in others]
        assert size(result - GREY)[i].item() == pytest.approx(1.02 * min(gaps).item())


def test_what_is_wrong_already_stays_as_it_is():
    network = linear(3)
    label = network(GREY).argmax(1)
    label[2:] = (label[2:] + 1) % 3
    result = DeepFool()(network, GREY, label)
    assert torch.equal(result[2:], GREY[2:])
    assert (result[:2] != GREY[:2]).any()


def test_a_batch_equals_its_samples():
    network = curved()
    label = network(PICTURES).argmax(1)
    label[3] = (label[3] + 1) % 6
    region = uniform(12, 1, 8, 8, seed=8) < 0.9
    together = DeepFool()(network, PICTURES, label, region=region)
    for i in range(12):
        one = slice(i, i + 1)
        alone = DeepFool()(network, PICTURES[one], label[one], region=region[one])
        torch.testing.assert_close(together[one], alone, rtol=0, atol=1e-9)


def test_an_image_on_the_boundary_is_moved_over_it():
    network = linear()
    label = network(GREY).argmax(1)
    image = GREY + to_the_planes(network, GREY, label).sum(1).view_as(GREY)
    gap = network(image).diff(dim=1).abs()
    assert gap.max() < 1e-12
    crossed = network(DeepFool()(network, image, network(image).argmax(1))).argmax(1) != network(image).argmax(1)
    assert crossed.all()


def test_a_network_without_gradient_moves_nothing():
    network = nn.Sequential(nn.Flatten(), nn.Linear(48, 3)).double()
    network[1].weight.data.zero_()
    result = DeepFool()(network, GREY, network(GREY).argmax(1))
    assert torch.equal(result, GREY)


def test_float32_and_inference_mode():
    network, image = curved().float(), PICTURES.float()
    label = network(image).argmax(1)
    expected = DeepFool()(network, image, label)
    assert expected.dtype == torch.float32 and (network(expected).argmax(1) != label).all()
    with torch.inference_mode():
        assert torch.equal(DeepFool()(network, image.clone(), label.clone()), expected)


def test_label_maps_are_refused():
    with pytest.raises(ValueError, match=one_line("DeepFool: labels (2, 4, 4) are label maps", "LBFGS")):
        DeepFool()(linear(), GREY[:2], torch.zeros(2, 4, 4, dtype=torch.long))


@pytest.mark.parametrize(
    "options", [{"num_classes": 1}, {"steps": 0}, {"overshoot": -0.1}, {"overshoot": float("nan")}]
)
def test_bad_settings_are_refused_in_one_line(options):
    ((name, value),) = options.items()
    with pytest.raises(ValueError, match=one_line("DeepFool: ", f"{name}={value}")):
        DeepFool(**options)

import pytest
import torch
from networks import linear
from torch import nn

from attacks import Linf
from callbacks import LargeEps


@pytest.fixture
def network():
    """Class = brightest channel."""
    network = nn.Conv2d(3, 3, 1, bias=False)
    with torch.no_grad():
        network.weight.copy_(20 * torch.eye(3).view(3, 3, 1, 1))
    return network


@pytest.fixture
def batch(network):
    torch.manual_seed(0)
    image = torch.rand(2, 3, 8, 8)
    label = network(image).argmax(1)
    label[0, :4] = 255
    return {"image": image, "label": label}


def test_without_targets_it_leads_away_from_the_labels(network, batch):
    (painting,) = LargeEps(Linf("128/255"), steps=40, step_size="10/255").synthesize(network, batch)
    assert torch.equal(painting.start, batch["image"])
    assert painting.result.sub(batch["image"]).abs().max() <= 128 / 255 + 1e-6
    valid = batch["label"] != 255
    wrong = (network(painting.result).argmax(1) != batch["label"])[valid]
    assert wrong.float().mean() > 0.9
    assert torch.equal(painting.result[0, :, :4], batch["image"][0, :, :4]), "void pixels are asked nothing"


def test_targets_have_a_picture_each(network, batch):
    paintings = LargeEps(Linf(1), steps=40, step_size=0.05, targets=[2, 0]).synthesize(network, batch)
    assert [painting.variant for painting in paintings] == ["class_2", "class_0"]
    for painting, target in zip(paintings, (2, 0), strict=True):
        assert (network(painting.result).argmax(1) == target)[batch["label"] != 255].all()


def test_the_papers_settings_are_the_defaults():
    painter = LargeEps(Linf("32/255"))
    assert (painter.steps, painter.step_size) == (50, pytest.approx(1.6 / 255))


def test_targets_are_classes():
    batch = {"image": torch.rand(1, 3, 4, 4).double(), "label": torch.tensor([0])}
    with pytest.raises(ValueError, match="targets=-1: classes are numbered from 0"):
        LargeEps(targets=[-1]).check(linear(), batch)
    with pytest.raises(ValueError, match="class 2 is wanted, and the network tells 2 classes apart"):
        LargeEps(targets=[2]).check(linear(), batch)

import pytest
import torch
from networks import seeded, uniform

from lightning_modules.small import SmallFCN, SmallResNet


@pytest.mark.parametrize("size", [(16, 16), (17, 30)], ids=str)
def test_the_fcn_gives_logits_of_the_images_size(size):
    assert SmallFCN(5, width=6, blocks=1)(uniform(2, 3, *size).float()).shape == (2, 5, *size)


@pytest.mark.parametrize("size", [(16, 16), (17, 30)], ids=str)
def test_the_resnet_gives_logits_of_the_mean_representation(size):
    network, image = SmallResNet(5, width=6, blocks=1).eval(), uniform(2, 3, *size).float()
    assert network(image).shape == (2, 5)
    torch.testing.assert_close(network(image), network.fc(network.backbone(image).mean((2, 3))))


@pytest.mark.parametrize("network", [SmallFCN, SmallResNet])
@pytest.mark.parametrize(("width", "blocks"), [(4, 1), (8, 2)])
def test_width_and_blocks(network, width, blocks):
    backbone = network(5, width=width, blocks=blocks).backbone
    assert backbone(uniform(1, 3, 32, 32).float().expand(2, -1, -1, -1)).shape == (2, 8 * width, 4, 4)
    assert [len(stage) for stage in backbone[1:]] == [blocks] * 3


@pytest.mark.parametrize("network", [SmallFCN, SmallResNet])
def test_every_pixel_and_every_weight_has_a_gradient(network):
    network = seeded(lambda: network(3, width=4, blocks=1)).double()
    image = uniform(2, 3, 16, 16).requires_grad_()
    network(image).square().sum().backward()
    assert (image.grad != 0).all()
    assert all(p.grad.any() for p in network.parameters())


@pytest.mark.parametrize("network", [SmallFCN, SmallResNet])
def test_in_eval_mode_a_sample_ignores_its_neighbours(network):
    network = seeded(lambda: network(3, width=4, blocks=1)).double().eval()
    image = uniform(3, 3, 16, 16)
    torch.testing.assert_close(network(image)[:1], network(image[:1]))

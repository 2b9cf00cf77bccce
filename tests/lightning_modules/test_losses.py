import pytest
import torch
import torch.nn.functional as F
from networks import per_pixel, ragged_labels, uniform
from torch import nn

from attacks.objectives import cross_entropy
from lightning_modules import CrossEntropyLoss

BATCH = {"image": uniform(4, 3, 6, 6), "label": ragged_labels()}


class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.main, self.aux = per_pixel(), per_pixel()
        self.aux.weight.data *= -2

    def forward(self, image):
        return {"out": self.main(image), "aux": self.aux(image)}


def test_the_loss_is_each_samples_mean_over_its_valid_pixels():
    network = per_pixel()
    loss = CrossEntropyLoss()(network, BATCH)
    for i in range(3):
        mean = F.cross_entropy(network(BATCH["image"])[[i]], BATCH["label"][[i]], ignore_index=255)
        torch.testing.assert_close(loss[i], mean)
    assert loss[3] == 0


def test_it_differs_from_the_mean_over_all_pixels_of_the_batch():
    network = per_pixel()
    of_batch = F.cross_entropy(network(BATCH["image"]), BATCH["label"], ignore_index=255)
    assert not torch.allclose(CrossEntropyLoss()(network, BATCH)[:3].mean(), of_batch, rtol=1e-3)


@pytest.mark.parametrize("weight", [0.0, 0.5, 2.0])
def test_the_auxiliary_head_adds_its_weighted_loss(weight):
    network = TwoHeads()
    main, aux = (cross_entropy(head(BATCH["image"]), BATCH["label"]) for head in (network.main, network.aux))
    torch.testing.assert_close(CrossEntropyLoss(weight)(network, BATCH), main + weight * aux)


def test_the_auxiliary_weight_is_that_of_torchvisions_reference():
    assert CrossEntropyLoss().aux_weight == 0.5


def test_an_all_void_batch_has_loss_0_and_no_gradient():
    network = TwoHeads()
    CrossEntropyLoss()(network, {**BATCH, "label": torch.full_like(BATCH["label"], 255)}).mean().backward()
    assert all(not p.grad.any() for p in network.parameters())


def test_a_network_without_an_auxiliary_head_may_give_a_dict():
    network = TwoHeads()
    loss = CrossEntropyLoss()(lambda image: {"out": network.main(image)}, BATCH)
    torch.testing.assert_close(loss, CrossEntropyLoss()(network.main, BATCH))

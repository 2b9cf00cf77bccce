import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from networks import fcn, linear, per_pixel, ragged_labels, uniform
from torch import nn

from attacks.objectives import cross_entropy, kl_divergence
from lightning_modules import TRADES, CrossEntropyLoss

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


ATTACKED = {**BATCH, "clean": uniform(4, 3, 6, 6, seed=7)}


def test_trades_is_cross_entropy_of_the_clean_image_and_beta_times_the_divergence():
    network = linear(classes=3)
    clean, image, label = uniform(5, 3, 4, 4), uniform(5, 3, 4, 4, seed=1), torch.tensor([0, 1, 2, 1, 0])
    p, q = network(clean).softmax(1), network(image).softmax(1)
    expected = -p.log()[range(5), label] + 6 * (p * (p / q).log()).sum(1)
    torch.testing.assert_close(TRADES()(network, {"image": image, "clean": clean, "label": label}), expected)


@pytest.mark.parametrize("weight", [0.5, 2.0])
def test_trades_treats_the_auxiliary_head_likewise_and_void_as_nothing(weight):
    network, label = TwoHeads(), ATTACKED["label"]
    parts = []
    for head in (network.main, network.aux):
        clean, attacked = head(ATTACKED["clean"]), head(ATTACKED["image"])
        parts.append(cross_entropy(clean, label) + 3 * kl_divergence(clean, attacked, label))
    loss = TRADES(beta=3, aux_weight=weight)(network, ATTACKED)
    torch.testing.assert_close(loss, parts[0] + weight * parts[1])
    assert loss[3] == 0 and (loss[:3] > 0).all()


def test_the_gradient_of_trades_goes_through_both_images():
    network = linear(classes=3)
    clean, image = uniform(2, 3, 4, 4).requires_grad_(), uniform(2, 3, 4, 4, seed=1).requires_grad_()
    loss = TRADES(beta=2)(network, {"image": image, "clean": clean, "label": torch.tensor([0, 1])}).sum()
    of_both = torch.autograd.grad(loss, (image, clean))
    p, q = network(clean).softmax(1), network(image).softmax(1)
    of_p = (p / q).log() - (p * (p / q).log()).sum(1, keepdim=True)
    of_label = p - F.one_hot(torch.tensor([0, 1]), 3)
    weight = network[1].weight
    torch.testing.assert_close(of_both[0].flatten(1), 2 * (q - p) @ weight)
    torch.testing.assert_close(of_both[1].flatten(1), (of_label + 2 * p * of_p) @ weight)


def test_trades_shows_batch_norm_the_clean_and_the_attacked_images_one_after_the_other():
    network = fcn().train()
    network[3].p = 0.0
    clean, attacked = network(ATTACKED["clean"]), network(ATTACKED["image"])
    label = ATTACKED["label"]
    expected = cross_entropy(clean, label) + 6 * kl_divergence(clean, attacked, label)
    torch.testing.assert_close(TRADES()(network, ATTACKED), expected)
    assert network[1].num_batches_tracked == 4


def test_a_sample_that_is_not_attacked_has_its_cross_entropy_alone():
    network = per_pixel()
    loss = TRADES()(network, {**BATCH, "clean": BATCH["image"]})
    torch.testing.assert_close(loss, CrossEntropyLoss()(network, BATCH))


def test_trades_without_an_attack_is_one_clear_line():
    with pytest.raises(MisconfigurationException, match=r"attack\.train is null: set attack\.train, or take") as error:
        TRADES()(per_pixel(), BATCH)
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="beta=-1 must be 0 or more"):
        TRADES(beta=-1)
    for loss in (TRADES, CrossEntropyLoss):
        with pytest.raises(ValueError, match="aux_weight=nan must be 0 or more"):
            loss(aux_weight=float("nan"))

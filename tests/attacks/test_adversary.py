from functools import partial

import pytest
import torch
import torch.nn.functional as F
from networks import fcn, per_pixel, ragged_labels, uniform
from torch import nn

from attacks import FGSM, L2, PGD, Adversary, GaussianNoise, Linf, undisturbed
from attacks.adversary import shown
from attacks.objectives import cross_entropy

IMAGE, LABEL = uniform(4, 3, 6, 6), ragged_labels()


class AlwaysFrozen(nn.BatchNorm2d):
    """Stays in eval mode whatever is asked."""

    def train(self, mode=True):
        return super().train(False)


class KeepsNormFrozen(nn.Sequential):
    """Freezes what its parent's `train` just thawed."""

    def train(self, mode=True):
        super().train(mode)
        self[1].eval()
        return self


def plain():
    return fcn()


def frozen_batch_norm():
    network = fcn()
    network[1].eval().requires_grad_(False)
    return network


def overridden_train():
    return nn.Sequential(AlwaysFrozen(3).double(), KeepsNormFrozen(*fcn()).train())


def evaluating():
    return fcn().eval()


def thawed_part():
    network = fcn().eval()
    network[3].train()
    return network


NETWORKS = [plain, frozen_batch_norm, overridden_train, evaluating, thawed_part]


class Rude(Adversary):
    """What other people's attacks do to a network."""

    def __init__(self, fails=False):
        self.fails = fails

    def perturb(self, network, image, label, seed, region):
        torch.manual_seed(7)
        given, image = image, (image + 0.01 * torch.randn_like(image)).requires_grad_()
        seen = image if region is None else image * region
        cross_entropy(network(seen), label).mean().backward()
        network.train()
        for parameter in network.parameters():
            parameter.requires_grad_(False)
        if self.fails:
            raise RuntimeError("out of memory")
        moved = (image + 0.1 * image.grad.sign()).clamp(0, 1)
        return moved if region is None else torch.where(region, moved, given)


ATTACKS = [FGSM(Linf(0.1)), PGD(L2(0.5), steps=2, restarts=2), GaussianNoise(0.1), Rude(), Rude(fails=True)]


def state(network):
    return {
        "training": [module.training for module in network.modules()],
        "requires_grad": [p.requires_grad for p in network.parameters()],
        "grad objects": [id(p.grad) for p in network.parameters()],
        "grads": [None if p.grad is None else p.grad.tolist() for p in network.parameters()],
        "weights": [p.tolist() for p in network.parameters()],
        "buffers": [b.tolist() for b in network.buffers()],
        "generator": torch.get_rng_state().tolist(),
    }


def run(attack, network, *arguments, **options):
    if getattr(attack, "fails", False):
        with pytest.raises(RuntimeError, match="out of memory"):
            attack(network, *arguments, **options)
    else:
        attack(network, *arguments, **options)


@pytest.mark.parametrize("attack", ATTACKS, ids=repr)
@pytest.mark.parametrize("build", NETWORKS)
@pytest.mark.parametrize("earlier_gradients", [False, True])
def test_an_attack_leaves_the_network_and_the_generators_alone(attack, build, earlier_gradients):
    network = build()
    if earlier_gradients:
        (network(IMAGE).square().mean()).backward()
        next(network.parameters()).grad = None  # some have one, some do not
    before = state(network)
    run(attack, network, IMAGE, LABEL)
    assert state(network) == before


def test_buffers_are_restored_when_a_foreign_attack_runs_the_network_in_train_mode():
    network = fcn()
    before = state(network)
    with undisturbed(network):
        network.train()
        network(IMAGE)
        network.eval()
    assert state(network) == before


@pytest.mark.parametrize("mode", [True, False], ids=["train", "eval"])
def test_a_graph_made_before_an_attack_keeps_its_backward(mode):
    """As in a loss that looks at the clean image first, and attacks then."""
    network = fcn().train(mode)
    network[3].p = 0.0
    gradients = []
    for attacks in (False, True):
        clean = network(IMAGE).square().mean()
        if attacks:
            FGSM(Linf(0.1))(network, IMAGE, LABEL)
        gradients.append(torch.autograd.grad(clean, network[0].weight)[0])
    assert torch.equal(*gradients)


def test_inside_the_network_is_in_eval_mode_with_gradients_enabled_and_none_kept():
    network = fcn()
    network(IMAGE).mean().backward()
    with torch.inference_mode(), undisturbed(network):
        assert not any(module.training for module in network.modules())
        assert all(p.grad is None for p in network.parameters())
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()
    assert not torch.is_inference_mode_enabled()


def test_a_parameter_gradient_accumulated_by_the_attack_is_dropped():
    network = per_pixel()
    with undisturbed(network):
        network(IMAGE).mean().backward()
        assert network.weight.grad is not None
    assert network.weight.grad is None


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("attack", [FGSM(Linf(0.1)), PGD(L2(0.5), steps=3, restarts=2), Rude()], ids=repr)
def test_an_attack_works_where_gradients_are_off(context, attack):
    network = fcn()
    region = uniform(4, 1, 6, 6) < 0.7
    expected = attack(network, IMAGE, LABEL, torch.arange(4), region)
    with context():
        made_inside = [tensor.clone() for tensor in (IMAGE, LABEL, torch.arange(4), region)]
        assert made_inside[0].is_inference() == (context is torch.inference_mode)
        result = attack(network, *made_inside)
        assert not result.is_inference()
        assert torch.equal(result, expected)
    assert not torch.equal(result, IMAGE)


@pytest.mark.parametrize("attack", ATTACKS[:-1], ids=repr)
def test_the_arguments_are_not_changed_and_the_result_has_no_graph(attack):
    image, label, seed = IMAGE.clone().requires_grad_(), LABEL.clone(), torch.arange(4)
    result = attack(fcn(), image, label, seed)
    assert torch.equal(image, IMAGE)
    assert image.requires_grad
    assert image.grad is None
    assert torch.equal(label, LABEL)
    assert torch.equal(seed, torch.arange(4))
    assert not result.requires_grad
    assert not torch.equal(result, IMAGE)


@pytest.mark.parametrize("attack", [PGD(Linf(0.1), steps=2), GaussianNoise(0.1)], ids=repr)
def test_without_seeds_a_sample_is_seeded_by_its_place(attack):
    network = fcn()
    result = attack(network, IMAGE, LABEL)
    torch.manual_seed(99)
    assert torch.equal(attack(network, IMAGE, LABEL), result)
    assert torch.equal(attack(network, IMAGE, LABEL, torch.arange(4)), result)
    assert not torch.equal(attack(network, IMAGE, LABEL, torch.arange(4) + 4), result)


@pytest.mark.parametrize("accumulate", [1, 4])
def test_training_on_the_fly_gives_the_gradients_of_precomputed_images(accumulate):
    attack, network = PGD(Linf(0.1), steps=2), fcn()
    network[3].p = 0.0
    precomputed = [attack(network, image, label) for image, label in zip(IMAGE.split(2), LABEL.split(2), strict=True)]

    def gradients(attacked):
        network.zero_grad()
        for _ in range(accumulate):
            for i, (image, label) in enumerate(zip(IMAGE.split(2), LABEL.split(2), strict=True)):
                image = attack(network, image, label) if attacked else precomputed[i]
                cross_entropy(F.relu(network[0](image)), label).mean().backward()
        return network[0].weight.grad

    assert torch.equal(gradients(True), gradients(False))


def test_an_attack_prints_its_settings():
    assert repr(GaussianNoise("1/4")) == "GaussianNoise(std=0.25)"
    assert "constraint=Linf(eps=0.25), steps=3" in repr(PGD(Linf(0.25), steps=3))
    assert repr(PGD(Linf(0.25))).endswith("objective=CrossEntropy)")


class Thing:
    pass


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (fgsm := FGSM(Linf(0.25)), repr(fgsm)),
        (invert := lambda image: 1 - image, "<lambda>"),
        (partial(PGD, steps=2), "PGD"),
        (Thing().__init__, "__init__"),
        (nn.Sequential(nn.ReLU(), nn.ReLU()), "Sequential( (0): ReLU() (1): ReLU() )"),
        ([invert], "[<function <lambda>>]"),
        ("PGD", "'PGD'"),
        (torch.zeros(2, 3), "Tensor(2, 3)"),
    ],
)
def test_what_something_is_called_is_a_line_without_its_place_in_memory(value, expected):
    assert shown(value) == expected
    assert " at 0x" not in shown(Thing()) and "Thing object" in shown(Thing())

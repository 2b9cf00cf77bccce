"""What an attack gives back is looked at, whoever wrote it; images are `(4, 3, 6, 6)`, float64."""

from functools import partial

import pytest
import torch
from networks import fcn, per_pixel, ragged_labels, uniform
from one_line import one_line
from torch import nn

from attacks import FGSM, L2, PGD, Adversary, AttackError, Ensemble, Linf, Square, Transfer
from attacks.adversary import attacked

IMAGE, LABEL = uniform(4, 3, 6, 6), ragged_labels()
REGION = torch.ones(4, 1, 6, 6, dtype=torch.bool)
REGION[:, :, 4:] = False


def whole(moved):
    """An attack that returns what `moved` makes of the image."""
    return lambda network, image, label, seed=None, region=None: moved(image)


class Mine(Adversary):
    """The same as a class, with a radius of its own."""

    def __init__(self, moved, constraint=None):
        self.moved, self.constraint = moved, constraint

    def perturb(self, network, image, label, seed, region):
        return self.moved(image)


def ended(error):
    raise error


BROKEN = {
    "nothing": (lambda image: None, "returned nothing: an attack returns the adversarial image"),
    "a pair": (lambda image: (image, True), "returned a tuple"),
    "an array": (lambda image: image.numpy(), "returned a ndarray"),
    "bytes": (lambda image: (image * 255).byte(), "an image of uint8, not float64 in [0, 1] (divide bytes by 255)"),
    "half": (lambda image: image.half(), "an image of float16, not float64"),
    "single": (lambda image: image.float(), "an image of float32, not float64"),
    "grey": (lambda image: image.mean(1, keepdim=True), "an image (4, 1, 6, 6) for one of (4, 3, 6, 6)"),
    "one of them": (lambda image: image[0], "an image (3, 6, 6) for one of (4, 3, 6, 6)"),
    "NaN": (lambda image: image * float("nan"), "its image holds NaN or infinite values"),
    "one NaN": (lambda image: image.index_fill_(3, torch.tensor(2), float("nan")), "NaN or infinite"),
    "infinity": (lambda image: image / 0, "NaN or infinite"),
    "far": (lambda image: image + 3, "values from 3.0", "not in [0, 1]: clamp it"),
    "0 to 255": (lambda image: image * 255, "not in [0, 1]: clamp it"),
    "below 0": (lambda image: image - 0.5, "values from -0.", "not in [0, 1]"),
    "the end of something": (lambda image: next(iter(())), "it raised StopIteration"),
    "an exit": (lambda image: exit(0), "it called `sys.exit`"),
    "a generator's exit": (lambda image: ended(GeneratorExit), "it raised GeneratorExit, no Exception"),
    "no exception": (lambda image: ended(BaseException), "it raised BaseException, no Exception"),
}


@pytest.mark.parametrize("make", [whole, Mine, lambda moved: Ensemble([FGSM(Linf(0)), whole(moved)]),
                                  lambda moved: Transfer(Mine(moved), per_pixel())],
                         ids=["function", "class", "ensemble", "transfer"])  # fmt: skip
@pytest.mark.parametrize("case", BROKEN)
def test_what_is_no_image_of_the_same_kind_is_told_in_one_line(make, case):
    moved, *parts = BROKEN[case]
    with pytest.raises(AttackError, match=one_line(*parts)):
        attacked(make(moved), per_pixel(), IMAGE, LABEL)


class Terminated(SystemExit):
    """As a signal's handler raises."""


@pytest.mark.parametrize("error", [Terminated, KeyboardInterrupt, IndexError])
def test_what_ends_the_process_and_ones_own_errors_are_left_alone(error):
    with pytest.raises(error):
        attacked(whole(lambda image: ended(error)), per_pixel(), IMAGE, LABEL)


def test_rounding_is_no_breach():
    for moved in (lambda image: image.clamp(max=1) + 9e-7, lambda image: image + 0.01 + 9e-7):
        attacked(Mine(moved, Linf(0.01)), per_pixel(), IMAGE * 0.9, LABEL)
    attacked(whole(lambda image: image / image.max() + 9e-7), per_pixel(), IMAGE, LABEL)
    with pytest.raises(AttackError, match="not in"):
        attacked(whole(lambda image: image / image.max() + 2e-6), per_pixel(), IMAGE, LABEL)


@pytest.mark.parametrize(
    ("constraint", "inside", "outside"), [(Linf(0.03), 0.03, 0.031), (L2(0.5), 0.5 / 108**0.5, 0.51 / 108**0.5)]
)
def test_an_image_stays_in_the_radius_that_the_attack_has(constraint, inside, outside):
    image = IMAGE * 0.5
    attacked(Mine(lambda image: image + inside, constraint), per_pixel(), image, LABEL)
    with pytest.raises(AttackError, match=one_line("away from the clean one, outside of its", repr(constraint))):
        attacked(Mine(lambda image: image + outside, constraint), per_pixel(), image, LABEL)
    attacked(Mine(lambda image: image + outside), per_pixel(), image, LABEL)  # no radius is known


def test_one_sample_outside_is_enough():
    def last_only(image):
        image[-1] += 0.1
        return image

    with pytest.raises(AttackError, match=one_line("is 1.039 away")):
        attacked(Mine(last_only, L2(0.05 * 108**0.5)), per_pixel(), IMAGE * 0.5, LABEL)


def test_an_image_that_was_never_in_range_is_not_blamed_on_the_attack():
    with pytest.raises(AttackError, match=one_line("it was given an image with values from -2 to 2.")):
        FGSM(Linf(0.1))(per_pixel(), (IMAGE * 5 - 2).index_fill(0, torch.tensor(0), -2), LABEL)


def test_nothing_moves_outside_the_region():
    with pytest.raises(AttackError, match=one_line("moves by 0.1 outside of `region`", "torch.where(region")):
        attacked(whole(lambda image: image + 0.1), per_pixel(), IMAGE * 0.5, LABEL, region=REGION)
    attacked(
        whole(lambda image: torch.where(REGION, image + 0.1, image)), per_pixel(), IMAGE * 0.5, LABEL, None, REGION
    )


def doubles(network, image):
    for weight in network.parameters():
        weight.data.mul_(2)  # a way that no version counter sees
    return image


def one_bit(network, image):
    with torch.no_grad():
        network[0].weight[0, 0, 0, 0] += 1e-15
    return image


def replaces(network, image):
    network[4] = nn.Conv2d(8, 3, 3, padding=1).double()
    return image


def and_back(network, image):
    kept = [weight.clone() for weight in network.parameters()]
    doubles(network, image)
    for weight, value in zip(network.parameters(), kept, strict=True):
        weight.data.copy_(value)
    return image


@pytest.mark.parametrize("change", [doubles, one_bit, replaces])
def test_an_attack_that_changes_the_network_is_told(change):
    network = fcn()
    with pytest.raises(AttackError, match=one_line("changed the network's weights", "copy.deepcopy(network)")):
        attacked(whole(partial(change, network)), network, IMAGE, LABEL)


def test_weights_that_are_put_back_have_not_changed():
    network = fcn()
    attacked(whole(partial(and_back, network)), network, IMAGE, LABEL)


def test_an_attack_in_place_works_on_copies():
    image, label, region = IMAGE.clone(), LABEL.clone(), REGION.clone()

    def in_place(network, image, label, seed=None, region=None):
        label.zero_()
        region.fill_(True)
        return image.mul_(0.5)

    moved = attacked(in_place, per_pixel(), image, label, region=torch.ones_like(region))
    assert torch.equal(moved, IMAGE * 0.5)
    assert torch.equal(image, IMAGE) and torch.equal(label, LABEL) and torch.equal(region, REGION)


def test_what_comes_back_can_be_trained_on_wherever_it_was_made():
    def inferred(network, image, label, seed=None, region=None):
        with torch.inference_mode():
            return image + 0

    moved = attacked(inferred, per_pixel(), IMAGE, LABEL)
    assert not moved.is_inference()
    network = per_pixel()
    network(moved).sum().backward()
    graph = attacked(lambda n, image, label, seed, region: image * n.weight.sum().sigmoid(), network, IMAGE, LABEL)
    assert not graph.requires_grad


class Detached(nn.Module):
    def forward(self, image):
        return torch.cat([image, image], 1).detach()[:, :3]


class Blind(nn.Module):
    """Gives weights a gradient, but not the image."""

    def __init__(self):
        super().__init__()
        self.body = per_pixel()

    def forward(self, image):
        return self.body(image.detach())


class Broken(nn.Module):
    def forward(self, image):
        return image * float("nan")


@pytest.mark.parametrize("network", [Detached(), Blind()], ids=["detached", "blind"])
@pytest.mark.parametrize("attack", [FGSM(Linf(0.1)), PGD(L2(0.5), steps=2)])
def test_a_network_without_gradient_to_the_image_is_told(network, attack):
    with pytest.raises(AttackError, match=one_line("have no gradient to the image", "such as Square")):
        attack(network, IMAGE, LABEL)


def test_an_attack_that_forgets_to_ask_for_a_gradient_is_not_blamed_on_the_network():
    def forgets(network, image, label, seed=None, region=None):
        return torch.autograd.grad(network(image).sum(), image)[0]

    with pytest.raises(RuntimeError, match=r"not require grad|not have been used"):
        attacked(forgets, per_pixel(), IMAGE, LABEL)


def test_a_broken_network_is_not_blamed_on_the_attack():
    with pytest.raises(AttackError, match=one_line("the network's logits are NaN or infinite on the clean images")):
        attacked(whole(lambda image: image * float("nan")), Broken(), IMAGE, LABEL)


def test_no_sample_is_no_breach():
    assert Square(Linf(0.1), 1)(per_pixel(), IMAGE[:0], LABEL[:0]).shape == (0, 3, 6, 6)


def hooks(network, image):
    network.register_forward_hook(lambda module, given, found: found * 0)
    return image


def overrides(network, image):
    network.forward = lambda image: image * 0
    return image


@pytest.mark.parametrize("change", [hooks, overrides])
def test_an_attack_that_leaves_a_hook_or_another_forward_is_told(change):
    network = per_pixel()

    def attack(network, image, label, seed=None, region=None):
        return change(network, image)

    with pytest.raises(AttackError, match=one_line("it left a hook on the network, or replaced its forward")):
        attacked(attack, network, IMAGE, LABEL)


def test_an_attack_may_take_its_hooks_with_it():
    def attack(network, image, label, seed=None, region=None):
        handle = network.register_forward_hook(lambda module, given, found: None)
        network(image)
        handle.remove()
        return image

    attacked(attack, per_pixel(), IMAGE, LABEL)


def test_a_network_that_changes_its_image_in_place_is_told():
    class InPlace(nn.Module):
        def forward(self, image):
            return image.sub_(0.5)

    with pytest.raises(AttackError, match=one_line("the network changes the image it is given, in place")):
        FGSM(Linf(0.1))(InPlace(), IMAGE, LABEL)

import pytest
import torch
from networks import fcn, linear, per_pixel, ragged_labels, uniform

from attacks import APGD, FGSM, PGD, Adversary, Ensemble, GaussianNoise, Linf, Transfer
from attacks.apgd import wrong_share

IMAGE = 0.4 + 0.2 * uniform(6, 3, 4, 4, seed=1)
PICTURE = uniform(4, 3, 6, 6, seed=5)


class Spy(Adversary):
    """Remembers what it was given; gives what it was told."""

    def __init__(self, result):
        self.result, self.given = result, []

    def perturb(self, network, image, label, seed, region):
        self.given.append((image, seed, region))
        return self.result(image)


def test_each_sample_keeps_the_attack_that_hurts_it_most():
    network = fcn().eval()
    label = network(PICTURE).argmax(1)
    attacks = [FGSM(Linf(0.05)), PGD(Linf(0.05), steps=5), GaussianNoise(0.05)]
    result = Ensemble(attacks)(network, PICTURE, label)
    each = torch.stack([wrong_share(network(attack(network, PICTURE, label)), label) for attack in attacks])
    assert torch.equal(wrong_share(network(result), label), each.amax(0))


def test_what_one_attack_broke_is_not_attacked_again():
    network = linear()
    label = network(IMAGE).argmax(1)
    order = torch.arange(6)
    first = Spy(
        lambda image: torch.where((order < 3).view(-1, 1, 1, 1), APGD(Linf(1), 9)(network, image, label), image)
    )
    second, third = Spy(lambda image: APGD(Linf(1), 9)(network, image, label[3:])), Spy(lambda image: image)
    region = torch.ones(6, 1, 4, 4, dtype=torch.bool)
    result = Ensemble([first, second, third])(network, IMAGE, label, 10 + order, region)
    assert (network(result).argmax(1) != label).all()
    image, seed, part = second.given[0]
    assert torch.equal(image, IMAGE[3:]) and seed.tolist() == [13, 14, 15] and len(part) == 3
    assert not third.given, "nothing is left"


def test_what_is_wrong_to_begin_with_is_left_as_it_is():
    network = linear()
    wrong = 1 - network(IMAGE).argmax(1)
    assert torch.equal(Ensemble([PGD(Linf(0.1))])(network, IMAGE, wrong), IMAGE)


def test_it_tells_which_attack_each_image_is_from():
    network, shift = linear(), torch.tensor([0.0, 0.1, 0.2, 0.0, 0.2, 0.1]).view(-1, 1, 1, 1)
    label = network(IMAGE).argmax(1)
    adversarial = APGD(Linf(1), 9)(network, IMAGE, label)
    first = Spy(lambda image: torch.where(shift == 0.1, adversarial, image))
    second = FGSM(Linf(0.01))
    ensemble = Ensemble([first, second])
    ensemble(network, IMAGE, label)
    assert ensemble.winners == ["FGSM", "Spy", "FGSM", "FGSM", "FGSM", "Spy"]
    ensemble(network, IMAGE[:2], 1 - label[:2])
    assert ensemble.winners == ["clean", "clean"], "they were wrong to begin with"
    assert "winners" not in repr(ensemble)
    alike = Ensemble([first, Spy(lambda image: image), second])
    alike(network, IMAGE, label)
    assert alike.winners == ["FGSM", "Spy-1", "FGSM", "FGSM", "FGSM", "Spy-1"]


def test_no_attack_is_no_ensemble():
    with pytest.raises(ValueError, match="one attack or more"):
        Ensemble([])


def test_a_transferred_attack_is_that_on_the_surrogate():
    surrogate, target = linear(), linear()
    target[1].weight.data.neg_()
    label, seed = torch.tensor([0, 1, 0, 1, 0, 1]), torch.arange(6)
    attack = PGD(Linf(0.1), steps=4)
    result = Transfer(attack, surrogate)(target, IMAGE, label, seed)
    assert torch.equal(result, attack(surrogate, IMAGE, label, seed))
    assert not torch.equal(result, attack(target, IMAGE, label, seed))


def test_both_networks_are_left_as_they_were():
    surrogate, target = fcn(), fcn()
    before = [value.clone() for network in (surrogate, target) for value in network.state_dict().values()]
    Transfer(PGD(Linf(0.1), steps=2), surrogate)(target, PICTURE, torch.zeros(4, 6, 6, dtype=torch.long))
    after = [value for network in (surrogate, target) for value in network.state_dict().values()]
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    assert surrogate.training and target.training


def test_a_transferred_attack_prints_its_surrogate():
    assert repr(Transfer(FGSM(Linf(0.1)), linear())).endswith("surrogate=Sequential)")
    assert repr(Transfer(darker, linear())) == "Transfer(darker, surrogate=Sequential)"


def darker(network, image, label, seed=None, region=None):
    return image * 0.5


def test_functions_are_parts_like_any_other():
    image, label = uniform(4, 3, 6, 6), ragged_labels()
    ensemble = Ensemble([darker, FGSM(Linf(0.5))])
    ensemble(per_pixel(), image, label)
    assert set(ensemble.winners) <= {"clean", "darker", "FGSM"}
    moved = Transfer(darker, per_pixel())(fcn(), image, label)
    assert torch.equal(moved, image * 0.5)

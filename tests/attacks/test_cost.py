import pytest
import torch
from networks import fcn, ragged_labels, uniform

from attacks import APGD, FGSM, PGD, SEA, JensenShannon, Linf, Square, Transfer, counted

IMAGE, LABEL = uniform(4, 3, 6, 6), ragged_labels()


@pytest.mark.parametrize(
    ("attack", "forwards", "backwards"),
    [
        (FGSM(Linf(0.1)), 1, 1),
        (PGD(Linf(0.1), steps=7), 7, 7),
        (PGD(Linf(0.1), steps=5, restarts=2), 12, 10),
        (APGD(Linf(0.1), steps=9), 10, 9),
        (SEA(Linf(0.1), JensenShannon, steps=10), 13, 10),
        (Square(Linf(0.1), queries=6), 6, 0),
    ],
)
def test_the_cost_is_what_the_attack_says_it_is(attack, forwards, backwards):
    network = fcn()
    with counted(network) as cost:
        attack(network, IMAGE, LABEL)
    assert (cost.forwards, cost.backwards) == (4 * forwards, 4 * backwards)


def test_a_dict_of_logits_counts_too():
    class Segmenter(torch.nn.Module):
        def forward(self, image):
            return {"out": 2 * image, "aux": image}

    network = Segmenter()
    with counted(network) as cost:
        PGD(Linf(0.1), steps=2)(network, IMAGE, LABEL)
    assert (cost.forwards, cost.backwards) == (8, 8)


def test_a_surrogate_is_another_network():
    network, surrogate = fcn(), fcn()
    with counted(network) as cost:
        Transfer(FGSM(Linf(0.1)), surrogate)(network, IMAGE, LABEL)
    assert (cost.forwards, cost.backwards) == (0, 0)


def test_nothing_is_left_on_the_network_also_after_an_error():
    network = fcn()
    with pytest.raises(RuntimeError), counted(network) as cost:
        network(IMAGE[:, :1])
    network(IMAGE)
    assert cost.forwards == 0
    assert not network._forward_hooks

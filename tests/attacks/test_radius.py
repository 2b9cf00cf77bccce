"""An attack at another radius: all it is made of grows along, each part once."""

import pytest
from one_line import one_line

from attacks import PGD, AutoAttack, Ensemble, Linf, Transfer
from attacks.ensemble import parts
from attacks.radius import scaled, with_eps


def test_a_warm_up_reaches_what_an_attack_is_made_of():
    attack = AutoAttack(Linf(0.1))
    smaller = scaled(attack, 0.25)
    assert {part.constraint.eps for part in (smaller, *smaller.attacks)} == {0.025}
    assert {part.constraint.eps for part in (attack, *attack.attacks)} == {0.1}


def test_a_warm_up_reaches_the_steps_of_what_an_attack_is_made_of_once_each(pixel_network):
    pgd = PGD(Linf(0.1), steps=2, step_size=0.04)
    attack = Ensemble([pgd, pgd, Transfer(pgd, pixel_network)])
    smaller = scaled(attack, 0.5)
    found = [part for part, _ in parts(smaller) if isinstance(part, PGD)]
    assert {(part.constraint.eps, part.step_size) for part in found} == {(0.05, 0.02)} and len(found) == 3
    assert smaller.attacks[2].surrogate is pixel_network
    assert (pgd.constraint.eps, pgd.step_size) == (0.1, 0.04)


def test_an_attack_without_a_radius_is_named():
    def darken(network, image, label, seed=None, region=None):
        return image / 2

    with pytest.raises(ValueError, match=one_line("eps=0.1: ", "darken, has no constraint Linf or L2")) as told:
        with_eps({"mine": darken}, 0.1)
    assert " at 0x" not in str(told.value)

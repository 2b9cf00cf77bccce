"""Attacks at another radius: eps, and the step sizes along with it."""

import copy
from typing import Any

from attacks.adversary import Adversary, AttackCallable, shown
from attacks.constraints import Ball, Number
from attacks.contract import ball_of
from attacks.ensemble import Ensemble, Transfer, parts

AnyAttack = Adversary | AttackCallable


def scaled(attack: Any, factor: float) -> Any:
    """A copy of an attack with `factor` times its eps and step size, and so of the attacks that it is made of."""
    networks = {id(network): network for _, network in parts(attack) if network is not None}
    attack = copy.deepcopy(attack, networks)  # which are not copied
    for ball in balls_of(attack):
        ball.eps *= factor
    for part in {id(part): part for part, _ in parts(attack)}.values():
        if getattr(part, "step_size", None) is not None:
            part.step_size *= factor
    return attack


def balls_of(attack: AnyAttack) -> list[Ball]:
    """The balls of an attack and of those it is made of, each once: they may share one, as in AutoAttack."""
    found = (ball_of(part) for part, _ in parts(attack))
    return list({id(ball): ball for ball in found if ball is not None}.values())


def with_eps(attacks: dict[str, AnyAttack], eps: Number) -> dict[str, AnyAttack]:
    """Copies of attacks whose radius is `eps`, and whose step sizes are as many times larger.

    Raises:
        ValueError: if one of them has no `Linf` or `L2`, if they differ in norm or radius, or have none above 0.
    """
    for name, attack in attacks.items():
        for part, _ in parts(attack):
            if ball_of(part) is None and not isinstance(part, Ensemble | Transfer):
                raise ValueError(f"eps={eps}: {name}, {shown(part)}, has no constraint Linf or L2; leave eps out")
    balls = [ball for attack in attacks.values() for ball in balls_of(attack)]
    kinds = sorted({(type(ball).__name__, ball.eps) for ball in balls})
    if len(kinds) != 1 or balls[0].eps == 0:
        found = ", ".join(f"{norm} {radius:.4g}" for norm, radius in kinds) or "none"
        raise ValueError(f"eps={eps}: the evaluation attacks must have one norm and radius, not {found}; leave eps out")
    wanted = type(balls[0])(eps).eps
    result = {name: scaled(attack, wanted / balls[0].eps) for name, attack in attacks.items()}
    for ball in (ball for attack in result.values() for ball in balls_of(attack)):
        ball.eps = wanted  # to the last digit
    return result

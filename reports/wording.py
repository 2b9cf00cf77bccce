"""How names, radii and settings are said in tables and pages."""

import math
from collections.abc import Iterator
from typing import Any

LONGEST = 200
"""Characters of a text that is shown."""

DEEPEST = 40
"""Levels of lists and objects in a file; ours have a handful."""


def printable(text: str) -> str:
    """A text on one line without what a terminal takes for a command; too long a one is cut off."""
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[: LONGEST + 1])
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def clean(value: Any, depth: int = 0) -> Any:
    """JSON whose texts are all `printable`; raises ValueError where it is nested more than `DEEPEST` levels."""
    if depth > DEEPEST:
        raise ValueError("it is nested too deeply")
    if isinstance(value, dict):
        return {printable(key): clean(each, depth + 1) for key, each in value.items()}
    if isinstance(value, list):
        return [clean(each, depth + 1) for each in value]
    return printable(value) if isinstance(value, str) else value


def as_number(value: Any) -> float | None:
    """A number of JSON, infinity and NaN included; None where it is something else, or too large for a float."""
    try:
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    except OverflowError:
        return None


def eps_text(eps: float) -> str:
    """A radius the way people say it: `8/255`, `0.03`, `1.6/255`."""
    levels = 255 * eps
    if abs(eps - round(eps, 3)) < 1e-12 or eps > 1:
        return f"{eps:g}"
    if abs(levels - round(levels, 1)) < 1e-6:
        return f"{round(levels, 1):g}/255"
    return f"{eps:g}"


STRENGTHS = ("std", "sigma", "passes")
"""Settings that say how strong an attack without a radius is; where they are 0 it leaves the image as it is."""


def number_text(name: str, value: float) -> str:
    """The value of a setting: what is in pixel units the way people say it, other numbers as they are."""
    return eps_text(value) if name in ("eps", "std") else f"{value:g}"


def strength(settings: Any) -> tuple[str, str, float] | None:
    """How strong an attack is: by which setting, within or by what, and its value.

    `("eps", "Linf", 0.03)` of one with a ball, `("sigma", "GaussianBlur", 2.0)` of one without; None where nothing is
    known of it.
    """
    found = ball(settings)
    if found is not None:
        return ("eps", *found)
    if not isinstance(settings, dict) or not isinstance(settings.get("class"), str):
        return None
    values = {name: as_number(settings.get(name)) for name in STRENGTHS}
    known = ((name, value) for name, value in values.items() if value is not None and 0 <= value < math.inf)
    return next(((name, settings["class"], value) for name, value in known), None)


def ball(settings: Any) -> tuple[str, float] | None:
    """The set an attack stays in: its kind, such as `Linf`, and its radius; None where it has none of the kind."""
    constraint = settings.get("constraint") if isinstance(settings, dict) else None
    if isinstance(constraint, dict) and "eps" not in constraint:
        constraint = constraint.get("first")  # of several sets at once
    if not isinstance(constraint, dict) or not isinstance(constraint.get("class"), str):
        return None
    eps = as_number(constraint.get("eps"))
    return (constraint["class"], eps) if eps is not None and 0 <= eps < math.inf else None


def attack_text(settings: Any, name: str = "") -> str:
    """What an attack is: its class, unless `name` begins with it, its set, its steps; empty where nothing is known."""
    return ", ".join(_attack_parts(settings, name))


def _attack_parts(settings: Any, name: str) -> Iterator[str]:
    if isinstance(settings, str):  # a function's name
        yield from () if settings == name else (short(settings),)
    if not isinstance(settings, dict):
        return
    inside = settings.get("attacks", settings.get("attack"))
    parts = [each for each in (inside if isinstance(inside, list) else [inside]) if isinstance(each, dict)]
    kind = settings.get("class")
    if isinstance(kind, str) and not name.replace("_", "").lower().startswith(kind.lower()):
        yield short(kind)
    if parts and kind != "AutoAttack":  # everybody knows what that is made of
        yield "of " + " + ".join(short(str(each.get("class", "?"))) for each in parts)
    balls = {ball(each) for each in ([settings] if ball(settings) else parts)}
    if len(balls) == 1 and (found := balls.pop()):
        yield f"{found[0]} {eps_text(found[1])}"
    for key in ("std", "sigma"):
        value = as_number(settings.get(key))
        if value is not None:
            yield f"{key} {number_text(key, value)}"
    for key, unit in (("steps", "step"), ("queries", "query"), ("restarts", "restart"), ("passes", "pass")):
        count = as_number(settings.get(key))
        if count is not None and not (key == "restarts" and count == 1):
            yield f"{count:g} {unit if count == 1 else key}"


def group_text(members: list[str], attacks: dict[str, Any]) -> str:
    """What a group is whose worst attack counts: how many, and the set and steps they share, or else which."""
    texts = [attack_text(attacks.get(name), name) for name in members]
    balls = {ball(attacks.get(name)) for name in members}
    if texts and len(set(texts)) == 1 and texts[0]:
        return f"worst of {len(members)}, {texts[0]}"
    if len(balls) == 1 and (found := balls.pop()):
        return f"worst of {len(members)}, {found[0]} {eps_text(found[1])}"
    return short("worst of " + ", ".join(members))


def painting_text(settings: Any) -> str:
    """How a picture was painted: set, steps and their size, and what else the task was told."""
    if not isinstance(settings, dict):
        return ""
    found = ball(settings)
    parts = [f"{found[0]} {eps_text(found[1])}"] if found else []
    steps, size = as_number(settings.get("steps")), as_number(settings.get("step_size"))
    if steps is not None:
        parts.append(f"{steps:g} steps" + ("" if size is None else f" of {eps_text(size)}"))
    for name, value in settings.items():
        if name not in ("class", "constraint", "steps", "step_size") and value not in (None, [], ""):
            parts.append(f"{name.replace('_', ' ')} {_value_text(value)}")
    return ", ".join(parts)


def _value_text(value: Any) -> str:
    if isinstance(value, list):
        plain = len(value) == 2 and all(isinstance(each, int) for each in value)
        return " x ".join(map(str, value)) if plain else short(str(value))
    number = as_number(value)
    return f"{number:g}" if number is not None else short(str(value))


def short(text: str) -> str:
    """A text of at most 60 characters."""
    return text if len(text) <= 60 else text[:59] + "…"

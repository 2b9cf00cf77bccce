"""What something is set to, as JSON."""

from functools import partial
from typing import Any

import torch

from attacks import Adversary, Constraint
from attacks.adversary import made_by, shown


def settings(value: Any) -> Any:
    """An attack and what it is made of as JSON: a class's name under `class`, and its settings by name."""
    if isinstance(value, Adversary | Constraint):
        own = {name: each for name, each in vars(value).items() if not (torch.is_tensor(each) or name.startswith("_"))}
        return {"class": type(value).__name__, **{name: settings(each) for name, each in own.items()}}
    if isinstance(value, partial):
        given = {name: settings(each) for name, each in value.keywords.items()}
        return {"class": settings(made_by(value)), **given}
    if isinstance(value, list | tuple):
        return [settings(each) for each in value]
    return value if isinstance(value, str | int | float | bool | None) else shown(value)

"""How the weights of a checkpoint were trained, as it says itself."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from callbacks.attack import attack_of, run_seed
from callbacks.settings import settings
from reports.files import ReportError
from reports.results import results_as_written

KEY = "training"
"""Where a checkpoint keeps it."""


def training(trainer: Trainer, epochs: float) -> dict[str, Any]:
    """How weights have been trained by now, in so many epochs, and the classes that their outputs stand for."""
    attack = attack_of(trainer)
    return {
        "run": Path(trainer.default_root_dir).name,
        "attack": settings(attack.train),
        "fraction": attack.fraction,
        "warm_up": attack.warm_up,
        "epochs": round(epochs, 6),
        "seed": run_seed(),
        "classes": classes_of(trainer),
    }


def classes_of(trainer: Trainer) -> list[str]:
    """The names of the data's classes, in label order; none where the data do not tell."""
    return list(getattr(trainer.datamodule, "classes", ()))  # type: ignore[attr-defined]


def training_of(weights: str) -> dict[str, Any] | None:
    """What a file of weights says of its training, or, where it is an older checkpoint, what the run beside it says."""
    path = Path(weights)
    if not path.is_file():
        return None
    with suppress(Exception):  # a file of weights of any other kind
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=True)[KEY]
        return found if isinstance(found, dict) else None
    with suppress(ReportError, KeyError, TypeError):
        results = results_as_written(path.parent.parent)
        if results["command"] == "fit" and path.parent.name == "checkpoints":
            train = results["attacks"]["train"]
            return {"run": results["run"], "attack": train, "fraction": None, "warm_up": None, "epochs": None}
    return None


def check_attack(trained: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Warns where training goes on under another attack."""
    for name in ("attack", "fraction", "warm_up"):
        if now[name] != trained[name]:
            rank_zero_warn(
                f"attack: the checkpoint was trained with {name} {trained[name]}, and goes on with {now[name]}, as the "
                "config says"
            )


def check_number(trained: Mapping[str, Any] | None, now: Sequence[str], weights: str) -> None:
    """Raises MisconfigurationException if weights were trained on more or fewer classes than the data have."""
    then = (trained or {}).get("classes") or []
    if then and now and len(then) != len(now):
        raise MisconfigurationException(
            f"{weights}: was trained on {_listed(then)}, and the data have {_listed(now)}; take data of its classes"
        )


def _listed(classes: Sequence[str]) -> str:
    return f"{len(classes)} classes ({', '.join(classes[:3])}{', ...' * (len(classes) > 3)})"


def check_classes(trained: Mapping[str, Any] | None, now: Sequence[str], weights: str) -> None:
    """Look whether the data's classes are those that weights were trained on; a warning where only their number is.

    Args:
        trained: what `training` said then, or None.
        now: names of the data's classes; perhaps none.
        weights: the file's name, for the message.

    Raises:
        MisconfigurationException: if they are the same, in another order.
    """
    then = (trained or {}).get("classes") or []
    place = next((i for i, names in enumerate(zip(then, now, strict=False)) if names[0] != names[1]), None)
    if len(then) != len(now) or place is None:  # see `check_number`
        return
    differ = f"class {place} is {then[place]!r} there and {now[place]!r} in the data"
    if sorted(then) == sorted(now):
        names = ", ".join(then[:20]) + ", ..." * (len(then) > 20)
        raise MisconfigurationException(
            f"{weights}: was trained on the classes in another order: {differ}; set the data's to {names}"
        )
    rank_zero_warn(f"{weights}: was trained on classes of other names: {differ}; they are taken for the same")

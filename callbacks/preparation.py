"""What evaluation attacks learn of the training set before they are run: class sizes, universal perturbations."""

from collections.abc import Iterator, Mapping
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import Tensor, nn

from attacks import BalancedMaskedCrossEntropy, Ensemble, Transfer, Universal
from attacks.adversary import made_by
from callbacks.pictures import picture
from reports.files import write_whole
from reports.gallery import save_picture


def prepare(attacks: Mapping[str, Any], trainer: Trainer, pl_module: LightningModule) -> None:
    """Give attacks what they need to know of the training set.

    Losses balanced by class get the classes' sizes, unless they have them. Universal perturbations are crafted, on all
    processes alike, and kept in `<run>/perturbations/<attack>.pt` (a tensor) and `.png`; an evaluation that goes on
    takes its perturbation from there.

    Args:
        attacks: the evaluation attacks by name.
        trainer: whose data module has the training set.
        pl_module: whose `network` they are crafted on; those of `Transfer`, on its surrogate.

    Raises:
        MisconfigurationException: if a perturbation has to be crafted and there is no data module.
    """
    for name, attack in attacks.items():
        objective = getattr(attack, "objective", None)
        given = getattr(objective, "keywords", {})
        if made_by(objective) is BalancedMaskedCrossEntropy and given.get("pixels") is None:
            attack.objective = partial(objective, pixels=trainer.datamodule.class_sizes())  # type: ignore
        for universal, network in _universals(attack, pl_module.get_submodule("network")):
            _craft(universal, network.to(pl_module.device), name, trainer)


def _universals(attack: Any, network: nn.Module) -> Iterator[tuple[Universal, nn.Module]]:
    """The universal perturbations in an attack that are to be crafted, and the networks they are crafted on."""
    if isinstance(attack, Universal) and attack.perturbation is None:
        yield attack, network
    elif isinstance(attack, Transfer):
        yield from _universals(attack.attack, attack.surrogate)
    elif isinstance(attack, Ensemble):
        for each in attack.attacks:
            yield from _universals(each, network)


def _craft(universal: Universal, network: nn.Module, name: str, trainer: Trainer) -> None:
    path = Path(trainer.default_root_dir) / "perturbations" / f"{name}.pt"
    if trainer.state.fn != TrainerFn.FITTING and path.is_file():  # of this evaluation, before it was interrupted
        universal.perturbation = torch.load(path, weights_only=True)
        return
    datamodule = trainer.datamodule  # type: ignore[attr-defined]
    if datamodule is None:
        raise MisconfigurationException(
            f"attack.evaluate.{name}: {type(universal).__name__} is crafted on training images: use a DataModule, "
            "or call its fit before"
        )
    universal.fit(network, datamodule.crafting_dataloader())
    crafted: Tensor = trainer.strategy.broadcast(universal.perturbation)  # type: ignore[assignment]
    universal.perturbation = crafted
    if trainer.is_global_zero:
        content = BytesIO()
        torch.save(crafted.cpu(), content)
        save_picture(picture(0.5 + crafted / (2 * crafted.abs().max().clamp(min=1e-12))), path.with_suffix(".png"))
        write_whole(path, content.getvalue())

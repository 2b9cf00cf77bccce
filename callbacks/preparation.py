"""What evaluation attacks learn of the training set before they are run: class sizes, universal perturbations."""

from collections.abc import Mapping
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import Tensor, nn

from attacks import BalancedMaskedCrossEntropy, Universal
from attacks.adversary import made_by
from attacks.ensemble import parts
from callbacks.synthesis.pictures import picture
from reports.files import write_whole
from reports.gallery import save_picture


def prepare(attacks: Mapping[str, Any], trainer: Trainer, pl_module: LightningModule) -> None:
    """Give attacks what they need to know of the training set.

    Losses balanced by class get the classes' sizes, unless they have them. Universal perturbations are crafted, on all
    processes alike, and kept in `<run>/perturbations/<attack>.pt` (a tensor) and `.png`, the second of an ensemble in
    `<attack>-2.pt`; an evaluation that goes on takes its perturbation from there.

    Args:
        attacks: the evaluation attacks by name.
        trainer: whose data module has the training set.
        pl_module: whose `network` they are crafted on; those of `Transfer`, on its surrogate.

    Raises:
        MisconfigurationException: if training images are needed and there is no data module.
    """
    for name, attack in attacks.items():
        universals = 0
        for part, surrogate in parts(attack):
            objective = getattr(part, "objective", None)
            given = getattr(objective, "keywords", {})
            if made_by(objective) is BalancedMaskedCrossEntropy and given.get("pixels") is None:
                sizes = _datamodule(trainer, name, "BalancedMaskedCrossEntropy counts the pixels of").class_sizes()
                part.objective = partial(objective, pixels=sizes)  # type: ignore
            if isinstance(part, Universal) and part.perturbation is None:
                universals += 1
                network = surrogate or pl_module.get_submodule("network")
                own_name = name if universals == 1 else f"{name}-{universals}"
                _craft(part, network.to(pl_module.device), own_name, trainer)


def _datamodule(trainer: Trainer, name: str, needs: str) -> Any:
    datamodule = trainer.datamodule  # type: ignore[attr-defined]
    if datamodule is None:
        raise MisconfigurationException(
            f"attack.evaluate.{name}: {needs} training images: use a DataModule, or give it what it needs"
        )
    return datamodule


def _craft(universal: Universal, network: nn.Module, name: str, trainer: Trainer) -> None:
    path = Path(trainer.default_root_dir) / "perturbations" / f"{name}.pt"
    if trainer.state.fn != TrainerFn.FITTING and path.is_file():  # of this evaluation, before it was interrupted
        universal.perturbation = torch.load(path, weights_only=True)
        return
    datamodule = _datamodule(trainer, name, f"{type(universal).__name__} is crafted on")
    universal.fit(network, datamodule.crafting_dataloader())
    crafted: Tensor = trainer.strategy.broadcast(universal.perturbation)  # type: ignore[assignment]
    universal.perturbation = crafted
    if trainer.is_global_zero:
        content = BytesIO()
        torch.save(crafted.cpu(), content)
        save_picture(picture(0.5 + crafted / (2 * crafted.abs().max().clamp(min=1e-12))), path.with_suffix(".png"))
        write_whole(path, content.getvalue())

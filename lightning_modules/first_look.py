"""A look at what a run is given, before it writes anything: a sample or two, and what the network makes of them."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, Trainer
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from lightning.pytorch.utilities.seed import isolate_rng
from torch.utils.data import DataLoader, IterableDataset

from attacks.adversary import undisturbed
from attacks.objectives import IGNORE_INDEX
from lightning_modules.classifier import Classifier
from lightning_modules.contract import ALL_VOID, BatchError, look_at_batch, look_at_logits, look_at_loss
from lightning_modules.weights import NetworkError

SPLITS = {"fit": ("val", "train"), "validate": ("val",), "test": ("test",), "predict": ("predict",)}
"""The loaders of each command; in `val` an output too many or too few is told best."""

MOST_MAPS = 256
"""How many label maps are looked at for one that is not all void."""


def first_look(module: Classifier, datamodule: LightningDataModule, command: str, trainer: Trainer) -> None:
    """Look at the first and the last sample of each split of a command, and show the network the first.

    In training, the loss of two samples and its gradient, or of one where a batch holds no more. Where the label maps
    of the first and the last are all void, others are looked at for one that is not. Module and random generators are
    as before, but that the module is where the run will be. No data loader's worker is started; a stream is left alone.

    Args:
        module: whose network, and in `fit` whose loss, is tried.
        datamodule: after its `setup`.
        command: `fit`, `validate`, `test` or `predict`.
        trainer: says on which device, and in which precision.

    Raises:
        BatchError: on a sample or a loss that breaks its contract.
        NetworkError: on a network that does, or that fails on such images.
    """
    classes = len(getattr(datamodule, "classes", ()))
    if command == "fit":
        module.learn(datamodule)
    for split in SPLITS[command]:
        loader = getattr(datamodule, f"{split}_dataloader")()
        if isinstance(loader, DataLoader) and not isinstance(loader.dataset, IterableDataset):
            with isolate_rng():
                two = split == "train" and (
                    loader.batch_size != 1 or bool(getattr(trainer.strategy, "_layer_sync", None))
                )
                module.to(trainer.strategy.root_device)
                trainer.precision_plugin.convert_module(module)
                batch = _batch(loader, split, module, two, classes)
                batch = trainer.strategy.batch_to_device(trainer.precision_plugin.convert_input(batch))
                with undisturbed(module.network), trainer.precision_plugin.forward_context():
                    _try(module, batch, classes, split == "train")


def _batch(loader: DataLoader[Any], split: str, module: Classifier, two: bool, classes: int) -> dict[str, Any]:
    """The first sample of a split, or with the last, if `two`; the last is looked at, too."""
    data: Any = copy.copy(loader.dataset)  # a file that it opens in here would not survive in the workers
    name, length = type(data).__name__, len(data)
    if not length:
        raise BatchError(f"{name}: the {split} set holds no samples")
    collate: Callable[[list[Any]], Any] = loader.collate_fn

    def sample(place: int) -> Any:
        try:
            return data[place]
        except (LookupError, StopIteration) as error:
            raise BatchError(
                f"{name}: sample {place} of {length} ({split}) raised {type(error).__name__}: {error}"
            ) from error

    def looked_at(*samples: Any) -> dict[str, Any]:
        return look_at_batch(collate([*samples]), split != "predict", classes, len(samples) < 2, module.network)

    samples = [sample(place) for place in dict.fromkeys((0, length - 1))]
    batches = [looked_at(each) for each in samples]
    if split != "predict" and all(map(_is_void, batches)):
        places = (i * length // MOST_MAPS for i in range(MOST_MAPS))  # of few samples, many crops
        if all(_is_void(looked_at(sample(place))) for place in places):
            if length <= MOST_MAPS:
                raise BatchError(f"{name}: {split}: {ALL_VOID.format(f'{length} label maps')}")
            rank_zero_warn(f"{name}: {split}: {ALL_VOID.format(f'{MOST_MAPS} of {length} label maps looked at')}")
    return looked_at(*samples) if two and len(samples) > 1 else batches[0]


def _is_void(batch: dict[str, Any]) -> bool:
    """Whether label maps hold nothing else."""
    return batch["label"].ndim > 1 and bool((batch["label"] == IGNORE_INDEX).all())


def _loss(module: Classifier, batch: dict[str, Any]) -> None:
    module.train()
    batch = {**batch, "clean": batch["image"]}  # as if attacked
    loss = look_at_loss(module.loss(module.network, batch), len(batch["image"]))
    if not loss.isfinite():
        raise BatchError(f"the training loss is {loss.item()} before the first step: look at the data and the loss")
    weights = [weight for weight in module.network.parameters() if weight.requires_grad]
    torch.autograd.grad(loss, weights, allow_unused=True)  # what cannot be derived is told here


def _logits(module: Classifier, batch: dict[str, Any], classes: int) -> None:
    with torch.no_grad(), torch.autocast(batch["image"].device.type, enabled=False):
        logits = module(batch["image"])
    look_at_logits(logits, batch, classes, module.network)
    if not logits.isfinite().all():
        raise NetworkError(f"{type(module.network).__name__}: its logits are NaN or infinite: look at its weights")


def _try(module: Classifier, batch: dict[str, Any], classes: int, training: bool) -> None:
    """Tell in one line what the network cannot do with the images."""
    shape = tuple(batch["image"].shape)
    try:
        _loss(module, batch) if training else _logits(module, batch, classes)
    except (BatchError, NetworkError, MisconfigurationException):
        raise
    except Exception as error:
        if "more than 1 value per channel" in str(error):
            raise NetworkError(
                f"batch norm sees one value per channel of a batch {shape}: take --data.batch_size 2 or more"
            ) from error
        said = str(error).strip().partition("\n")[0]
        if "derivative for" in said:
            raise NetworkError(
                f"the loss takes a derivative of the gradient, and an operator of the network has none ({said}): take "
                "another network, or --model.loss GradientNorm --model.loss.step 0.01, which needs none"
            ) from error
        part = "the network or its loss" if training else "the network"
        raise NetworkError(f"images {shape}: {part} fails with {type(error).__name__}: {said}") from error

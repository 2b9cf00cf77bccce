"""A trained network to work with outside of training: that of a run, or one by its name with its weights."""

import copy
import difflib
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jsonargparse import Namespace
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import nn
from torchvision import models

from attacks.objectives import logits_of
from callbacks.trained import training_of
from command_line import UserError
from command_line.config_files import read
from command_line.kept_config import FILE, plain
from command_line.networks import leave_out_weights
from command_line.parser import Parser, deepest
from datamodules import DataModule
from datamodules.files import path_of
from lightning_modules import Network
from lightning_modules.weights import load_checkpoint
from reports.files import digest
from reports.results import results_as_written
from resuming import last_checkpoint

Size = int | tuple[int, int] | None
"""A short side, a height and width, or None for an image as it is; in pixels."""

OF_CLASSIFIERS, OF_SEGMENTATION = 256, 520
"""Short sides in evaluation, unless a run says otherwise."""


@dataclass
class Trained:
    """A network in eval mode, and what is known of it.

    Args:
        name: what it is called: its run, or its architecture.
        network: from pixels in `[0, 1]` to logits.
        source: where its weights come from, as JSON.
        classes: the names of its classes; empty where they are not known.
        size: what its evaluation makes of an image in size.
        folder: the run's.
        training_images: gives the run's training set without augmentation.
        validation_images: gives its validation set.
    """

    name: str
    network: nn.Module
    source: dict[str, Any]
    classes: list[str]
    size: Size
    folder: Path | None = None
    training_images: Callable[[], Any] | None = None
    validation_images: Callable[[], Any] | None = None

    @property
    def weights(self) -> dict[str, Any]:
        """What they are, wherever they lie."""
        return {key: value for key, value in self.source.items() if key != "checkpoint"}


def of_run(given: str, option: str = "--run") -> Trained:
    """The network of a run, with the weights that its evaluation sees.

    Args:
        given: the folder of a run, for its last checkpoint, or a checkpoint in one.
        option: what of the command line says so, for messages.

    Raises:
        UserError: if there is no such run, or its config makes no network.
        NetworkError: if the checkpoint is broken, or of another network. Nothing in it is executed.
    """
    path = path_of(given)
    if not os.path.exists(path):
        raise UserError(f"{option} {given}: no such run{_near(path)}")
    run = path if path.is_dir() else path.resolve().parent.parent
    if not (run / FILE).is_file():
        remedy = "give the folder of a run, or a checkpoint in one; weights alone go with --network.name"
        raise UserError(f"{option} {given}: no run: there is no {run / FILE}; {remedy}")
    config = read(run / FILE)
    checkpoint = path if path.is_file() else Path(last_checkpoint(run, f"{option} {given}"))
    network = _network(config, run / FILE)
    load_checkpoint(network, checkpoint)
    name = run.resolve().name + ("" if checkpoint.stem == "last" else f"_{checkpoint.stem}")
    source = {"checkpoint": str(checkpoint), "sha256": digest(checkpoint)}
    size, classes = _evaluated_at(config), _classes(checkpoint)

    def data() -> DataModule:
        return _made(DataModule, "data", config.get("data"), run / FILE)

    trained = Trained(name, network.eval(), source, classes, size, run)
    trained.training_images = lambda: data().plain_training_set()
    trained.validation_images = lambda: data().make_set("val")
    return trained


def by_name(options: Namespace, seed: int) -> Trained:
    """A network of `Network`'s own arguments; random weights, which are warned of, are those of a seed.

    Raises:
        NetworkError: if there is no such network, or its weights do not fit.
    """
    torch.manual_seed(seed)
    network = Network(**vars(options)).eval()
    source = {key: plain(value) for key, value in vars(options).items() if value is not None}
    weights = path_of(options.weights or "")
    if weights.is_file():
        return Trained(options.name, network, source | {"sha256": digest(weights)}, _classes(weights), _usual(network))
    if not options.weights:
        rank_zero_warn("--network.weights is not given: an untrained network paints")
        return Trained(options.name, network, source, [], _usual(network))
    published = models.get_model_weights(options.name)[options.weights]
    (size,) = getattr(published.transforms(), "resize_size", [None])
    return Trained(options.name, network, source, list(published.meta["categories"]), size)


def _near(path: Path) -> str:
    """What else there is in place of a run."""
    with suppress(OSError):
        there = sorted(each.name for each in path.parent.iterdir() if each.is_dir())
        close = difflib.get_close_matches(path.name, there, n=1)
        if close:
            return f"; did you mean {path.parent / close[0]}?"
        return f"; {path.parent} has {', '.join(there[:12])}" if there else ""
    return ""


def _network(config: Mapping[str, Any], file: Path) -> nn.Module:
    """The network that a config says, without the weights that its training started from."""
    model = config.get("model")
    section: Any = model.get("network") if isinstance(model, dict) else None
    section = copy.deepcopy(section)
    leave_out_weights(section)
    return _made(nn.Module, "model.network", section, file)


def _made(kind: type, place: str, section: Any, file: Path) -> Any:
    """What a section of a config describes."""
    if not section:
        raise UserError(f"{file}: says no {place}")
    parser, name = Parser(), place.rpartition(".")[2]
    parser.add_argument(f"--{name}", type=kind, required=True)
    try:
        return parser.instantiate(parser.parse_object({name: section}))[name]
    except (UserError, ValueError, TypeError) as error:
        raise UserError(f"{file}: {place}: {deepest(str(error)).removeprefix(f'{name}: ')}") from error


def _classes(weights: Path) -> list[str]:
    names = (training_of(str(weights)) or {}).get("classes")
    if not names:  # of an older version, whose results name them
        with suppress(Exception):
            names = [*results_as_written(weights.resolve().parent.parent)["metrics"]["clean"]["labels"]]
    return [] if not names or names[0] == "0" else [str(name) for name in names]


def _evaluated_at(config: Mapping[str, Any]) -> Size:
    """The size that a config's data have in evaluation, before the middle is cut out; as it is, if it says none."""
    data = config.get("data")
    options = data.get("init_args") if isinstance(data, dict) else None
    for name in ("eval_size", "resize", "size"):
        value = options.get(name) if isinstance(options, dict) else None
        if _is_side(value):
            return value
        if isinstance(value, list) and len(value) == 2 and all(map(_is_side, value)):
            return value[0], value[1]
    return None


def _is_side(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _usual(network: nn.Module) -> int:
    """What is usual for networks of its kind."""
    with torch.no_grad(), suppress(RuntimeError):
        if logits_of(network(torch.zeros(1, 3, OF_CLASSIFIERS, OF_CLASSIFIERS))).ndim > 2:
            return OF_SEGMENTATION
    return OF_CLASSIFIERS

"""The results file: what a run measured, for people and for reports."""

import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import torch
import torchvision
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from attacks import Adversary, Constraint
from attacks.adversary import made_by
from callbacks.attack import Attack
from callbacks.overfitting_guard import OverfittingGuard
from callbacks.records import Records
from callbacks.sanity import SanityGate
from callbacks.synthesis import Synthesis
from reports.files import digest, write_whole
from reports.gallery import write_page
from reports.intervals import with_interval


class Results(Callback):
    """Writes `results.json` into the run's folder, whole, at the end of fit, validate and test.

    `metrics` maps `clean`, each evaluation attack and each `worst` group to `accuracy` and `miou` as fractions of 1, to
    `loss` and `samples`, and to `class_accuracy`, `iou` and the number of `labels` by class; `accuracy_interval` and
    `miou_interval` are 95 % intervals, those of label maps in evaluations that keep records only. `attacks` holds the
    attacks' settings, `worst` the groups, `cost` what each attack took: forwards and backwards per image, and seconds
    in all. `sanity` says whether the network passed the gate, and what the gate found. `synthesis` holds what the
    synthesis callbacks measured, `stopped` why a guard ended training early, `checkpoint` the path and SHA-256 of what
    was evaluated, a checkpoint or a file of weights. `epochs` and `steps` are those of a fit.
    """

    def __init__(self) -> None:
        self._started = 0.0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._started = time.monotonic()

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._write(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == TrainerFn.VALIDATING:
            self._write(trainer, pl_module)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._write(trainer, pl_module)

    def _write(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            content = self._collect(trainer, pl_module)
            folder = Path(trainer.default_root_dir)
            write_whole(folder / "results.json", json.dumps(content, indent=2) + "\n")
            if (folder / "gallery").is_dir():
                write_page([folder], folder / "gallery" / "index.html")  # now with the metrics

    def _collect(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        attack = next((callback for callback in callbacks if isinstance(callback, Attack)), Attack())
        records = next((callback for callback in callbacks if isinstance(callback, Records)), Records())
        measured = {
            name: with_interval(values | records.intervals.get(name, {}))
            for name, values in getattr(pl_module, "results", {}).items()
        }
        versions = ("clean", *attack.evaluate, *attack.worst)
        gate = next((callback for callback in callbacks if isinstance(callback, SanityGate)), SanityGate())
        fitting = trainer.state.fn == TrainerFn.FITTING
        checkpoint = None if fitting else trainer.ckpt_path or getattr(pl_module.network, "weights", None)
        return {
            "run": Path(trainer.default_root_dir).name,
            "command": trainer.state.fn,
            "metrics": {version: measured[version] for version in versions if version in measured},
            "synthesis": {c.task: c.results for c in callbacks if isinstance(c, Synthesis) and c.results},
            "attacks": {name: settings(each) for name, each in {"train": attack.train, **attack.evaluate}.items()},
            "worst": attack.worst,
            "cost": records.cost(),
            "sanity": gate.found(),
            "stopped": next((c.stopped for c in callbacks if isinstance(c, OverfittingGuard)), None),
            "checkpoint": _named(str(checkpoint)) if checkpoint else None,
            "data": type(trainer.datamodule).__name__,  # type: ignore[attr-defined]
            "epochs": trainer.current_epoch if fitting else None,
            "steps": trainer.global_step if fitting else None,
            "seconds": round(time.monotonic() - self._started, 1),
            "versions": {module.__name__: module.__version__ for module in (torch, torchvision, lightning)},
        }


def _named(weights: str) -> dict[str, str | None]:
    """Weights by their path and content; those that torchvision publishes have a name only."""
    return {"path": weights, "sha256": digest(Path(weights)) if Path(weights).is_file() else None}


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
    return value if isinstance(value, str | int | float | bool | None) else getattr(value, "__name__", repr(value))

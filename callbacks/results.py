"""The results file: what a run measured, for people and for reports."""

import json
import time
from pathlib import Path
from typing import Any

import lightning
import torch
import torchvision
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from callbacks.attack import Attack
from callbacks.overfitting_guard import OverfittingGuard
from callbacks.synthesis import Synthesis
from reports.files import write_whole
from reports.gallery import write_page


class Results(Callback):
    """Writes `results.json` into the run's folder, whole, at the end of fit, validate and test.

    `metrics` maps `clean` and each evaluation attack to `accuracy` and `miou` as fractions of 1, and to `loss`,
    `samples` and `iou` by class; `synthesis` holds what the synthesis callbacks measured, `attacks` their settings,
    `stopped` is why a guard ended training early, or null.
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
        attacks: dict[str, str | None] = {}
        for callback in callbacks:
            if isinstance(callback, Attack):
                attacks = {"train": repr(callback.train) if callback.train else None}
                attacks |= {name: repr(attack) for name, attack in callback.evaluate.items()}
        return {
            "run": Path(trainer.default_root_dir).name,
            "command": trainer.state.fn,
            "metrics": getattr(pl_module, "results", {}),
            "synthesis": {c.task: c.results for c in callbacks if isinstance(c, Synthesis) and c.results},
            "attacks": attacks,
            "stopped": next((c.stopped for c in callbacks if isinstance(c, OverfittingGuard)), None),
            "data": type(trainer.datamodule).__name__,  # type: ignore[attr-defined]
            "epochs": trainer.current_epoch,
            "steps": trainer.global_step,
            "seconds": round(time.monotonic() - self._started, 1),
            "versions": {module.__name__: module.__version__ for module in (torch, torchvision, lightning)},
        }

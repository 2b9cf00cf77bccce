"""The results file: what a run measured, for people and for reports."""

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from callbacks.attack import Attack, run_seed
from callbacks.records import Records
from callbacks.sanity import SanityGate
from callbacks.settings import settings
from callbacks.stopping import why_stopped
from callbacks.synthesis import Synthesis
from callbacks.versions import versions
from reports.files import ReportError, digest, write_whole
from reports.gallery import write_page
from reports.intervals import with_interval
from reports.results import results_as_written

TRAINING = "training"
"""Where a checkpoint keeps how it was trained."""


class Results(Callback):
    """Writes `results.json` into the run's folder, whole, at the end of fit, validate and test.

    `metrics` maps `clean`, each evaluation attack and each `worst` group to `accuracy` and `miou` as fractions of 1, to
    `loss` and `samples`, and to `class_accuracy`, `iou` and the number of `labels` by class; `accuracy_interval` and
    `miou_interval` are 95 % intervals, those of label maps in evaluations that keep records only. `attacks` holds the
    attacks' settings, `worst` the groups, `cost` what each attack took: forwards and backwards per image, and seconds
    in all. `sanity` says whether the network passed the gate, and what the gate found. `synthesis` holds what the
    synthesis callbacks measured, `stopped` why a callback ended training early, `checkpoint` the path and SHA-256 of
    what was evaluated, a checkpoint or a file of weights. `training` is how these weights were trained, as far as the
    checkpoint says: the `run`, its `attack`, the attack's `fraction` and `warm_up`, and `epochs`. `image_size` is that
    of the evaluation's images, `[H, W]`, or null where they differ. `epochs` and `steps` are those of a fit.

    A file that is there is not replaced by less: where nothing was evaluated it stays, and where an attack or a
    synthesis that it has was left out, it is kept as `results-<steps>.json`.
    """

    def __init__(self) -> None:
        self._started = 0.0
        self._trained: dict[str, Any] | None = None
        self._sizes: set[tuple[int, ...]] = set()
        self._versions: dict[str, str] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._started = time.monotonic()
        self._sizes = set()
        if trainer.is_global_zero:
            self._versions = versions()  # now: the files may change while the run goes on

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint[TRAINING] = _training(trainer)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self._trained = checkpoint.get(TRAINING)
        if trainer.state.fn == TrainerFn.FITTING and self._trained:
            now = _training(trainer)
            for name in ("attack", "fraction", "warm_up"):
                if now[name] != self._trained[name]:
                    rank_zero_warn(
                        f"attack: the checkpoint was trained with {name} {self._trained[name]}, and goes on with "
                        f"{now[name]}, as the config says"
                    )

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._sizes.add(tuple(batch["image"].shape[2:]))

    on_test_batch_end = on_validation_batch_end

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
            if _spare(folder / "results.json", content):
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
            "attacks": {name: settings(each) for name, each in attack.evaluate.items()},
            "worst": attack.worst,
            "cost": records.cost(),
            "sanity": gate.found(),
            "stopped": why_stopped(trainer),
            "checkpoint": _named(str(checkpoint)) if checkpoint else None,
            "training": _training(trainer) if fitting else self._trained or _training_of(str(checkpoint or "")),
            "data": type(trainer.datamodule).__name__,  # type: ignore[attr-defined]
            "epochs": trainer.current_epoch if fitting else None,
            "steps": trainer.global_step if fitting else None,
            "seed": run_seed(),
            "image_size": list(*self._sizes) if len(self._sizes) == 1 else None,
            "seconds": round(time.monotonic() - self._started, 1),
            "versions": self._versions,
        }


def _training(trainer: Trainer) -> dict[str, Any]:
    """How the weights have been trained by now."""
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    attack = next((callback for callback in callbacks if isinstance(callback, Attack)), Attack())
    return {
        "run": Path(trainer.default_root_dir).name,
        "attack": settings(attack.train),
        "fraction": attack.fraction,
        "warm_up": attack.warm_up,
        "epochs": trainer.fit_loop.epoch_progress.current.processed,  # type: ignore[attr-defined]
    }


def _training_of(weights: str) -> dict[str, Any] | None:
    """What a file of weights says of its training, or, where it is an older checkpoint, what the run beside it says."""
    path = Path(weights)
    if not path.is_file():
        return None
    with suppress(Exception):  # a file of weights of any other kind
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=True)[TRAINING]
        return found if isinstance(found, dict) else None
    with suppress(ReportError, KeyError, TypeError):
        results = results_as_written(path.parent.parent)
        if results["command"] == "fit" and path.parent.name == "checkpoints":
            train = results["attacks"]["train"]
            return {"run": results["run"], "attack": train, "fraction": None, "warm_up": None, "epochs": None}
    return None


def _spare(path: Path, content: dict[str, Any]) -> bool:
    """Whether a file may be replaced; where it holds more than the new content, it is not, or it is kept beside it."""
    try:
        before = results_as_written(path.parent)
    except ReportError:  # there is none, or nothing that could be read
        return True
    lost = [name for key in ("metrics", "synthesis") for name in (before.get(key) or {}) if name not in content[key]]
    if lost and not content["metrics"]:
        rank_zero_warn(f"{path} stays as it is: nothing was evaluated")
        return False
    if lost:
        kept = path.with_name(f"results-{before.get('steps') or 0}.json")
        path.replace(kept)
        rank_zero_warn(f"{kept} keeps what was measured before: {', '.join(lost)} not measured any more")
    return True


def _named(weights: str) -> dict[str, str | None]:
    """Weights by their path and content; those that torchvision publishes have a name only."""
    return {"path": weights, "sha256": digest(Path(weights)) if Path(weights).is_file() else None}

"""The results file: what a run measured, for people and for reports."""

import json
import time
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from callbacks.attack import attack_of, run_seed
from callbacks.evaluation.records import Records
from callbacks.evaluation.sanity import SanityGate
from callbacks.evaluation.versions import versions
from callbacks.insight.measurement import Measurement
from callbacks.settings import settings
from callbacks.stopping import why_stopped
from callbacks.synthesis.base import Synthesis
from callbacks.synthesis.callback import PictureCallback
from callbacks.trained import KEY, check_attack, check_classes, classes_of, training, training_of
from reports.files import ReportError, digest, write_whole
from reports.gallery import write_page
from reports.intervals import with_interval
from reports.results import results_as_written


class Results(Callback):
    """Writes `results.json` into the run's folder, whole, at the end of fit, validate and test.

    `metrics` maps `clean`, each evaluation attack and each `worst` group to `accuracy` and `miou` as fractions of 1,
    to `loss` and `samples`, and to `class_accuracy`, `iou` and the number of `labels` by class; `accuracy_interval`
    and `miou_interval` are 95 % intervals, those of label maps in evaluations that keep records only. `attacks` holds
    the attacks' settings, `worst` the groups, `cost` what each attack took: forwards and backwards per image, and
    seconds in all. `sanity` says whether the network passed the gate, and what the gate found. `synthesis` holds what
    the synthesis callbacks measured, `insight` what each `Measurement` did, `judges` the network that judged each
    task, with the path and SHA-256 of its weights as they were read; null for weights that come from no file.
    `stopped` says why a callback ended training early, `checkpoint` the path and SHA-256 of what was evaluated, a
    checkpoint or a file of weights. `training` is how these weights were trained, as far as the checkpoint says: the
    `run`, its `attack`, the attack's `fraction` and `warm_up`, the `seed`, and `epochs`, parts of them included.
    `image_size` is that of the evaluation's images, `[H, W]`, or null where they differ. `epochs` and `steps` are
    those of a fit.

    A file that is there is not replaced by less: where nothing was evaluated it stays, and where an attack or a
    synthesis that it has was left out, it is kept as `results-<steps>.json`.
    """

    def __init__(self) -> None:
        self._started = 0.0
        self._trained: dict[str, Any] | None = None
        self._epochs = 0.0
        self._sizes: set[tuple[int, ...]] = set()
        self._versions: dict[str, str] = {}
        self._judges: dict[str, dict[str, str | None]] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._started = time.monotonic()
        self._sizes = set()
        if trainer.state.fn != TrainerFn.FITTING:
            weights = str(getattr(pl_module.network, "weights", None) or "")
            self._trained = training_of(weights)
            check_classes(self._trained, classes_of(trainer), weights)
        if trainer.is_global_zero:
            self._versions = versions()  # now: the files may change while the run goes on
            self._judges = _judges(trainer)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint[KEY] = training(trainer, self._epochs)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self._trained = checkpoint.get(KEY)
        check_classes(self._trained, classes_of(trainer), str(trainer.ckpt_path))
        if trainer.state.fn == TrainerFn.FITTING and self._trained:
            self._epochs = self._trained["epochs"]
            check_attack(self._trained, training(trainer, self._epochs))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Lightning's own counts of epochs go up twice where one is stopped and resumed."""
        self._epochs += 1 / trainer.num_training_batches

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._sizes.add(tuple(batch["image"].shape[2:]))

    on_test_batch_start = on_validation_batch_start

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
        attack = attack_of(trainer)
        records = next((callback for callback in callbacks if isinstance(callback, Records)), Records())
        measured = {
            name: with_interval(values | records.intervals.get(name, {}))
            for name, values in getattr(pl_module, "results", {}).items()
        }
        versions = ("clean", *attack.evaluate, *attack.worst)
        gate = next((callback for callback in callbacks if isinstance(callback, SanityGate)), SanityGate())
        fitting = trainer.state.fn == TrainerFn.FITTING
        checkpoint = None if fitting else trainer.ckpt_path or getattr(pl_module.network, "weights", None)
        trained = training(trainer, self._epochs) if fitting else self._trained or training_of(str(checkpoint or ""))
        return {
            "run": Path(trainer.default_root_dir).name,
            "command": trainer.state.fn,
            "metrics": {version: measured[version] for version in versions if version in measured},
            "synthesis": {c.task: c.results for c in callbacks if isinstance(c, PictureCallback) and c.results},
            "insight": {c.task: c.results for c in callbacks if isinstance(c, Measurement) and c.results},
            "judges": self._judges,
            "attacks": {name: settings(each) for name, each in attack.evaluate.items()},
            "worst": attack.worst,
            "cost": records.cost(),
            "sanity": gate.found(),
            "stopped": why_stopped(trainer),
            "checkpoint": _named(str(checkpoint)) if checkpoint else None,
            "training": {name: value for name, value in (trained or {}).items() if name != "classes"} or None,
            "data": type(trainer.datamodule).__name__,  # type: ignore[attr-defined]
            "epochs": trainer.current_epoch if fitting else None,
            "steps": trainer.global_step if fitting else None,
            "seed": run_seed(),
            "image_size": list(*self._sizes) if len(self._sizes) == 1 else None,
            "seconds": round(time.monotonic() - self._started, 1),
            "versions": self._versions,
        }


def _spare(path: Path, content: dict[str, Any]) -> bool:
    """Whether a file may be replaced; where it holds more than the new content, it is not, or it is kept beside it."""
    try:
        before = results_as_written(path.parent)
    except ReportError:  # there is none, or nothing that could be read
        return True
    kinds = ("metrics", "synthesis", "insight")
    lost = [name for kind in kinds for name in (before.get(kind) or {}) if name not in content[kind]]
    if lost and not content["metrics"]:
        rank_zero_warn(f"{path} stays as it is: nothing was evaluated")
        return False
    if lost:
        kept = path.with_name(f"results-{before.get('steps') or 0}.json")
        path.replace(kept)
        rank_zero_warn(f"{kept} keeps what was measured before: {', '.join(lost)} not measured any more")
    return True


def _judges(trainer: Trainer) -> dict[str, dict[str, str | None]]:
    """What judged each task: a network by its name, and its weights."""
    found: dict[str, dict[str, str | None]] = {}
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        judge = callback.judge if isinstance(callback, Synthesis) else None
        if judge is not None:
            weights = getattr(judge, "weights", None)
            content = _named(str(weights)) if weights else {"path": None, "sha256": None}
            name = str(getattr(judge, "name", type(judge).__name__))
            found[callback.task] = {"network": name, "weights": content["path"], "sha256": content["sha256"]}
    return found


def _named(weights: str) -> dict[str, str | None]:
    """Weights by their path and content; those that torchvision publishes have a name only."""
    return {"path": weights, "sha256": digest(Path(weights)) if Path(weights).is_file() else None}

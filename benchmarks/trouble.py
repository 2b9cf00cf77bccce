"""What befalls the runs of `kill.py` from inside: a callback and a data set that its configs name.

A run that comes by a place for the n-th time is killed there, told to end, or made to fail. The place, n and the rest
are in the environment, so that the run's config is always the same.
"""

import errno
import io
import json
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn
from torch.utils.data import Dataset, get_worker_info

import callbacks.evaluation.results
import callbacks.whole_files
from callbacks import PictureCallback
from datamodules import Shapes
from datamodules.base import Split

TOLD = "TROUBLE"
"""The environment's variable: JSON of `kind`, `place`, `times`, `rank` or null for all, and `mark`, a file to touch."""

PLUG = "the plug was pulled"
"""What an exception says."""

PLACES = ("reading", "train", "attack", "step", "epoch end", "validation", "painting", "writing", "written", "results")
"""Reading a sample, in a worker if there are any; in the network, of training, an attack on training images or an
evaluation; before an optimizer step; in the middle of a checkpoint's file, and just after it; before results.json."""

SIGNALS = {"kill -9": signal.SIGKILL, "TERM": signal.SIGTERM, "USR1": signal.SIGUSR1}


class Trouble(Callback):
    """Comes by the places of a run, in the process whose rank is meant, and does there what it is told."""

    def __init__(self) -> None:
        self.told: dict[str, Any] = json.loads(os.environ.get(TOLD) or "{}")
        self.times = 0
        self.rank = int(os.environ.get("LOCAL_RANK", 0))
        self.painting = False
        if self.told:
            self._patch()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        def look(network: nn.Module, images: Any) -> None:
            if not trainer.sanity_checking:
                evaluated = "painting" if self.painting else "validation"
                self.come_by(evaluated if trainer.validating else "train" if network.training else "attack")

        if self.told:
            pl_module.get_submodule("network").register_forward_pre_hook(look)

    def on_before_optimizer_step(self, *_: Any) -> None:
        self.come_by("step")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.come_by("epoch end")

    def come_by(self, place: str) -> None:
        if place != self.told.get("place") or self.rank != (self.told["rank"] or 0):
            return
        self.times += 1
        if self.times != self.told["times"]:
            return
        Path(self.told["mark"]).touch()
        if (number := SIGNALS.get(self.told["kind"])) is None:
            raise OSError(errno.ENOSPC, PLUG) if place == "writing" else RuntimeError(PLUG)
        if self.told["rank"] is None:
            os.killpg(0, number)  # the workers, too, as SLURM does
        else:
            os.kill(os.getpid(), number)

    def _patch(self) -> None:
        """Come by the places that have no hook."""
        paint, save, keep_names = PictureCallback._make, torch.save, callbacks.whole_files.keep_names
        write_results, read = callbacks.evaluation.results.write_whole, Flipped.__getitem__

        def painting(*args: Any, **kwargs: Any) -> None:
            self.painting = True
            paint(*args, **kwargs)
            self.painting = False

        def writing(content: Any, file: Any) -> None:
            whole = io.BytesIO()
            save(content, whole)
            file.write(whole.getbuffer()[:1000])
            file.flush()
            self.come_by("writing")
            file.write(whole.getbuffer()[1000:])

        def written(folder: Path) -> None:
            self.come_by("written")
            keep_names(folder)

        def results(path: Path, content: str | bytes) -> None:
            self.come_by("results")
            write_results(path, content)

        def reading(samples: Flipped, index: int) -> dict[str, Any]:
            if (get_worker_info() or samples).id == 0:
                self.come_by("reading")
            return read(samples, index)

        PictureCallback._make = painting  # type: ignore[method-assign]
        callbacks.whole_files.torch = SimpleNamespace(save=writing)  # type: ignore[assignment]
        callbacks.whole_files.keep_names, callbacks.evaluation.results.write_whole = written, results
        Flipped.__getitem__ = reading  # type: ignore[method-assign]


class Flipped(Dataset[dict[str, Any]]):
    """Shapes under an augmentation."""

    id = 0

    def __init__(self, samples: Dataset[dict[str, Any]]) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> dict[str, Any]:
        sample = dict(self.samples[index])
        if torch.rand(()) < 0.5:
            sample |= {key: sample[key].flip(-1) for key in ("image", "label")}
        return sample


class AugmentedShapes(Shapes):
    def make_set(self, split: Split) -> Any:
        samples = super().make_set(split)
        return Flipped(samples) if split == "train" else samples

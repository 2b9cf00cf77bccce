"""Predictions as files."""

import json
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from callbacks.synthesis.pictures import label_picture
from reports.files import write_whole
from reports.gallery import save_picture


class Predictions(Callback):
    """Writes what `predict` saw into `<run>/predictions/`.

    Label maps become palette PNGs of the image's own name and of its size as viewers show it, holding class indices: of
    the prediction, that of the pixel nearest to each centre. Predicted classes of whole images become a line each of
    `classes.json`, by file.
    """

    def __init__(self) -> None:
        self._classes: dict[str, Any] = {}

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Tensor,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        names = list(getattr(trainer.datamodule, "classes", []))  # type: ignore[attr-defined]
        folder = Path(trainer.default_root_dir) / "predictions"
        for i, (path, name) in enumerate(zip(batch["path"], batch["name"], strict=True)):
            if outputs.ndim == 1:
                label = int(outputs[i])
                self._classes[path] = names[label] if label < len(names) else label
            else:
                size = [int(length[i]) for length in batch["size"]]
                label_map = F.resize(outputs[i : i + 1].to(torch.uint8), size, InterpolationMode.NEAREST_EXACT)[0]
                save_picture(label_picture(label_map), folder / f"{name}.png")

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._classes:
            path = Path(trainer.default_root_dir) / "predictions" / f"classes{trainer.global_rank or ''}.json"
            write_whole(path, json.dumps(self._classes, indent=1) + "\n")

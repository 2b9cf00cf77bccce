"""The paintings of one evaluation, on their way into the run's gallery and to the loggers."""

from inspect import signature
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from attacks import Constraint
from callbacks.synthesis.pictures import label_picture, picture, strip
from reports.gallery import save_picture
from reports.paintings import Seen, Task, read_task


class Exhibition:
    """Writes the pictures of a task, and what belongs to them; see `reports.paintings` for where.

    Args:
        folder: the task's folder in the gallery.
        settings: how the task paints.
        classes: the classes' names; without them they go by their numbers.
        epochs: how many epochs the network has been trained for; None where that is not known.
    """

    def __init__(self, folder: Path, settings: dict[str, Any], classes: list[str], epochs: int | None) -> None:
        self.folder = folder
        self.number = f"_{epochs - 1:04d}" if epochs else ""
        try:
            before = read_task(folder)
        except (OSError, ValueError):  # damaged: what it told of earlier epochs is lost, their pictures are not
            before = Task()
        self.task = Task(settings, classes, before.samples)
        self.strips: list[Image.Image] = []
        """Of each sample original, start and result, and for label maps what the network sees in the result."""
        self.captions: list[str] = []

    def add(self, name: str, original: Tensor, start: Tensor, result: Tensor, label: Tensor, logits: Tensor) -> None:
        """Write one sample's pictures.

        Args:
            name: the sample's.
            original: float32 `(3, H, W)` in `[0, 1]`; `start` and `result` likewise.
            start: where the painting began.
            result: the painting.
            label: int64, of the image `()` or of its pixels `(H, W)`.
            logits: the network's for the result, `(C,)` or `(C, H, W)`.
        """
        folder, seen = self.folder / name, self.task.samples.setdefault(name, Seen())
        painting = f"epoch{self.number}.png" if self.number else "painting.png"
        prediction = logits.argmax(0)
        parts, caption = [original, start, result], f"{name}: original, start, result"
        if not (folder / "start.png").is_file():
            save_picture(picture(original), folder / "original.png")
            if label.ndim:
                save_picture(label_picture(label), folder / "label.png")
            save_picture(picture(start), folder / "start.png")
        if label.ndim:
            colours = label_picture(prediction)
            save_picture(colours, folder / f"prediction{self.number}.png")
            parts.append(F.pil_to_tensor(colours.convert("RGB")) / 255)
            caption += ", prediction"
            seen.classes = sorted({*seen.classes, *label.unique().tolist(), *prediction.unique().tolist()})
        else:
            seen.label = self._class_name(label)
            share = 100 * logits.double().softmax(0)[prediction].item()
            seen.predictions[painting] = f"{self._class_name(prediction)} {share:.0f} %"
            caption = f"{name} ({seen.label}): original, start, result ({seen.predictions[painting]})"
        save_picture(picture(result), folder / painting)
        self.strips.append(strip(*parts))
        self.captions.append(caption)

    def finish(self) -> None:
        """Write what belongs to the pictures."""
        self.task.write(self.folder)

    def _class_name(self, index: Tensor) -> str:
        number = int(index)
        return self.task.classes[number] if number < len(self.task.classes) else f"class {number}"


def settings(task: Any) -> dict[str, Any]:
    """What a task was told about its paintings, as JSON: its constructor's arguments, as far as it keeps them."""
    told = [name for name in signature(type(task)).parameters if name not in ("samples", "every_n_epochs")]
    return {name: _plain(getattr(task, name)) for name in told if hasattr(task, name)}


def _plain(value: Any) -> Any:
    if isinstance(value, Constraint):
        own = {name: each for name, each in vars(value).items() if not torch.is_tensor(each)}
        return {"class": type(value).__name__, **{name: _plain(each) for name, each in own.items()}}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value if isinstance(value, str | int | float | bool | None) else type(value).__name__


def epochs_of(checkpoint: Path) -> int | None:
    """How many epochs the network in a checkpoint has been trained for; None where that cannot be told."""
    try:
        content = torch.load(checkpoint, map_location="cpu", mmap=True, weights_only=True)
        return int(content["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]) or None
    except Exception:  # other people's weights have none, and a broken pickle may raise anything
        return None

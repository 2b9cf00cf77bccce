"""The paintings of one evaluation, on their way into the run's gallery and to the loggers."""

import json
import warnings
from dataclasses import asdict, dataclass, field
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from attacks import Constraint
from callbacks.synthesis.painting import Painting
from callbacks.synthesis.pictures import animation, label_picture, open_picture, picture, side_by_side
from reports.files import write_whole
from reports.gallery import save_picture
from reports.paintings import Seen, Task, read_task


@dataclass
class Share:
    """What one process has painted: what belongs to each sample's pictures, and the scores."""

    settings: dict[str, Any] = field(default_factory=dict)
    classes: list[str] = field(default_factory=list)
    samples: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Of `Seen`, by the sample's name."""
    captions: dict[str, str] = field(default_factory=dict)
    strips: dict[str, list[str]] = field(default_factory=dict)
    """The files, in the sample's folder, of its original, start, result and what the network sees in it."""
    scores: dict[str, list[float]] = field(default_factory=dict)


@dataclass
class Collected:
    """What all processes have painted, in the order of the samples' names."""

    strips: list[Image.Image] = field(default_factory=list)
    captions: list[str] = field(default_factory=list)
    scores: dict[str, list[float]] = field(default_factory=dict)


class Exhibition:
    """Writes the pictures that a process has painted, and what belongs to them; see `reports.paintings` for where.

    Args:
        folder: the task's folder in the gallery.
        settings: how the task paints.
        classes: the classes' names; without them they go by their numbers.
        epochs: how many epochs the network has been trained for; None where that is not known.
    """

    def __init__(self, folder: Path, settings: dict[str, Any], classes: list[str], epochs: int | None) -> None:
        self.folder = folder
        self.number = f"_{epochs - 1:04d}" if epochs else ""
        self.share = Share(settings, classes)

    def add(self, names: list[str], painting: Painting, label: Tensor | None = None) -> None:
        """Write the pictures of a batch. A sample that met NaN is told and left out.

        Args:
            names: the samples'.
            painting: what came out.
            label: int64, of the images `(B,)` or of their pixels `(B, H, W)`; None where it is not known.
        """
        finite = painting.finite
        for i in range(len(names)):
            if finite[i]:
                self._add(names[i], painting, i, None if label is None else label[i])
            else:
                what = f"{self.folder.name}: the picture of sample {names[i]}"
                warnings.warn(f"{what} is left out: the network met NaN", stacklevel=2)
        for name, values in painting.scores.items():
            kept = values.detach().cpu()[finite]
            self.share.scores.setdefault(name, []).extend(kept[kept.isfinite()].tolist())

    def _add(self, name: str, painting: Painting, i: int, label: Tensor | None) -> None:
        folder, seen = self.folder / name, Seen()
        original, start, result, logits = (
            each[i] for each in (painting.original, painting.start, painting.result, painting.logits)
        )
        file = f"epoch{self.number}.png" if self.number else "painting.png"
        prediction = logits.argmax(0)
        dense = prediction.ndim > 0
        files, caption = ["original.png", "start.png", file], f"{name}: original, start, result"
        if not (folder / "start.png").is_file():
            save_picture(picture(original), folder / "original.png")
            if label is not None and label.ndim:
                save_picture(label_picture(label), folder / "label.png")
            save_picture(picture(start), folder / "start.png")
        if dense:
            save_picture(label_picture(prediction), folder / f"prediction{self.number}.png")
            files.append(f"prediction{self.number}.png")
            caption += ", prediction"
            known = [] if label is None or not label.ndim else label.unique().tolist()
            seen.classes = sorted({*known, *prediction.unique().tolist()})
        else:
            share = 100 * logits.double().softmax(0)[prediction].item()
            seen.predictions[file] = f"{self._class_name(prediction)} {share:.0f} %"
            if label is not None:
                seen.label = self._class_name(label)
                caption = f"{name} ({seen.label}): original, start, result"
            caption += f" ({seen.predictions[file]})"
        save_picture(picture(result), folder / file)
        for kind, images in painting.beside.items():
            save_picture(picture(images[i]), folder / f"{kind}{self.number}.png")
        for kind, tables in painting.tables.items():
            write_whole(folder / f"{kind}{self.number}.json", json.dumps(tables[i], indent=1) + "\n")
        if painting.way:
            way = [picture(image) for image in (start, *(image[i] for image in painting.way))]
            save_picture(side_by_side(way), folder / f"way{self.number}.png")
            write_whole(folder / f"way{self.number}.gif", animation(way))
        self.share.samples[name] = asdict(seen)
        self.share.captions[name], self.share.strips[name] = caption, files

    def finish(self, rank: int = 0) -> None:
        """Leave what belongs to the pictures for the first process."""
        write_whole(_share(self.folder, rank), json.dumps(asdict(self.share)))

    def _class_name(self, index: Tensor) -> str:
        number, classes = int(index), self.share.classes
        return classes[number] if number < len(classes) else f"class {number}"


def collect(folder: Path, processes: int = 1) -> Collected:
    """Bring together what all processes have left, once they all have; the first one does, for `task.json`.

    Args:
        folder: the task's folder in the gallery.
        processes: how many there are.
    """
    shares = [Share(**json.loads(_share(folder, rank).read_text())) for rank in range(processes)]
    try:
        task = read_task(folder)
    except (OSError, ValueError):  # damaged: what it told of earlier epochs is lost, their pictures are not
        task = Task()
    task.settings, task.classes = shares[0].settings, shares[0].classes
    found = Collected()
    for name, share in sorted((name, each) for each in shares for name in each.samples):
        now, seen = Seen(**share.samples[name]), task.samples.setdefault(name, Seen())
        seen.label, seen.classes = now.label, sorted({*seen.classes, *now.classes})
        seen.predictions |= now.predictions
        found.strips.append(side_by_side([open_picture(folder / name / file) for file in share.strips[name]]))
        found.captions.append(share.captions[name])
    for name in dict.fromkeys(name for share in shares for name in share.scores):
        found.scores[name] = [value for share in shares for value in share.scores.get(name, [])]
    task.write(folder)
    for rank in range(processes):
        _share(folder, rank).unlink()
    return found


def tell(folder: Path, notes: list[str]) -> None:
    """Have a task's folder say some notes, in place of those that it said."""
    task = read_task(folder)
    if task.notes != notes:
        task.notes = notes
        task.write(folder)


def _share(folder: Path, rank: int) -> Path:
    return folder / f".share-{rank}.json"


def settings(task: Any) -> dict[str, Any]:
    """What a task was told about its paintings, as JSON: its constructor's arguments, as far as it keeps them.

    Choices that are left at their default go without saying, numbers do not.
    """
    defaults = _defaults(type(task))
    told = {name: _plain(getattr(task, name)) for name in defaults if hasattr(task, name)}
    return {
        name: value
        for name, value in told.items()
        if not (isinstance(value, str | bool | None) and value == defaults.get(name, ""))
    }


def _defaults(task: type) -> dict[str, Any]:
    """The arguments of a task's constructor, those that it hands on to its base classes included."""
    left_out = ("samples", "every_n_epochs", "frames", "judge")
    own = [signature(each.__init__).parameters for each in task.__mro__]  # type: ignore[misc]
    found = {name: parameter.default for parameters in reversed(own) for name, parameter in parameters.items()}
    return {name: found[name] for parameters in own for name in parameters if name not in left_out}


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

"""The gallery: what synthesis callbacks painted and runs measured, as a page that opens without a server."""

import hashlib
import os
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader
from PIL import Image

from reports.curves import HEIGHT, WIDTH, charts
from reports.files import write_whole
from reports.measurements import compare
from reports.paintings import Seen, Task, beside, is_picture, paintings, read_task
from reports.palette import VOID, color
from reports.results import read_runs
from reports.table import Comparison
from reports.wording import painting_text, printable

GIVEN = ("original", "label", "start")
"""The pictures of a sample that do not depend on the model."""

OURS = (
    b'name="generator" content="Saddle"',
    b"body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem; color: #222;",
)
"""What a page of ours has near its beginning; the second, those of before there was the first."""


@dataclass
class Figure:
    """A painting: its address and that of what the network saw in it, and what stands below."""

    caption: str
    address: str
    prediction: str | None


@dataclass
class Sample:
    """A sample of a task: the pictures given to every run, each run's paintings, and the classes to be seen."""

    name: str
    given: list[tuple[str, str]]
    strips: list[tuple[str, list[Figure]]] = field(default_factory=list)
    legend: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Section:
    """A task: how each run painted, said once where it is the same, its samples, and what is told of the pictures."""

    settings: list[str]
    samples: list[Sample]
    notes: list[str]


def write_page(runs: list[Path], page: Path, comparison: Comparison | None = None) -> None:
    """Write an HTML page about one or several runs: what they measured, robustness curves, and the galleries.

    Pictures stand sample by sample, all runs below each other; they are linked, not copied.

    Args:
        runs: the runs' folders.
        page: the HTML file to write.
        comparison: the table of what they measured; by default one of a column per run.

    Raises:
        ReportError: if a run has results that cannot be read.
    """
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True)
    runs = list(dict.fromkeys(run.resolve() for run in runs))  # a run has a name, also if it is the current folder
    found = read_runs(runs)
    folders = dict(zip(found, runs, strict=True))
    comparison = comparison or compare(found)
    evaluations = {run for run, results in found.items() if results and results.command in ("validate", "test")}
    tasks = sorted({folder.name for run in runs for folder in (run / "gallery").glob("*/")})
    content = {
        "title": " and ".join(found),
        "comparison": comparison,
        "charts": charts(found),
        "width": WIDTH,
        "height": HEIGHT,
        "tasks": {
            printable(task): _section(folders, task, evaluations, page.parent.resolve(), comparison.notes)
            for task in tasks
        },
    }
    write_whole(page, environment.get_template("page.html").render(content))


def is_ours(page: Path) -> bool:
    """Whether a file is a page that `write_page` wrote."""
    if not page.is_file():
        return False
    with page.open("rb") as file:
        beginning = file.read(2**16)
    return any(mark in beginning for mark in OURS)


def _section(runs: dict[str, Path], task: str, evaluations: set[str], start: Path, notes: list[str]) -> Section:
    """Of all runs; what cannot be read is passed over with a note."""
    told: dict[str, Task] = {}
    for run, folder in runs.items():
        path = folder / "gallery" / task
        try:
            told[run] = read_task(path)
        except (OSError, ValueError) as error:
            told[run] = Task()
            notes.append(f"{run}: gallery/{printable(task)}/task.json is passed over: {error}")
    undated = {run for run in evaluations if not told[run].samples}  # of an older version
    texts = {run: text for run, each in told.items() if (text := painting_text(each.settings))}
    same = len(set(texts.values())) == 1
    settings = [next(iter(texts.values()))] if same else [f"{run}: {text}" for run, text in texts.items()]
    names = sorted({folder.name for run in runs.values() for folder in (run / "gallery" / task).glob("*/")})
    samples = []
    for name in names:
        folders = {run: folder / "gallery" / task / name for run, folder in runs.items()}
        samples += [_sample(group, told, undated, start) for group in _of_one_image(folders)]
    samples = [sample for sample in samples if sample.given or any(each for _, each in sample.strips)]
    return Section(settings, samples, [f"{run}: {note}" for run, each in told.items() for note in each.notes])


def _of_one_image(folders: dict[str, Path]) -> list[dict[str, Path]]:
    """The folders of each run, apart where one number stands for several images, as in another split."""
    groups: dict[bytes, dict[str, Path]] = {}
    for run, folder in folders.items():
        if os.path.isdir(folder):
            original = folder / "original.png"
            content = hashlib.sha256(original.read_bytes()).digest() if is_picture(original) else b""
            groups.setdefault(content, {})[run] = folder
    return list(groups.values())


def _sample(folders: dict[str, Path], told: dict[str, Task], undated: set[str], start: Path) -> Sample:
    paths = {kind: [folder / f"{kind}.png" for folder in folders.values()] for kind in GIVEN}
    given = {kind: next(filter(is_picture, found), None) for kind, found in paths.items()}
    name = next(iter(folders.values())).name
    sample = Sample(printable(name), [(kind, _address(path, start)) for kind, path in given.items() if path])
    legend: dict[tuple[str, int], None] = {}
    for run, folder in folders.items():
        task = told[run]
        seen = task.samples.get(name, Seen())
        figures = []
        for caption, path, prediction in paintings(folder, run not in undated):
            what = seen.predictions.get(path.name)
            caption = f"{caption}: {what}" if what else caption
            figures.append(Figure(caption, _address(path, start), _address(prediction, start) if prediction else None))
        figures += [Figure(kind, _address(path, start), None) for kind, path in beside(folder)]
        sample.strips.append((run, figures))
        legend |= {(_class_name(index, task.classes), index): None for index in seen.classes}
        if seen.label:
            sample.name = f"{printable(name)}: {seen.label}"
    ordered = sorted(legend, key=lambda each: each[1])
    sample.legend = [(text, "#{:02x}{:02x}{:02x}".format(*color(index))) for text, index in ordered]
    return sample


def _class_name(index: int, classes: list[str]) -> str:
    if index == VOID:
        return "void"
    return classes[index] if 0 <= index < len(classes) else f"class {index}"


def _address(path: Path, start: Path) -> str:
    return quote(os.fsencode(Path(os.path.relpath(path, start)).as_posix()))


def save_picture(image: Image.Image, path: Path) -> None:
    """Save a picture as PNG, whole."""
    buffer = BytesIO()
    image.save(buffer, "PNG")
    write_whole(path, buffer.getvalue())

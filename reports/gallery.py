"""The gallery: what synthesis callbacks painted, as files on disk and as a page that opens without a server.

On disk: `<run>/gallery/<task>/<sample>/` holds `original.png`, `label.png`, `start.png` and `epoch_0000.png`, ...
"""

import os
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader
from PIL import Image

from reports.curves import HEIGHT, WIDTH, charts
from reports.files import write_whole
from reports.measurements import compare

GIVEN = ("original", "label", "start")
"""The pictures of a sample that do not depend on the model."""


@dataclass
class Strip:
    """One run's pictures of one sample: (epoch, address) in order."""

    run: str
    pictures: list[tuple[int, str]]


@dataclass
class Sample:
    """A sample of a task: the pictures given to every run, and each run's strip."""

    name: str
    given: list[tuple[str, str]]
    strips: list[Strip]


def write_page(runs: list[Path], page: Path) -> None:
    """Write an HTML page about one or several runs: what they measured, robustness curves, and the galleries.

    Pictures stand sample by sample, all runs below each other; they are linked, not copied.

    Args:
        runs: the runs' folders.
        page: the HTML file to write.
    """
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True)
    runs = [run.resolve() for run in runs]  # a run has a name, also if it is the current folder
    tasks = sorted({folder.name for run in runs for folder in (run / "gallery").glob("*/")})
    measured = [run for run in runs if (run / "results.json").is_file()]
    content = {
        "title": " and ".join(run.name for run in runs),
        "comparison": compare(measured),
        "charts": charts(measured),
        "width": WIDTH,
        "height": HEIGHT,
        "tasks": {task: _samples(runs, task, page.parent.resolve()) for task in tasks},
    }
    write_whole(page, environment.get_template("page.html").render(content))


def _samples(runs: list[Path], task: str, start: Path) -> list[Sample]:
    names = sorted({folder.name for run in runs for folder in (run / "gallery" / task).glob("*/")})
    found = []
    for name in names:
        folders = {run: run / "gallery" / task / name for run in runs}
        found += [_sample(group, start) for group in _of_one_image(folders)]
    return found


def _of_one_image(folders: dict[Path, Path]) -> list[dict[Path, Path]]:
    """The folders of each run, apart where one number stands for several images, as in another split."""
    groups: dict[bytes, dict[Path, Path]] = {}
    for run, folder in folders.items():
        if folder.is_dir():
            original = folder / "original.png"
            groups.setdefault(original.read_bytes() if original.is_file() else b"", {})[run] = folder
    return list(groups.values())


def _sample(folders: dict[Path, Path], start: Path) -> Sample:
    paths = {kind: [folder / f"{kind}.png" for folder in folders.values()] for kind in GIVEN}
    given = {kind: next((path for path in found if path.is_file()), None) for kind, found in paths.items()}
    strips = []
    for run, folder in folders.items():
        epochs = {int(path.stem.removeprefix("epoch_")): path for path in folder.glob("epoch_*.png")}
        strips.append(Strip(run.name, [(epoch, _address(epochs[epoch], start)) for epoch in sorted(epochs)]))
    shown = [(kind, _address(path, start)) for kind, path in given.items() if path]
    return Sample(next(iter(folders.values())).name, shown, strips)


def _address(path: Path, start: Path) -> str:
    return quote(Path(os.path.relpath(path, start)).as_posix())


def save_picture(image: Image.Image, path: Path) -> None:
    """Save a picture as PNG, whole."""
    buffer = BytesIO()
    image.save(buffer, "PNG")
    write_whole(path, buffer.getvalue())

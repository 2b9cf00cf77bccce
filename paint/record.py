"""What `paint` keeps in the folder of its results, and what an earlier call has left there."""

import hashlib
import json
import re
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from torchvision.transforms.v2 import functional as F

from callbacks.evaluation.versions import versions
from callbacks.synthesis.contact_sheet import Row, contact_sheet, thumbnail
from callbacks.synthesis.painting import Painting
from callbacks.synthesis.pictures import open_picture
from command_line import UserError
from paint.files import Picture, Sample
from paint.folder import FILE, SHEET, SMALL, check_folder
from paint.results import results_of, scores_of, seen_in, small_of
from reports.files import write_whole
from reports.gallery import save_picture

ROWS = 100
"""Of a contact sheet; more pictures make several sheets."""


@dataclass
class Result:
    """A painting: its files below the folder, what small pictures there are of it, what the network sees, scores."""

    variant: str
    files: list[str]
    small: list[str]
    seen: dict[str, float]
    scores: dict[str, float | None]

    def __post_init__(self) -> None:
        numbers = {**self.seen, **{name: value for name, value in self.scores.items() if value is not None}}
        _look(self.variant, str)
        _look(numbers, dict, float)
        for names in (self.files, self.small):
            _look(names, list, str)
        if not self.files:
            raise TypeError("no files")


@dataclass
class Entry:
    """A picture: its file, height and width, what its paintings depend on, and those of each network."""

    file: str
    size: list[int]
    sources: dict[str, Any]
    painted: dict[str, list[Result]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _look(self.sources, dict)
        _look(self.painted, dict, list)
        for run, painted in self.painted.items():
            self.painted[run] = [each if isinstance(each, Result) else Result(**each) for each in painted]


@dataclass
class Record:
    """Pictures, `paint.json` and contact sheets; all appear whole.

    Args:
        out: the folder.
        settings: what the results depend on besides the files, as JSON.
        told: what else is to be told of the networks, as JSON.
        runs: the names of the networks; each of several has a folder of its own.
    """

    out: Path
    settings: dict[str, Any]
    told: dict[str, Any]
    runs: list[str]
    pictures: dict[str, Entry] = field(default_factory=dict)
    """What was painted, by the picture's name."""
    skipped: dict[str, str] = field(default_factory=dict)
    """Why some was not, by the picture's name."""
    sets: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Scores of all that a network has generated, by its name."""

    def go_on(self) -> None:
        """Take up what an earlier call with the same settings has left in the folder.

        Raises:
            UserError: if it holds something else. Nothing is touched.
        """
        if not check_folder(self.out):
            return
        try:
            content = json.loads((self.out / FILE).read_bytes())
            settings, pictures = (
                content["settings"],
                {name: Entry(**each) for name, each in content["pictures"].items()},
            )
            differ = [key for key in sorted({*settings, *self.settings}) if settings.get(key) != self.settings.get(key)]
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise UserError(f"{self.out / FILE}: not as `paint` writes it; name a new folder as --out") from None
        if differ:
            then, now = (json.dumps(each.get(differ[0]))[:200] for each in (settings, self.settings))
            changed = f"{differ[0]} {then}, now {now}"
            raise UserError(f"--out {self.out}: was painted with other settings, {changed}; name a new folder")
        self.pictures = pictures

    def is_done(self, run: str, picture: Picture) -> bool:
        """Whether a network has painted on this very picture, and the results are still there."""
        entry = self.pictures.get(picture.name)
        if entry is None or run not in entry.painted or entry.sources != picture.sources():
            return False
        return all((self.out / file).is_file() for each in entry.painted[run] for file in each.files)

    def add(self, run: str, sample: Sample, paintings: list[Painting], i: int, classes: list[str]) -> None:
        """Save what a network has painted on a picture.

        Args:
            run: the network's name.
            sample: what was read.
            paintings: what came out of its batch, each variant.
            i: its place in the batch.
            classes: the names of the network's classes.

        Raises:
            ValueError: if a file of another picture has the name of one of these.
        """
        picture = sample.picture
        painted = []
        for painting in paintings:
            stem = "_".join(part for part in (picture.name, painting.variant.replace("/", "_")) if part)
            stem = f"{run}/{stem}" if len(self.runs) > 1 else stem
            files = {f"{stem}{ending}": content for ending, content in results_of(painting, i, sample).items()}
            small = small_of(painting, i, sample)
            self._require_free(list(files), picture)
            for file, content in files.items():
                if isinstance(content, bytes):
                    write_whole(self.out / file, content)
                else:
                    save_picture(content, self.out / file)
            for kind, each in small.items():
                save_picture(thumbnail(each), self._small(picture.name, run, painting.variant, kind))
            seen, scores = seen_in(painting.logits[i], classes), scores_of(painting, i)
            painted.append(Result(painting.variant, list(files), list(small), seen, scores))
        save_picture(thumbnail(F.to_pil_image(sample.stored)), self._small(picture.name, "original"))
        entry = Entry(str(picture.path), list(picture.size), picture.sources())
        before = self.pictures.get(picture.name)
        if before is not None and before.sources == entry.sources:
            entry.painted |= before.painted
        entry.painted[run] = painted
        self.pictures[picture.name] = entry

    def results(self, run: str, name: str) -> list[Path]:
        """The files of a network's results for a picture."""
        entry = self.pictures.get(name)
        return [self.out / result.files[0] for result in entry.painted.get(run, [])] if entry else []

    def skip(self, name: str, why: str) -> None:
        """Note why something of a picture is not painted."""
        before = self.skipped.get(name)
        if before is None or why not in before:
            self.skipped[name] = f"{before}; {why}" if before else why

    def scores(self, run: str) -> dict[str, float]:
        """Means over all pictures and variants of a network."""
        found: dict[str, list[float]] = {}
        for entry in self.pictures.values():
            for result in entry.painted.get(run, []):
                for name, value in result.scores.items():
                    found.setdefault(name, []).extend([] if value is None else [value])
        return {name: sum(values) / len(values) for name, values in found.items() if values}

    def write(self) -> None:
        """Write `paint.json`."""
        content = {
            "settings": self.settings,
            **self.told,
            "versions": self._versions,
            "scores": {run: self.scores(run) for run in self.runs},
            **({"sets": self.sets} if self.sets else {}),
            "skipped": dict(sorted(self.skipped.items())),
            "pictures": {name: asdict(entry) for name, entry in sorted(self.pictures.items())},
        }
        write_whole(self.out / FILE, json.dumps(content, indent=1) + "\n")

    def write_sheets(self) -> list[Path]:
        """Write contact sheets of all that was painted; returns the files."""
        names = sorted(self.pictures)
        sheets = []
        for number, begin in enumerate(range(0, len(names), ROWS)):
            rows = [self._row(name) for name in names[begin : begin + ROWS]]
            columns = list(dict.fromkeys(column for row in rows for column in row.pictures))
            path = self.out / f"{SHEET}{f'_{number + 1}' if number else ''}.png"
            save_picture(contact_sheet(columns, rows), path)
            sheets.append(path)
        return sheets

    @cached_property
    def _versions(self) -> dict[str, str]:
        return versions()

    @cached_property
    def _owners(self) -> dict[str, str]:
        """Whose the files are that have been written."""
        owners: dict[str, str] = {}
        for name, entry in self.pictures.items():
            for results in entry.painted.values():
                owners |= {file: name for result in results for file in result.files}
        return owners

    def _require_free(self, files: list[str], picture: Picture) -> None:
        for file in files:
            owner = self._owners.setdefault(file, picture.name)
            if owner != picture.name or re.fullmatch(rf"{SHEET}(_\d+)?\.png", file):
                whose = f"that of {owner}" if owner != picture.name else "a contact sheet"
                raise ValueError(f"{picture.path}: its result {file} would have the name of {whose}; rename it")

    def _row(self, name: str) -> Row:
        """A picture's: the original; of each variant, the start and what stands beside, and each network's result."""
        row = Row(name)
        self._show(row, "original", self._small(name, "original"))
        painted = self.pictures[name].painted
        places = [(run, each) for run in self.runs for each in painted.get(run, [])]
        for variant in dict.fromkeys(each.variant for _, each in places):
            of_variant = [(run, each) for run, each in places if each.variant == variant]
            first = of_variant[0]
            kinds = [("start", *first)] + [("result", *each) for each in of_variant]
            kinds += [(kind, *first) for kind in first[1].small if kind not in ("start", "result")]
            for kind, run, each in kinds:
                column = " ".join(part for part in (variant, run if kind == "result" else kind) if part)
                self._show(row, column, self._small(name, run, variant, kind))
                if kind == "result" and each.seen:
                    label, share = next(iter(each.seen.items()))
                    row.captions[column] = f"{label} {100 * share:.0f} %"
        return row

    @staticmethod
    def _show(row: Row, column: str, path: Path) -> None:
        with suppress(OSError):  # the small pictures were removed, as what is hidden may be
            row.pictures[column] = open_picture(path)

    def _small(self, name: str, *parts: str) -> Path:
        folder = hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()[:16]
        *folders, file = (part.replace("/", "_") for part in parts)
        return Path(self.out, SMALL, folder, *folders, f"{file}.png")


def _look(value: Any, kind: type, of: type = object) -> None:
    """Raises TypeError if a value of `paint.json` is of another kind, or holds others."""
    values = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if not isinstance(value, kind) or not all(isinstance(each, of) for each in values):
        raise TypeError(value)

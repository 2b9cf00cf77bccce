"""`paint`: a synthesis task on a person's own files, with any trained network."""

import inspect
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from jsonargparse import Namespace
from jsonargparse.typing import PositiveInt

import attacks  # noqa: F401  importing a room lets its classes be called by their short names
from callbacks import Generation, PictureCallback, Synthesis
from callbacks.synthesis.inception import PublishedInception
from command_line import UserError
from command_line.class_kinds import Place, find
from command_line.kept_config import plain
from command_line.nulls import check_nulls
from command_line.parser import Parser, deepest
from datamodules import DataError
from datamodules.files import path_of
from lightning_modules import Network, NetworkError
from paint.files import Picture, class_number, pictures_in, why, with_classes, with_files, with_next
from paint.folder import FILE, GIVEN
from paint.loop import Painter, nothing
from paint.progress import Bars
from paint.record import Record
from paint.samples import given
from paint.sets import Features, generated_scores
from reports.table import say
from trained_network import Size, Trained, by_name, of_run

DESCRIPTION = """Paints on your own pictures with the gradients of trained networks. Results have the names and the
sizes of the pictures; paint.json says how they were painted, and contact_sheet.png shows them. Called again, it goes
on where it stopped. Exit status 1: some pictures were skipped; 2: a mistake, and nothing was painted."""

ELSEWHERE = {
    "samples": "all pictures of --images are painted; --samples 8 takes validation samples of the run",
    "every_n_epochs": "there are no epochs here; leave it out",
    "judge": "give the network's run as --judge",
}
"""Settings of tasks that make no sense here, and why."""


def main(args: list[str]) -> None:
    """`paint TASK --images FOLDER --run RUN`: see `paint --help` and `paint TASK --help`.

    Raises:
        UserError: on a mistake, before anything is painted.
        SystemExit: with status 1, if something was skipped.
    """
    with _one_line():
        task = None if args[:1] in (["-h"], ["--help"]) else _task(args)
        parser = _parser(task)
        config = parser.parse_args(args if task is None else args[1:])
        assert task is not None  # or the help has ended this
        check_nulls(config, task=task)
        judge, networks = _judge(config, task), _networks(config)
        features = _features(config, task, judge)
        painters = [_painter(each, parser, config, task, judge) for each in networks]
        with given(config, networks[0]):
            pictures, skipped = _pictures(config, painters[0].task.pairs)
            if not pictures:
                raise UserError(nothing([*skipped.values()]))
            for painter in painters:
                painter.first_look(pictures)
                for picture in pictures:
                    if isinstance(picture.label, str | int):
                        class_number(picture.label, painter.trained.classes, painter.outputs)
                painter.check(pictures)
            record = _record(config, task, painters, judge, skipped)
            record.go_on()
            record.write()
        try:
            _paint(painters, pictures, config.batch_size, record)
        except KeyboardInterrupt:
            sys.stderr.write("the same command goes on where this one stopped\n")
            raise
        if features is not None:
            record.sets = {each.name: generated_scores(record, each.name, pictures, features) for each in painters}
            record.write()
        _conclude(record, painters, pictures)


def _task(args: list[str]) -> type[PictureCallback]:
    """The task's class; and a look at what is said of it that makes no sense here."""
    name = args[0] if args and not args[0].startswith("-") else ""
    try:
        task = find(name or "?", Place.of(PictureCallback))
    except ValueError as error:
        message = str(error).replace("PictureCallback", "task")
        raise UserError(f"paint: {message if name else 'name a task first; ' + message.partition('; ')[2]}") from error
    if not (inspect.isclass(task) and issubclass(task, PictureCallback)) or inspect.isabstract(task):
        raise UserError(f"paint {name}: is no task itself; see cli.py paint --help")
    for argument in args:
        setting = argument.partition("=")[0].removeprefix("--task.")
        if argument.startswith("--task.") and setting in ELSEWHERE:
            raise UserError(f"--task.{setting}: {ELSEWHERE[setting]}")
    return task


def _parser(task: type[PictureCallback] | None) -> Parser:
    parser = Parser(prog=f"cli.py paint {task.__name__ if task else 'TASK'}", description=DESCRIPTION)
    parser.add_argument("--images", type=str, help="A folder of pictures, or one of them.")
    parser.add_argument("--samples", type=PositiveInt, help="Or so many validation samples of the first run.")
    parser.add_argument("--run", type=str, action="append", help="A run, or a checkpoint in one; several side by side.")
    parser.add_argument(
        "--network", type=Network | None, help="A network by name: --network.name, .num_classes, .weights."
    )
    parser.add_argument("--out", type=str, default="painted", help="The folder of the results.")
    parser.add_argument("--masks", type=str, help="Where to paint, in white: files of the pictures' names, or one.")
    parser.add_argument("--labels", type=str, help="Label maps of the pictures' names; or JSON {picture: class}.")
    parser.add_argument("--others", type=str, help="Second pictures, of the same names; by default each one's next.")
    parser.add_argument("--judge", type=str, help="A run whose network scores what it sees in the results.")
    parser.add_argument("--inception", type=str, help="For Generation: the published Inception's weights, a file.")
    parser.add_argument(
        "--size",
        type=str,
        help="Short side while it is painted, in pixels; by default that of the run's evaluation. full: as it is.",
    )
    parser.add_argument("--batch_size", type=PositiveInt, default=8, help="Pictures of one size at a time.")
    parser.add_argument("--device", type=Literal["auto", "cpu", "cuda"], default="auto", help="Where to paint.")
    parser.add_argument("--seed", type=int, default=0, help="With each picture's name it makes its noise.")
    if task is None:
        parser.epilog = "Tasks: " + ", ".join(sorted(_tasks())) + ". Their settings: cli.py paint TASK --help"
    else:
        parser.add_class_arguments(task, "task", skip=set(ELSEWHERE), fail_untyped=False)
    return parser


def _tasks() -> list[str]:
    import callbacks

    kinds = [each for each in vars(callbacks).values() if inspect.isclass(each) and issubclass(each, PictureCallback)]
    return [each.__name__ for each in kinds if not inspect.isabstract(each)]


def _networks(config: Namespace) -> list[Trained]:
    """The networks that paint, by names that differ: a second `a` is `a-2`."""
    found = [of_run(run) for run in config.run or []]
    if config.network is not None:
        found.append(by_name(config.network.init_args, config.seed))
    if not found:
        raise UserError("paint: no network; give --run RUN, or --network.name, .num_classes and .weights")
    names: list[str] = []
    for each in found:
        same = sum(name == each.name for name in names)
        names.append(each.name)
        each.name += f"-{same + 1}" if same else ""
    return found


def _judge(config: Namespace, task: type[PictureCallback]) -> Trained | None:
    if config.judge is None:
        return None
    if not issubclass(task, Synthesis):
        raise UserError(f"--judge: {task.__name__} has no scores; leave it out")
    return of_run(config.judge, "--judge")


def _features(config: Namespace, task: type[PictureCallback], judge: Trained | None) -> Features | None:
    """What Inception Score and FID of generated pictures go by: the published Inception, or the judge."""
    if not issubclass(task, Generation):
        if config.inception is not None:
            raise UserError(f"--inception: {task.__name__} generates no pictures; leave it out")
        return None
    if config.inception is None:
        return None if judge is None else Features(judge.network, judge.size, judge.weights)
    try:
        return Features(PublishedInception(config.inception), None, {"inception": config.inception})
    except ValueError as error:
        raise UserError(f"--inception {error}") from error


def _painter(
    trained: Trained, parser: Parser, config: Namespace, kind: type[PictureCallback], judge: Trained | None
) -> Painter:
    settings = config.get("task")  # there is none of a task without settings
    try:
        task: Any = kind() if settings is None else parser.instantiate(Namespace(task=settings)).task
    except (ValueError, TypeError) as error:
        raise UserError(f"{kind.__name__}: {deepest(str(error))}") from error
    device = _device(config.device)
    if judge is not None:
        task.judge = judge.network.to(device)
    return Painter(trained, task, trained.size if config.size is None else _size(config.size), device, config.seed)


def _size(given: str) -> Size:
    if given in ("0", "full"):
        return None
    if not (given.isascii() and given.isdigit() and 0 < int(given[:9]) < 2**16):
        raise UserError(f"--size {given}: is the short side in pixels, or full")
    return int(given)


def _device(name: str) -> torch.device:
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: there is no GPU that torch can use; take auto or cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def _pictures(config: Namespace, pairs: bool) -> tuple[list[Picture], dict[str, str]]:
    """The pictures to paint, with what belongs to them; and why others are not, by name."""
    images, out = path_of(config.images), path_of(config.out)
    pictures, skipped = pictures_in(images, None if out / GIVEN in images.parents else out)
    if config.masks is not None:
        pictures = with_files(pictures, skipped, "mask", path_of(config.masks))
    if config.labels is not None:
        labels = path_of(config.labels)
        if labels.suffix == ".json":
            pictures = with_classes(pictures, skipped, labels)
        else:
            pictures = with_files(pictures, skipped, "label", labels)
    if config.others is not None:
        pictures = with_files(pictures, skipped, "other", path_of(config.others))
    elif pairs:
        pictures = with_next(pictures)
    return pictures, skipped


def _record(
    config: Namespace, task: type, painters: list[Painter], judge: Trained | None, skipped: dict[str, str]
) -> Record:
    kept = path_of(config.out) / GIVEN  # what is kept there goes by --samples and --labels
    settings = {name: config[name] for name in ("images", "samples", "masks", "labels", "others", "size", "seed")}
    settings |= {name: None for name in ("images", "labels") if kept in path_of(settings[name] or "").parents}
    settings |= {"task": task.__name__, "arguments": plain(config.get("task"))}
    settings["networks"] = {each.name: each.trained.weights for each in painters}
    settings["judge"] = None if judge is None else judge.weights
    sources = {each.name: each.trained.source | {"size": each.size} for each in painters}
    told = {"networks": sources, "judge": judge and judge.source, "device": str(painters[0].device)}
    return Record(path_of(config.out), settings, told, list(sources), skipped=skipped)


def _paint(painters: list[Painter], pictures: list[Picture], batch_size: int, record: Record) -> None:
    with Bars(len(pictures) * len(painters)) as bars, _exact():
        for reason in record.skipped.values():
            bars.tell(f"skipped: {reason}")
        for painter in painters:
            painter.paint(pictures, batch_size, record, bars)
        record.write()


def _conclude(record: Record, painters: list[Painter], pictures: list[Picture]) -> None:
    """Write the contact sheets, and say what came out."""
    sheets = record.write_sheets()
    count = sum(picture.name in record.pictures for picture in pictures)
    skipped = f", {len(record.skipped)} skipped" if record.skipped else ""
    for painter in painters:
        if scores := record.scores(painter.name):
            say(f"{painter.name}: " + ", ".join(f"{name} {value:.4g}" for name, value in scores.items()))
        for note in painter.task.notes(scores):
            say(f"{painter.name}: {note}")
    for name, found in record.sets.items():
        say(f"{name}, all pictures: " + ", ".join(f"{k} {v:.4g}" for k, v in found.items() if isinstance(v, float)))
    for note in dict.fromkeys(found["note"] for found in record.sets.values() if "note" in found):
        say(note)
    say(f"{count} pictures painted{skipped}: {', '.join(str(path) for path in [*sheets, record.out / FILE])}")
    if record.skipped:
        sys.exit(1)


@contextmanager
def _exact() -> Iterator[None]:
    """In float32, as in evaluation: a GPU's TF32 is off."""
    backends: list[Any] = [torch.backends.cudnn, torch.backends.cuda.matmul]
    before = [backend.allow_tf32 for backend in backends]
    try:
        for backend in backends:
            backend.allow_tf32 = False
        yield
    finally:
        for backend, was in zip(backends, before, strict=True):
            backend.allow_tf32 = was


@contextmanager
def _one_line() -> Iterator[None]:
    """Tell a user's mistakes in one line."""
    try:
        yield
    except (DataError, NetworkError, OSError) as error:
        if os.environ.get("SADDLE_DEBUG"):
            raise
        raise UserError(why(error)) from error

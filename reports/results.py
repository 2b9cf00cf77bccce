"""The results file of a run: looked at once, so that tables, curves and pages need not look."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from reports.files import ReportError, read_json
from reports.intervals import Interval, wilson
from reports.values import as_dict, as_list, boolean, count, dicts, number, odd, perhaps, share, text, texts
from reports.wording import attack_text, printable

Scores = dict[str, dict[str, float]]
"""By task and name."""


class Spread(NamedTuple):
    """Of a mean over runs: the sample standard deviation (n - 1), None of a single run, and how many runs."""

    deviation: float | None
    runs: int


@dataclass
class Metrics:
    """Of one version of the images; None where it was not measured."""

    accuracy: float | None = None
    miou: float | None = None
    accuracy_interval: Interval | None = None
    miou_interval: Interval | None = None
    samples: float | None = None
    labels: dict[str, float] = field(default_factory=dict)


@dataclass
class Measured:
    """What a results file holds; what it does not hold is empty.

    `settings` are those of each evaluation attack, `training` says how the network was trained, as far as that is
    known, `network` is the run that did, `trained_seed` and `epochs` are that training's, `checkpoint` is where its
    weights were. `judges` says which network scored the pictures of a task, `failed` are the checks of the sanity gate
    that failed, as name and finding. Where values are means over runs, `spread` is theirs, by version and metric, such
    as `clean accuracy`, or task and score.
    """

    command: str = ""
    data: str = ""
    metrics: dict[str, Metrics] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    worst: dict[str, list[str]] = field(default_factory=dict)
    training: str = ""
    cost: dict[str, tuple[float, float]] = field(default_factory=dict)
    synthesis: Scores = field(default_factory=dict)
    insight: Scores = field(default_factory=dict)
    judges: dict[str, str] = field(default_factory=dict)
    trusted: bool = True
    failed: list[tuple[str, str]] = field(default_factory=list)
    image_size: str = ""
    seed: str = ""
    network: str = ""
    trained_seed: str = ""
    epochs: str = ""
    checkpoint: str = ""
    spread: dict[str, Spread] = field(default_factory=dict)


def read_results(run: Path) -> Measured:
    """The `results.json` of a run, of this version or an older one; what it holds besides is passed over.

    Raises:
        ReportError: if there is none, or it is not what a run writes; the message names the file and the value.
    """
    return _read(run)[1]


def results_as_written(run: Path) -> dict[str, Any]:
    """The whole content of a run's `results.json`, after the same look; raises the same error."""
    return _read(run)[0]


def _read(run: Path) -> tuple[dict[str, Any], Measured]:
    path = run / "results.json"
    try:
        content = read_json(path)
        return content, _measured(content)
    except FileNotFoundError:
        raise ReportError(f"{path}: not found; a run writes it at the end of fit, validate or test") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ReportError(f"{path}: no results file ({reason}); name a run's folder") from None


def read_runs(runs: list[Path]) -> dict[str, Measured | None]:
    """Results by the names of the runs; None of a run that has pictures and no results yet.

    Runs go by their folders' names; where these are the same, by as much of the path as tells them apart.

    Raises:
        ReportError: if a run has neither, or its results cannot be read.
    """
    return dict(zip(_names(runs), map(_results_of, runs), strict=True))


def _results_of(run: Path) -> Measured | None:
    waiting = os.path.isdir(run / "gallery") and not os.path.lexists(run / "results.json")
    return None if waiting else read_results(run)


def _names(runs: list[Path]) -> list[str]:
    depth, names = 1, [printable(run.name or str(run)) for run in runs]
    while len(set(names)) < len(set(runs)) and depth < max(len(run.parts) for run in runs):
        depth += 1
        longer = [printable(str(Path(*run.parts[-depth:]))) for run in runs]
        names = [long if names.count(name) > 1 else name for name, long in zip(names, longer, strict=True)]
    return [f"{name} ({names[:i].count(name) + 1})" if name in names[:i] else name for i, name in enumerate(names)]


def _measured(content: Any) -> Measured:
    """Raises ValueError, with the key, at a value of another kind than a run writes."""
    top = as_dict(content, "it")
    if not isinstance(top.get("metrics"), dict):
        raise ValueError("it has no metrics")
    metrics = {name: _metrics(values, f"metrics.{name}") for name, values in as_dict(top["metrics"], "metrics").items()}
    settings = dict(as_dict(top.get("attacks"), "attacks"))
    cost = dicts(top.get("cost"), "cost")
    sanity = as_dict(top.get("sanity"), "sanity")
    checks = [_check(each) for each in as_list(sanity.get("checks"), "sanity.checks")]
    failed = [(name, found) for name, passed, found in checks if not passed]
    passed = boolean(sanity.get("passed", not failed), "sanity.passed")
    training = as_dict(top.get("training"), "training")
    return Measured(
        command=text(top.get("command"), "command"),
        data=text(top.get("data"), "data"),
        metrics=metrics,
        training=_training(top, settings),
        settings={name: each for name, each in settings.items() if name != "train"},
        worst={name: texts(each, f"worst.{name}") for name, each in as_dict(top.get("worst"), "worst").items()},
        cost={name: pair for name, values in cost.items() if (pair := _cost(values, f"cost.{name}")) is not None},
        synthesis=_scores(top, "synthesis"),
        insight=_scores(top, "insight"),
        judges={task: _judge(each, f"judges.{task}") for task, each in dicts(top.get("judges"), "judges").items()},
        trusted=passed and not failed,
        failed=failed,
        image_size=" x ".join(
            f"{count(side, 'image_size'):g}" for side in as_list(top.get("image_size"), "image_size")
        ),
        seed=_number(top.get("seed"), "seed"),
        network=text(training.get("run"), "training.run"),
        trained_seed=_number(training.get("seed"), "training.seed"),
        epochs=_number(training.get("epochs"), "training.epochs"),
        checkpoint=text(as_dict(top.get("checkpoint"), "checkpoint").get("path"), "checkpoint.path"),
    )


def _number(value: Any, key: str) -> str:
    return "" if value is None else f"{number(value, key):.12g}"


def _scores(top: dict[str, Any], key: str) -> Scores:
    return {
        task: {name: number(value, f"{key}.{task}.{name}") for name, value in scores.items()}
        for task, scores in dicts(top.get(key), key).items()
    }


def _metrics(values: Any, key: str) -> Metrics:
    values = as_dict(values, key)
    found = Metrics(
        accuracy=share(values.get("accuracy"), f"{key}.accuracy"),
        miou=share(values.get("miou"), f"{key}.miou"),
        accuracy_interval=_interval(values.get("accuracy_interval"), f"{key}.accuracy_interval"),
        miou_interval=_interval(values.get("miou_interval"), f"{key}.miou_interval"),
        samples=perhaps(values.get("samples"), f"{key}.samples"),
        labels={name: count(n, f"{key}.labels") for name, n in as_dict(values.get("labels"), f"{key}.labels").items()},
    )
    if found.accuracy_interval is None and found.accuracy is not None and found.samples and "miou" not in values:
        found.accuracy_interval = wilson(found.accuracy, found.samples)  # of image-level labels
    return found


def _training(top: dict[str, Any], settings: dict[str, Any]) -> str:
    if "training" in top:
        training = as_dict(top["training"], "training")
        if "attack" not in training:
            return ""
        attack = training["attack"]
    elif top.get("command") == "fit" and "train" in settings:  # evaluations of older versions named that of the config
        training, attack = {}, settings["train"]
    else:
        return ""
    if attack is None:
        return "standard training"
    fraction = share(training.get("fraction"), "training.fraction")
    warm_up = 0 if training.get("warm_up") is None else number(training["warm_up"], "training.warm_up")
    parts = [attack_text(attack) or "an attack"]
    parts += [f"{100 * fraction:.3g} % of the images"] if fraction not in (None, 1) else []
    parts += [f"warm-up of {warm_up:g} epochs"] if warm_up else []
    return ", ".join(parts)


def _judge(values: dict[str, Any], key: str) -> str:
    """Its name, the beginning of its weights' SHA-256, which tells it from others, and where they were."""
    name, weights, sha = (text(values.get(each), f"{key}.{each}") for each in ("network", "weights", "sha256"))
    return " ".join([name or "a network", *([sha[:8]] if sha else []), f"({weights or 'its weights are in no file'})"])


def _check(value: Any) -> tuple[str, bool, str]:
    check, key = as_dict(value, "sanity.checks"), "sanity.checks.passed"
    return str(check.get("name", "a check")), boolean(check.get("passed"), key), str(check.get("found", ""))


def _cost(values: dict[str, Any], key: str) -> tuple[float, float] | None:
    """Forwards and backwards; None where they are not told."""
    names = ("forwards", "backwards")
    if any(values.get(name) is None for name in names):
        return None
    forwards, backwards = (count(values[name], f"{key}.{name}") for name in names)
    return forwards, backwards


def _interval(value: Any, key: str) -> Interval | None:
    ends = [share(end, key) for end in as_list(value, key)]
    if not ends:
        return None
    if len(ends) != 2 or ends[0] is None or ends[1] is None or ends[0] > ends[1]:
        return odd(value, key, "two fractions of 1 in order")
    return ends[0], ends[1]

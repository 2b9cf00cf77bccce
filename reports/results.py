"""The results file of a run: looked at once, so that tables, curves and pages need not look."""

import math
import os
import reprlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reports.files import ReportError, read_json
from reports.intervals import Interval, wilson
from reports.wording import as_number, attack_text, printable

MANY = 1e15
"""More than there is to count."""


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
    known, `failed` are the checks of the sanity gate that failed, as name and finding.
    """

    command: str = ""
    data: str = ""
    metrics: dict[str, Metrics] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    worst: dict[str, list[str]] = field(default_factory=dict)
    training: str = ""
    cost: dict[str, tuple[float, float]] = field(default_factory=dict)
    synthesis: dict[str, dict[str, float]] = field(default_factory=dict)
    trusted: bool = True
    failed: list[tuple[str, str]] = field(default_factory=list)
    image_size: str = ""
    seed: str = ""


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
    top = _dict(content, "it")
    if not isinstance(top.get("metrics"), dict):
        raise ValueError("it has no metrics")
    metrics = {name: _metrics(values, f"metrics.{name}") for name, values in _dict(top["metrics"], "metrics").items()}
    settings = dict(_dict(top.get("attacks"), "attacks"))
    cost = _dicts(top.get("cost"), "cost")
    sanity = _dict(top.get("sanity"), "sanity")
    checks = [_check(each) for each in _list(sanity.get("checks"), "sanity.checks")]
    failed = [(name, found) for name, passed, found in checks if not passed]
    passed = _bool(sanity.get("passed", not failed), "sanity.passed")
    return Measured(
        command=_text(top.get("command"), "command"),
        data=_text(top.get("data"), "data"),
        metrics=metrics,
        training=_training(top, settings),
        settings={name: each for name, each in settings.items() if name != "train"},
        worst={name: _texts(each, f"worst.{name}") for name, each in _dict(top.get("worst"), "worst").items()},
        cost={name: pair for name, values in cost.items() if (pair := _cost(values, f"cost.{name}")) is not None},
        synthesis={
            task: {name: _number(value, f"synthesis.{task}.{name}") for name, value in scores.items()}
            for task, scores in _dicts(top.get("synthesis"), "synthesis").items()
        },
        trusted=passed and not failed,
        failed=failed,
        image_size=" x ".join(f"{_count(side, 'image_size'):g}" for side in _list(top.get("image_size"), "image_size")),
        seed="" if top.get("seed") is None else f"{_number(top['seed'], 'seed'):.0f}",
    )


def _metrics(values: Any, key: str) -> Metrics:
    values = _dict(values, key)
    found = Metrics(
        accuracy=_share(values.get("accuracy"), f"{key}.accuracy"),
        miou=_share(values.get("miou"), f"{key}.miou"),
        accuracy_interval=_interval(values.get("accuracy_interval"), f"{key}.accuracy_interval"),
        miou_interval=_interval(values.get("miou_interval"), f"{key}.miou_interval"),
        samples=None if values.get("samples") is None else _count(values["samples"], f"{key}.samples"),
        labels={name: _count(n, f"{key}.labels") for name, n in _dict(values.get("labels"), f"{key}.labels").items()},
    )
    if found.accuracy_interval is None and found.accuracy is not None and found.samples and "miou" not in values:
        found.accuracy_interval = wilson(found.accuracy, found.samples)  # of image-level labels
    return found


def _training(top: dict[str, Any], settings: dict[str, Any]) -> str:
    if "training" in top:
        training = _dict(top["training"], "training")
        if "attack" not in training:
            return ""
        attack = training["attack"]
    elif top.get("command") == "fit" and "train" in settings:  # evaluations of older versions named that of the config
        training, attack = {}, settings["train"]
    else:
        return ""
    if attack is None:
        return "standard training"
    fraction = _share(training.get("fraction"), "training.fraction")
    warm_up = 0 if training.get("warm_up") is None else _number(training["warm_up"], "training.warm_up")
    parts = [attack_text(attack) or "an attack"]
    parts += [f"{100 * fraction:.3g} % of the images"] if fraction not in (None, 1) else []
    parts += [f"warm-up of {warm_up:g} epochs"] if warm_up else []
    return ", ".join(parts)


def _check(value: Any) -> tuple[str, bool, str]:
    check, key = _dict(value, "sanity.checks"), "sanity.checks.passed"
    return str(check.get("name", "a check")), _bool(check.get("passed"), key), str(check.get("found", ""))


def _cost(values: dict[str, Any], key: str) -> tuple[float, float] | None:
    """Forwards and backwards; None where they are not told."""
    names = ("forwards", "backwards")
    if any(values.get(name) is None for name in names):
        return None
    forwards, backwards = (_count(values[name], f"{key}.{name}") for name in names)
    return forwards, backwards


def _number(value: Any, key: str, what: str = "a number") -> float:
    number = as_number(value)
    return _odd(value, key, what) if number is None else number


def _count(value: Any, key: str) -> float:
    number = _number(value, key)
    return number if 0 <= number < MANY else _odd(value, key, "a count")


def _share(value: Any, key: str) -> float | None:
    """A fraction of 1; NaN is what there is where nothing could be measured."""
    number = math.nan if value is None else _number(value, key, "a fraction of 1")
    if math.isnan(number):
        return None
    return number if 0 <= number <= 1 else _odd(value, key, "a fraction of 1")


def _interval(value: Any, key: str) -> Interval | None:
    ends = [_share(end, key) for end in _list(value, key)]
    if not ends:
        return None
    if len(ends) != 2 or ends[0] is None or ends[1] is None or ends[0] > ends[1]:
        return _odd(value, key, "two fractions of 1 in order")
    return ends[0], ends[1]


def _dict(value: Any, key: str) -> dict[str, Any]:
    return {} if value is None else value if isinstance(value, dict) else _odd(value, key, "an object")


def _dicts(value: Any, key: str) -> dict[str, dict[str, Any]]:
    return {name: _dict(each, f"{key}.{name}") for name, each in _dict(value, key).items()}


def _list(value: Any, key: str) -> list[Any]:
    return [] if value is None else value if isinstance(value, list) else _odd(value, key, "a list")


def _texts(value: Any, key: str) -> list[str]:
    return [_text(each, key) for each in _list(value, key)]


def _text(value: Any, key: str) -> str:
    return "" if value is None else value if isinstance(value, str) else _odd(value, key, "a text")


def _bool(value: Any, key: str) -> bool:
    return value if isinstance(value, bool) else _odd(value, key, "true or false")


def _odd(value: Any, key: str, what: str) -> Any:
    raise ValueError(f"{key} is {reprlib.repr(value)}, not {what}")

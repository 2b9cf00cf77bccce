"""What runs measured, side by side: a row per measurement, a column per run."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import combinations
from typing import Any

from reports.intervals import Interval, wilson
from reports.results import Measured, Metrics, Scores, Spread
from reports.table import Comparison
from reports.wording import attack_text, group_text, short

MARK = "*"
"""Stands at what cannot be trusted."""

LEGEND = (
    ("[", "In brackets: the 95 % confidence interval over the images, what other images of this kind would give"),
    ("±", "Behind ±: the standard deviation over seeds (n - 1), what other trainings would give"),
)
"""What signs in cells mean."""

OF_IMAGES = re.compile("_(acc|loc)(_|$)")
"""Scores that are shares of a task's `images`, so that their intervals are known: those of `Localization`."""


def compare(runs: dict[str, Measured | None], sets: Mapping[str, str] | None = None) -> Comparison:
    """Accuracy and mIoU in percent of every version of the images, what each attack cost, and all scores.

    Behind a value stands its 95 % interval, where it is known; behind a mean over seeds, the standard deviation. An
    attack's row says its set, radius and steps; where these differ from run to run, a row of their own does. The
    numbers under attack of a network that failed the sanity gate are marked, and a note says why. Other notes say
    what stands in one row and is not the same: other attacks under one name, other data.

    Args:
        runs: results by name; None of a run that has none yet.
        sets: on which data set each run was measured, if they are to be of several; by default on the same.
    """
    comparison = Comparison(list(runs))
    found = [results or Measured() for results in runs.values()]
    for name, cells in _rows(found):
        if any(cells):
            comparison.rows[name] = cells
    comparison.legend = "; ".join(text for sign, text in LEGEND if any(sign in each for each in comparison.cells()))
    for run, results in runs.items():
        if results is None:
            comparison.notes.append(f"{run} has no results yet: they are written at the end of fit, validate or test")
        elif results.failed:
            why = "; ".join(f"not so: {name} ({what})" for name, what in results.failed)
            comparison.notes.append(f"{MARK} {run} may hide its gradients, and then attacks prove nothing: {why}")
    for data in dict.fromkeys(sets.values()) if sets else [None]:
        names = [run for run in runs if sets is None or sets.get(run) == data]
        comparison.notes += _differences(names, [runs[run] or Measured() for run in names])
    comparison.notes += _other_attacks(comparison.runs, found)
    comparison.notes += _judges(comparison.runs, found)
    comparison.notes += _copies(runs)
    return comparison


def _rows(found: list[Measured]) -> Iterator[tuple[str, list[str]]]:
    clean = [results.metrics.get("clean", Metrics()) for results in found]
    yield "images", [f"{each.samples:.0f}" if each.samples is not None else "" for each in clean]
    trained = [results.training for results in found]
    yield "training", [text or "unknown" for text in trained] if any(trained) else []
    for version in dict.fromkeys(version for results in found for version in results.metrics):
        texts = [_version_text(results, version) if version in results.metrics else None for results in found]
        told = set(texts) - {None}
        if len(told) > 1:
            yield version, ["" if text is None else text or "unknown" for text in texts]
        common = told.pop() if len(told) == 1 else ""
        title = f"{version} ({common})" if common else version
        for name, key in (("accuracy", "accuracy"), ("mIoU", "miou")):
            yield f"{title} {name}", [_share(results, version, key) for results in found]
    for attack in dict.fromkeys(attack for results in found for attack in results.cost):
        pairs = [results.cost.get(attack) for results in found]
        if any(pair and any(pair) for pair in pairs):  # a blur does not look at the network
            yield f"{attack} forwards + backwards", [f"{pair[0]:.0f} + {pair[1]:.0f}" if pair else "" for pair in pairs]
    for scores in ([results.insight for results in found], [results.synthesis for results in found]):
        for task in dict.fromkeys(task for each in scores for task in each):
            for name in dict.fromkeys(name for each in scores for name in each.get(task, {})):
                row = [_score(results, each, task, name) for results, each in zip(found, scores, strict=True)]
                yield f"{task} {_title(name)}", row


def _version_text(results: Measured, version: str) -> str:
    """What was done to the images; empty where it is not known, and for clean ones."""
    if version in results.worst:
        return group_text(results.worst[version], results.settings)
    return attack_text(results.settings.get(version), version)


def _share(results: Measured, version: str, key: str) -> str:
    metrics = results.metrics.get(version, Metrics())
    value: float | None = getattr(metrics, key)
    if value is None:
        return ""
    mark = "" if results.trusted or version == "clean" else MARK
    behind = _behind(results.spread.get(f"{version} {key}"), lambda deviation: f"{100 * deviation:.1f}")
    interval: Interval | None = getattr(metrics, f"{key}_interval")
    behind += _bracket(interval) if interval else ""
    return f"{100 * value:.1f} %{mark}{behind}"


def _bracket(interval: Interval) -> str:
    return f" [{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]"


def _behind(spread: Spread | None, said: Callable[[float], str]) -> str:
    """How far the runs lie apart that a value is the mean of, and how many they are; empty for a single run's."""
    if spread is None:
        return ""
    runs = f" ({spread.runs} {'seed' if spread.runs == 1 else 'seeds'})"
    return runs if spread.deviation is None else f" ± {said(spread.deviation)}{runs}"


def _title(score: str) -> str:
    for acronym in ("psnr", "ssim", "lpips", "fid"):
        score = score.replace(acronym, acronym.upper())
    return score.replace("max_box_acc", "MaxBoxAcc").replace("_", " ")


def _score(results: Measured, scores: Scores, task: str, name: str) -> str:
    """In its unit, which follows from its name."""
    own = scores.get(task, {})
    value, images = own.get(name), own.get("images", 0)
    if value is None:
        return ""
    spread = results.spread.get(f"{task} {name}")
    scale, digits, unit, interval = 1, ".4f" if abs(value) < 1e6 else ".4g", "", ""
    if name.startswith("judged") and 0 <= value <= 1:
        scale, digits, unit = 100, ".1f", " %"
    elif name.endswith("_gain") and -1 <= value <= 1:
        scale, digits, unit = 100, "+.1f", " %"
    elif OF_IMAGES.search(name) and 0 <= value <= 1 <= images:
        scale, digits, unit = 100, ".1f", " %"
        if not name.endswith("v2") and spread is None:  # a mean of shares, whose interval is not known
            interval = _bracket(wilson(value, images))
    elif name == "images":
        digits = ".0f"
    elif name.startswith("psnr") and abs(value) < 1e6:
        digits, unit = ".2f", " dB"
    behind = _behind(spread, lambda deviation: f"{scale * deviation:{digits.lstrip('+')}}")
    return f"{scale * value:{digits}}{unit}{behind}{interval}"


def _differences(names: list[str], found: list[Measured]) -> Iterator[str]:
    """What is compared though it is not the same."""
    data = [_data(results) for results in found]
    labels = {str(results.metrics["clean"].labels) for results, what in zip(found, data, strict=True) if what}
    if len({what for what in data if what}) > 1 or len(labels) > 1:
        yield f"not the same data: {_by_run(names, data)}"
    for what, each in (("image size", [r.image_size for r in found]), ("seed", [r.seed for r in found])):
        if len({value for value in each if value}) > 1:
            yield f"not the same {what}: {_by_run(names, each)}"


def _other_attacks(names: list[str], found: list[Measured]) -> Iterator[str]:
    """Attacks that are not the same under one name."""
    for version in dict.fromkeys(version for results in found for version in results.metrics):
        settings = [_settings(results, version) for results in found]
        for key in dict.fromkeys(key for each in settings for key in each):
            values = [each and each.get(key, "none") for each in settings]
            if len({value for value in values if value}) > 1:
                yield f"not the same {version}: {key} is {_by_run(names, values)}"


def _judges(names: list[str], found: list[Measured]) -> Iterator[str]:
    """Which network scored the pictures."""
    for task in dict.fromkeys(task for results in found for task in results.judges):
        judges = [results.judges.get(task, "none" if task in results.synthesis else "") for results in found]
        told = {judge for judge in judges if judge}
        yield (
            f"judge of {task}: {told.pop()}"
            if len(told) == 1
            else (f"not the same judge of {task}: {_by_run(names, judges)}")
        )


def _copies(runs: dict[str, Measured | None]) -> Iterator[str]:
    for (name, one), (other, two) in combinations(runs.items(), 2):
        if one is not None and one.metrics and one == two:
            yield f"{other} has the very results of {name}"


def _data(results: Measured) -> str:
    """What the clean images are, as far as it is known."""
    if not results.data or "clean" not in results.metrics:
        return ""
    split, labels = "test" if results.command == "test" else "val", results.metrics["clean"].labels
    return f"{results.data} ({split}" + (f", {sum(labels.values()):.0f} labels)" if labels else ")")


def _settings(results: Measured, version: str) -> dict[str, str]:
    """The settings of an attack, or the attacks of a group, by dotted name; empty where it was not measured."""
    known = results.settings | {name: {"attacks": each} for name, each in results.worst.items()}
    return dict(_flat(known[version])) if version in known and version in results.metrics else {}


def _flat(settings: Any, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(settings, dict):
        for name, value in settings.items():
            yield from _flat(value, f"{key}.{name}" if key else name)
    else:
        yield key or "it", str(settings)


def _by_run(names: list[str], values: Iterable[Any]) -> str:
    return ", ".join(f"{short(value)} in {name}" for name, value in zip(names, values, strict=True) if value)

"""Runs that differ in the seed only, as one: means, and how far the single runs lie apart."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import takewhile
from statistics import fmean, stdev

from reports.origin import Origin
from reports.results import Measured, Metrics, Scores, Spread
from reports.wording import short

Runs = dict[str, Measured | None]


def by_seed(runs: Runs, origins: dict[str, Origin]) -> tuple[Runs, dict[str, Origin], list[str]]:
    """Put runs together that differ in the seed only.

    These are runs of one command with the same config (but for the seed, names, paths and how the run was watched),
    the same training, data and attacks; of evaluations, those whose trainings are so, too. Where a config is not there,
    results alone are compared. Runs of the same seed are no partners.

    Args:
        runs: results by name.
        origins: of each run that has results.

    Returns:
        Results and origins, those of several runs under what their names share, and notes.
    """
    groups: list[list[str]] = []
    for name, results in runs.items():
        for group in groups if results else []:
            first = group[0]
            if runs[first] is None or origins[name].settings != origins[first].settings:
                continue
            if origins[name].seeds not in [origins[each].seeds for each in group] and not _unequal(
                results, runs[first]
            ):
                group.append(name)
                break
        else:
            groups.append([name])
    found: Runs = {}
    told: dict[str, Origin] = {}
    notes: list[str] = []
    for group in groups:
        members = {name: results for name in group if (results := runs[name])}
        name = _unlike(shared_name(group), [*found, *(other for other in runs if other not in group)])
        found[name] = merged(members) if len(group) > 1 else runs[name]
        if len(group) > 1:
            names = shared_name([origins[each].network for each in group])
            told[name] = replace(origins[group[0]], network=names)
            notes += _notes(name, members, origins)
        elif members:
            told[name] = origins[name]
            notes.append(_alone(name, runs, origins))
    return found, told, notes


def merged(members: dict[str, Measured]) -> Measured:
    """The mean of several runs; `spread` has the sample standard deviation (n - 1) and number of each value."""
    found = list(members.values())
    spread: dict[str, Spread] = {}

    def mean(key: str, values: Iterable[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        if not known:
            return None
        spread[key] = Spread(stdev(known) if len(known) > 1 else None, len(known))
        return fmean(known)

    metrics = {}
    for version in dict.fromkeys(version for each in found for version in each.metrics):
        of = [each.metrics.get(version, Metrics()) for each in found]
        labels, samples = [each.labels for each in of], {each.samples for each in of}
        metrics[version] = Metrics(
            accuracy=mean(f"{version} accuracy", (each.accuracy for each in of)),
            miou=mean(f"{version} miou", (each.miou for each in of)),
            samples=samples.pop() if len(samples) == 1 else None,
            labels=labels[0] if all(each == labels[0] for each in labels) else {},
        )

    def scores(of: Sequence[Scores]) -> Scores:
        keys = dict.fromkeys((task, name) for each in of for task, values in each.items() for name in values)
        means: Scores = {}
        for task, name in keys:
            value = mean(f"{task} {name}", (each.get(task, {}).get(name) for each in of))
            if value is not None:
                means.setdefault(task, {})[name] = value
        return means

    costs = {name: [each.cost[name] for each in found if name in each.cost] for each in found for name in each.cost}
    tasks = dict.fromkeys(task for each in found for task in each.judges)
    return replace(
        found[0],
        metrics=metrics,
        synthesis=scores([each.synthesis for each in found]),
        insight=scores([each.insight for each in found]),
        cost={name: (fmean(p[0] for p in pairs), fmean(p[1] for p in pairs)) for name, pairs in costs.items()},
        judges={task: " and ".join({each.judges.get(task, "none"): 0 for each in found}) for task in tasks},
        trusted=all(each.trusted for each in found),
        failed=[(f"{check} of {name}", what) for name, each in members.items() for check, what in each.failed],
        seed="",
        spread=spread,
    )


def shared_name(names: Sequence[str]) -> str:
    """What names share at both ends, with `*` for the rest; numbers stay whole: `at_seed*` of at_seed10, at_seed11."""
    if len(set(names)) == 1:
        return names[0]
    parts = [re.findall(r"\d+|\D", name) for name in names]
    begins = _shared(parts)
    ends = _shared([part[len(begins) :][::-1] for part in parts])[::-1]
    return "".join([*begins, "*", *ends]) if begins or ends else " or ".join(names)


def _shared(parts: Sequence[Sequence[str]]) -> list[str]:
    """What all begin with."""
    same = takewhile(lambda each: len(set(each)) == 1, zip(*parts, strict=False))
    return [each[0] for each in same]


def _unlike(name: str, others: Sequence[str]) -> str:
    number = next(i for i in range(1, len(others) + 2) if (name if i == 1 else f"{name} ({i})") not in others)
    return name if number == 1 else f"{name} ({number})"


def _unequal(one: Measured | None, other: Measured | None) -> list[str]:
    """What results say of how they came about, and is not the same."""
    keys = ("command", "data", "training", "settings", "worst", "image_size")
    return [key for key in keys if getattr(one, key, None) != getattr(other, key, None)]


def _notes(name: str, members: dict[str, Measured], origins: dict[str, Origin]) -> list[str]:
    """Which runs these are, and what differs all the same."""
    seeds = [_seed(origins[each]) for each in members]
    notes = [f"{name}: {', '.join(f'seed {s} in {each}' for s, each in zip(seeds, members, strict=True))}"]
    if any(origins[each].settings is None for each in members):
        notes.append(f"{name}: configs are missing; that nothing but the seed differs is what results say")
    for what, values in (
        ("number of images", [_samples(each) for each in members.values()]),
        ("labels", [str(each.metrics.get("clean", Metrics()).labels) for each in members.values()]),
        ("number of epochs", [each.epochs for each in members.values()]),
    ):
        if len(set(values)) > 1:
            told = [f"{short(value or 'unknown')} in {each}" for value, each in zip(values, members, strict=True)]
            notes.append(f"{name}: not the same {what}: {', '.join(told)}")
    return notes


def _samples(results: Measured) -> str:
    samples = results.metrics.get("clean", Metrics()).samples
    return "" if samples is None else f"{samples:.0f}"


def _seed(of: Origin) -> str:
    """That of the training, and that of the evaluation where it is what tells runs apart."""
    trained, evaluated = of.seeds
    return trained if trained == evaluated or not evaluated else f"{trained or 'unknown'} (evaluated with {evaluated})"


def _alone(name: str, runs: Runs, origins: dict[str, Origin]) -> str:
    """Why a run stands as it is; of the run whose name differs in numbers only, what else does."""
    others = [other for other in origins if other != name]
    near = next((other for other in others if re.sub(r"\d+", "", other) == re.sub(r"\d+", "", name)), None)
    if near is None:
        return f"{name} stands alone: no other run differs from it in the seed only"
    one, two = origins[name], origins[near]
    if (one.settings is None) != (two.settings is None):
        return (
            f"{name} stands alone: the configs that {'it' if one.settings is None else near} goes by are not all there"
        )
    before, now = two.settings or {}, one.settings or {}
    keys = [key for key in {**now, **before} if now.get(key) != before.get(key)]
    keys += [] if keys else _unequal(runs[name], runs[near])
    if not keys:
        return f"{name} stands alone: it has the seed of {near}"
    return f"{name} stands alone: from {near} it differs in {', '.join(keys[:3])}{', ...' * (len(keys) > 3)}"

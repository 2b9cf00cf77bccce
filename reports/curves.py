"""Robustness curves: how much stays right as an attack grows stronger: with eps, or with sigma, passes or std."""

from dataclasses import dataclass, field
from typing import Any

from reports.results import Measured, Metrics
from reports.wording import number_text, short, strength

WIDTH, HEIGHT = 440, 240
"""Of the plot's inside, in pixels."""

COLORS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b", "#e377c2")


@dataclass
class Curve:
    """One attack on one run's network: points (strength, share that stays right), 0 first."""

    name: str
    points: list[tuple[float, float]]


@dataclass
class Chart:
    """The curves of one metric by one strength: eps of a kind of set, such as `Linf`, or a setting of an attack."""

    metric: str
    strength: str
    of: str
    curves: list[Curve] = field(default_factory=list)

    @property
    def axis(self) -> str:
        """What stands on it: `eps (Linf)`, `sigma (GaussianBlur)`."""
        return f"{self.strength} ({self.of})"

    @property
    def largest(self) -> float:
        """The largest strength."""
        return max(value for curve in self.curves for value, _ in curve.points)

    def lines(self) -> list[tuple[str, str, list[tuple[float, float]]]]:
        """Name, colour and pixels of each curve; the origin is at the top left."""
        return [
            (curve.name, COLORS[i % len(COLORS)], [self._place(*point) for point in curve.points])
            for i, curve in enumerate(self.curves)
        ]

    def ticks(self) -> list[tuple[float, str]]:
        """Place and text of each strength; eps and std in grey levels, where they are whole."""
        values = sorted({value for curve in self.curves for value, _ in curve.points})
        return [(self._place(value, 0)[0], number_text(self.strength, value)) for value in values]

    def _place(self, value: float, share: float) -> tuple[float, float]:
        return round(WIDTH * (value / self.largest), 1), round(HEIGHT * (1 - share), 1)


def charts(runs: dict[str, Measured | None]) -> list[Chart]:
    """Curves of all attacks that a run was measured under at two strengths or more, all else being the same."""
    found: dict[tuple[str, str, str], Chart] = {}
    for run, results in runs.items():
        if results is None:
            continue
        clean = results.metrics.get("clean", Metrics())
        for name, by, of, attacks in _sweeps(results):
            for metric in ("accuracy", "miou"):
                shares = {value: getattr(results.metrics[attack], metric) for value, attack in attacks.items()}
                shares[0.0] = getattr(clean, metric)
                points = sorted((value, share) for value, share in shares.items() if share is not None)
                if len(points) > 2:
                    chart = found.setdefault((metric, by, of), Chart(metric, by, of))
                    chart.curves.append(Curve(f"{run}: {name}", points))
    return list(found.values())


def _sweeps(results: Measured) -> list[tuple[str, str, str, dict[float, str]]]:
    """Attacks that differ in strength alone: class and steps, the strength, what it is of, and names by its value."""
    groups: dict[str, tuple[str, str, str, dict[float, str]]] = {}
    for name, settings in results.settings.items():
        found = strength(settings)
        if found is None or name not in results.metrics or found[2] == 0:  # that is the clean image
            continue
        by, of, value = found
        title = short(str(settings.get("class", "attack")) + (f"-{settings['steps']}" if "steps" in settings else ""))
        key = repr((_without(settings, {"constraint", "step_size"} if by == "eps" else {by}), by, of))
        groups.setdefault(key, (title, by, of, {}))[3][value] = name
    return [group for group in groups.values() if len(group[3]) > 1]


def _without(settings: Any, names: set[str]) -> Any:
    """What is left of settings without some, such as those that go with eps; also of what an attack is made of."""
    if isinstance(settings, dict):
        return {key: _without(settings[key], names) for key in sorted(settings.keys() - names)}
    return [_without(each, names) for each in settings] if isinstance(settings, list) else settings

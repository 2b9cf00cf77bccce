"""Robustness curves: how much stays right as eps grows."""

from dataclasses import dataclass, field
from typing import Any

from reports.results import Measured, Metrics
from reports.wording import ball, eps_text, short

WIDTH, HEIGHT = 440, 240
"""Of the plot's inside, in pixels."""

COLORS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b", "#e377c2")


@dataclass
class Curve:
    """One attack on one run's network: points (eps, share that stays right), eps 0 first."""

    name: str
    points: list[tuple[float, float]]


@dataclass
class Chart:
    """The curves of one metric and one kind of set, such as `Linf`."""

    metric: str
    constraint: str
    curves: list[Curve] = field(default_factory=list)

    @property
    def largest(self) -> float:
        """The largest eps."""
        return max(eps for curve in self.curves for eps, _ in curve.points)

    def lines(self) -> list[tuple[str, str, list[tuple[float, float]]]]:
        """Name, colour and pixels of each curve; the origin is at the top left."""
        return [
            (curve.name, COLORS[i % len(COLORS)], [self._place(*point) for point in curve.points])
            for i, curve in enumerate(self.curves)
        ]

    def ticks(self) -> list[tuple[float, str]]:
        """Place and text of each eps; in grey levels, where they are whole."""
        values = sorted({eps for curve in self.curves for eps, _ in curve.points})
        return [(self._place(eps, 0)[0], eps_text(eps)) for eps in values]

    def _place(self, eps: float, share: float) -> tuple[float, float]:
        return round(WIDTH * (eps / self.largest), 1), round(HEIGHT * (1 - share), 1)


def charts(runs: dict[str, Measured | None]) -> list[Chart]:
    """Curves of all attacks that a run was measured under at two radii or more, their other settings being the same."""
    found: dict[tuple[str, str], Chart] = {}
    for run, results in runs.items():
        if results is None:
            continue
        clean = results.metrics.get("clean", Metrics())
        for name, constraint, attacks in _sweeps(results):
            for metric in ("accuracy", "miou"):
                shares = {eps: getattr(results.metrics[attack], metric) for eps, attack in attacks.items()}
                shares[0.0] = getattr(clean, metric)
                points = sorted((eps, share) for eps, share in shares.items() if share is not None)
                if len(points) > 2:
                    chart = found.setdefault((metric, constraint), Chart(metric, constraint))
                    chart.curves.append(Curve(f"{run}: {name}", points))
    return list(found.values())


def _sweeps(results: Measured) -> list[tuple[str, str, dict[float, str]]]:
    """Attacks that differ in eps (and the step that goes with it) alone: class and steps, set, and names by eps."""
    groups: dict[str, tuple[str, str, dict[float, str]]] = {}
    for name, settings in results.settings.items():
        found = ball(settings)
        if found is None or name not in results.metrics or found[1] == 0:  # that is the clean image
            continue
        constraint, eps = found
        title = short(str(settings.get("class", "attack")) + (f"-{settings['steps']}" if "steps" in settings else ""))
        key = repr((_without_size(settings), constraint))
        groups.setdefault(key, (title, constraint, {}))[2][eps] = name
    return [group for group in groups.values() if len(group[2]) > 1]


def _without_size(settings: Any) -> Any:
    """What is left of settings without constraints and step sizes, also of what an attack is made of."""
    if isinstance(settings, dict):
        kept = settings.keys() - {"constraint", "step_size"}
        return {key: _without_size(settings[key]) for key in sorted(kept)}
    return [_without_size(each) for each in settings] if isinstance(settings, list) else settings

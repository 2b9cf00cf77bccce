"""Robustness curves: how much stays right as eps grows."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reports.files import read_results

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
        return [(self._place(eps, 0)[0], _eps_text(eps, self.constraint)) for eps in values]

    def _place(self, eps: float, share: float) -> tuple[float, float]:
        return round(WIDTH * eps / self.largest, 1), round(HEIGHT * (1 - share), 1)


def charts(runs: list[Path]) -> list[Chart]:
    """Curves of all attacks that a run was measured under at two radii or more, their other settings being the same."""
    found: dict[tuple[str, str], Chart] = {}
    for run in runs:
        results = read_results(run)
        for name, constraint, attacks in _sweeps(results.get("attacks", {})):
            for metric in ("accuracy", "miou"):
                shares = {eps: results["metrics"].get(attack, {}).get(metric) for eps, attack in attacks.items()}
                shares[0.0] = results["metrics"].get("clean", {}).get(metric)
                points = sorted((eps, share) for eps, share in shares.items() if share is not None)
                if len(points) > 2:
                    chart = found.setdefault((metric, constraint), Chart(metric, constraint))
                    chart.curves.append(Curve(f"{run.name}: {name}", points))
    return list(found.values())


def _sweeps(attacks: dict[str, Any]) -> list[tuple[str, str, dict[float, str]]]:
    """Attacks that differ in eps (and the step that goes with it) alone: class and steps, set, and names by eps."""
    groups: dict[str, tuple[str, str, dict[float, str]]] = {}
    for name, settings in attacks.items():
        constraint = (settings or {}).get("constraint") if isinstance(settings, dict) else None
        if name == "train" or not isinstance(constraint, dict) or "eps" not in constraint:
            continue
        rest = _without_size(settings)
        title = settings["class"] + (f"-{settings['steps']}" if "steps" in settings else "")
        key = repr((rest, constraint["class"]))
        groups.setdefault(key, (title, constraint["class"], {}))[2][constraint["eps"]] = name
    return [group for group in groups.values() if len(group[2]) > 1]


def _without_size(settings: Any) -> Any:
    """What is left of settings without constraints and step sizes, also of what an attack is made of."""
    if isinstance(settings, dict):
        kept = settings.keys() - {"constraint", "step_size"}
        return {key: _without_size(settings[key]) for key in sorted(kept)}
    return [_without_size(each) for each in settings] if isinstance(settings, list) else settings


def _eps_text(eps: float, constraint: str) -> str:
    levels = 255 * eps
    return f"{levels:.0f}/255" if constraint == "Linf" and eps and abs(levels - round(levels)) < 1e-6 else f"{eps:g}"

"""One network on several data sets: a row for the network, a column for each data set."""

from collections import defaultdict
from dataclasses import replace

from reports.origin import Origin
from reports.results import Measured, Metrics
from reports.table import Comparison
from reports.wording import short

Places = dict[str, tuple[str, str]]
"""Network and data set of each run."""


def places(runs: dict[str, Measured | None], origins: dict[str, Origin]) -> Places:
    """Of each run that has results: the network that it measured, and the data set by a name that tells it from others.

    Data sets go by their class. Options that change what is evaluated stand behind it, where they differ between runs
    on this class; so do the names of folders and classes.
    """
    known = {name: results for name, results in runs.items() if results is not None}
    sets = {name: _identity(results, origins[name]) for name, results in known.items()}
    told = {}
    for name, what in sets.items():
        same = [other for other in sets if sets[other]["class"] == what["class"]]
        keys = dict.fromkeys(key for other in same for key in sets[other])
        values = {key: [sets[other].get(key, _default(origins[other])) for other in same] for key in keys}
        differ = [key for key in keys if len(set(values[key])) > 1]
        if "classes" in differ and "root" in differ:
            differ.remove("classes")  # the shorter name will do
        elif "root" in differ:
            differ.remove("root")  # the same data at two places
        labels = [_clean(known[other]).labels for other in same]
        if "split" in differ and labels[0] and all(each == labels[0] for each in labels):
            differ.remove("split")  # one set is both
        parts = [_part(key, values[key][same.index(name)]) for key in differ]
        told[name] = (origins[name].network, what["class"] + (f" ({', '.join(parts)})" if parts else ""))
    return told


def by_data(comparison: Comparison, of: Places) -> Comparison:
    """The cells of a comparison anew: a row for each measurement of each network, a column for each data set.

    What is not measured, such as the number of images, stands once where it is the same for all networks. How
    networks were trained is a note, unless it differs from data set to data set. Runs of one network on one data set
    share a row as far as their cells agree; else the later run has rows of its own.
    """
    columns = list(dict.fromkeys(data for _, data in of.values()))
    cells: dict[str, dict[str, dict[str, str]]] = {}  # by network, measurement and data set
    for place, run in enumerate(comparison.runs):
        if run not in of:
            continue
        network, data = of[run]
        column = {title: row[place] for title, row in comparison.rows.items() if row[place]}
        there = cells.setdefault(network, defaultdict(dict))
        if any(there[title].get(data, text) != text for title, text in column.items()):
            there = cells.setdefault(f"{network} ({run})", defaultdict(dict))
        for title, text in column.items():
            there[title][data] = text
    found = replace(comparison, runs=columns, rows={}, notes=list(comparison.notes))
    for title in comparison.rows:
        rows = {network: of_network[title] for network, of_network in cells.items() if of_network[title]}
        if title == "training" and all(len(set(row.values())) == 1 for row in rows.values()):
            trained = [f"{short(next(iter(row.values())))} in {network}" for network, row in rows.items()]
            found.notes.insert(0, f"training: {', '.join(trained)}")
            continue
        shared = {data: {row[data] for row in rows.values() if data in row} for data in columns}
        describes = title == "images" or title.endswith("forwards + backwards") or " " not in title  # an attack's name
        if describes and all(len(texts) < 2 for texts in shared.values()):
            found.rows[title] = ["".join(texts) for texts in shared.values()]
            continue
        for network, row in rows.items():
            found.rows[f"{network}: {title}"] = [row.get(data, "") for data in columns]
    return found


def _identity(results: Measured, of: Origin) -> dict[str, str]:
    """What tells data from other data."""
    found = {"class": results.data or "unknown data", "classes": ", ".join(_clean(results).labels), "root": of.root}
    return found | (of.options or {}) | {"split": "test" if results.command == "test" else "val"}


def _clean(results: Measured) -> Metrics:
    return results.metrics.get("clean", Metrics())


def _default(of: Origin) -> str:
    return "unknown" if of.options is None else "none"


def _part(key: str, text: str) -> str:
    return short(text) if key in ("root", "classes", "split") else f"{key} {short(text)}"

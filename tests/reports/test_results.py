import json
import os

import pytest
from one_line import one_line

from reports.files import ReportError
from reports.intervals import wilson
from reports.results import Metrics, read_results, read_runs


def make_run(folder, content):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(content))
    return folder


WHOLE = {
    "run": "at50",
    "command": "test",
    "metrics": {"clean": {"accuracy": 0.5, "miou": 0.25, "loss": 1.5, "samples": 7, "labels": {"cat": 3, "dog": 4}}},
    "synthesis": {"inpainting": {"blurred_error": 0.01}},
    "insight": {"alignment": {"cosine": 0.25}},
    "judges": {"inpainting": {"network": "fcn_small", "weights": "runs/a/last.ckpt", "sha256": "0123456789abcdef"}},
    "attacks": {"pgd": {"class": "PGD", "constraint": {"class": "Linf", "eps": 0.03}, "steps": 3}, "own": "attack"},
    "training": {"run": "at50", "attack": None, "fraction": 1.0, "warm_up": 0.0, "epochs": 8},
    "worst": {"sea": ["pgd", "clean"]},
    "cost": {"pgd": {"forwards": 3.0, "backwards": 3.0, "seconds": 1.5}},
    "sanity": {"passed": False, "checks": [{"name": "a", "passed": False, "found": "b"}]},
    "data": "VOC",
    "seed": 0,
    "image_size": [96, 128],
    "versions": {"saddle": "0.1.0+g7c32748"},
}
"""A results file with all there is to be read."""


def test_results_are_read(tmp_path):
    found = read_results(make_run(tmp_path, WHOLE))
    assert found.metrics == {"clean": Metrics(0.5, 0.25, samples=7, labels={"cat": 3, "dog": 4})}
    assert (found.command, found.data, found.seed, found.image_size) == ("test", "VOC", "0", "96 x 128")
    assert found.training == "standard training"
    assert found.worst == {"sea": ["pgd", "clean"]} and found.cost == {"pgd": (3, 3)}
    assert not found.trusted and found.failed == [("a", "b")]
    assert found.synthesis == {"inpainting": {"blurred_error": 0.01}}
    assert found.insight == {"alignment": {"cosine": 0.25}}
    assert found.judges == {"inpainting": "fcn_small 01234567 (runs/a/last.ckpt)"}
    assert set(found.settings) == {"pgd", "own"}


def test_a_file_that_holds_no_more_than_metrics_is_read(tmp_path):
    found = read_results(make_run(tmp_path, {"metrics": {"clean": {"accuracy": 0.9, "samples": 50}}, "new": [1]}))
    assert found.metrics["clean"].accuracy_interval == wilson(0.9, 50)
    assert found.trusted and found.training == ""


def test_nulls_and_nan_are_what_was_not_measured(tmp_path):
    content = dict.fromkeys(WHOLE) | {"metrics": {"clean": {"accuracy": float("nan"), "miou": None}}}
    assert read_results(make_run(tmp_path, content)).metrics == {"clean": Metrics()}


def places(value, path=()):
    """The path of each value in nested JSON."""
    yield path
    if isinstance(value, dict | list):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(each, (*path, key))


def changed(value, path, new):
    if not path:
        return new
    if isinstance(value, list):
        return [changed(each, path[1:], new) if i == path[0] else each for i, each in enumerate(value)]
    return {key: changed(each, path[1:], new) if key == path[0] else each for key, each in value.items()}


ODD = [None, True, "text", "", 3, -1, 0.5, 10**400, float("nan"), float("inf"), 1e308, [], [1], [[]], {}, {"a": 1}]


@pytest.mark.parametrize("path", list(places(WHOLE)), ids=lambda path: ".".join(map(str, path)) or "all")
def test_any_value_of_another_kind_is_read_or_told_in_one_line(tmp_path, path):
    """And what was read can be shown."""
    from reports.curves import charts
    from reports.measurements import compare

    for new in ODD:
        runs = [make_run(tmp_path / "a", changed(WHOLE, path, new)), make_run(tmp_path / "b", WHOLE)]
        try:
            found = read_runs(runs)
        except ReportError as error:
            assert str(tmp_path / "a" / "results.json") in str(error) and "\n" not in str(error)
            continue
        assert charts(found) == []
        for form in ("terminal", "markdown", "latex"):
            assert compare(found).text(form)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"metrics": {"clean": {"accuracy": 84.6}}}, "metrics.clean.accuracy is 84.6, not a fraction of 1"),
        ({"metrics": {"clean": {"accuracy": "0.8"}}}, "metrics.clean.accuracy is '0.8', not"),
        ({"metrics": {"accuracy": 0.8}}, "metrics.accuracy is 0.8, not an object"),
        ({"metrics": {"a": {"miou_interval": [0.5, 0.4]}}}, "miou_interval is [0.5, 0.4], not two fractions"),
        ({"metrics": {"clean": {"samples": -3}}}, "metrics.clean.samples is -3, not a count"),
        ({"worst": {"sea": "pgd"}}, "worst.sea is 'pgd', not a list"),
        ({"cost": {"pgd": {"forwards": "3", "backwards": 3}}}, "cost.pgd.forwards is '3'"),
        ({"synthesis": {"inpainting": 0.5}}, "synthesis.inpainting is 0.5"),
        ({"insight": {"alignment": {"cosine": "0.1"}}}, "insight.alignment.cosine is '0.1'"),
        ({"judges": {"inpainting": {"network": 3}}}, "judges.inpainting.network is 3, not a text"),
        ({"sanity": {"passed": "yes"}}, "sanity.passed is 'yes', not true or false"),
    ],
)
def test_the_key_and_the_value_are_named(tmp_path, change, told):
    with pytest.raises(ReportError, match=one_line("results.json", "no results file", told, "name a run's folder")):
        read_results(make_run(tmp_path, {**WHOLE, **change}))


def test_a_folder_without_results_is_told(tmp_path):
    with pytest.raises(ReportError, match=one_line("results.json", "not found", "fit, validate or test")):
        read_results(tmp_path)


def test_the_results_file_itself_is_no_run(tmp_path):
    path = make_run(tmp_path, WHOLE) / "results.json"
    with pytest.raises(ReportError, match=one_line("results.json", "Not a directory")):
        read_results(path)


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: os.symlink(path, path)])
def test_what_is_no_file_is_told(tmp_path, make):
    make(tmp_path / "results.json")
    with pytest.raises(ReportError, match=one_line("results.json", "no results file")):
        read_results(tmp_path)


@pytest.mark.parametrize("content", [b'{"metrics": {', b"", b"\xff\xfe", b"[]", b"{}", b"[" * 100_000])
def test_a_file_that_holds_no_results_is_told(tmp_path, content):
    (tmp_path / "results.json").write_bytes(content)
    with pytest.raises(ReportError, match=one_line("results.json", "no results file")):
        read_results(tmp_path)


def test_runs_go_by_as_much_of_their_paths_as_tells_them_apart(tmp_path):
    paths = ["x/runs/at50", "y/runs/at50", "z/other", "at50 (copy)"]
    found = read_runs([make_run(tmp_path / path, {"metrics": {}}) for path in paths])
    assert list(found) == ["x/runs/at50", "y/runs/at50", "other", "at50 (copy)"]


def test_a_name_of_a_folder_is_made_printable(tmp_path):
    names = [b"a\x1b[31m", b"a\xff", b"a\n"]
    found = read_runs([make_run(tmp_path / os.fsdecode(name), {"metrics": {}}) for name in names])
    assert all(name.isprintable() for name in found) and len(found) == 3

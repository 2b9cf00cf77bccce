import json

import pytest

from reports.curves import HEIGHT, WIDTH, charts
from reports.results import read_runs


def settings(eps, norm="Linf", steps=10, name="PGD"):
    return {"class": name, "constraint": {"class": norm, "eps": eps}, "steps": steps, "step_size": eps / 4}


def make_run(folder, attacks, metrics):
    folder.mkdir(parents=True)
    metrics = {version: {"accuracy": accuracy} for version, accuracy in metrics.items()}
    (folder / "results.json").write_text(json.dumps({"attacks": attacks, "metrics": metrics}))
    return folder


@pytest.fixture
def sweep(tmp_path):
    attacks = {f"eps{k}": settings(k / 255) for k in (8, 2, 4)} | {"train": settings(1 / 255), "other": None}
    return make_run(tmp_path / "at8", attacks, {"clean": 0.9, "eps2": 0.8, "eps4": 0.6, "eps8": 0.3})


def test_attacks_that_differ_in_eps_alone_make_a_curve_that_begins_with_the_clean_images(sweep):
    (chart,) = charts(read_runs([sweep]))
    assert (chart.metric, chart.axis) == ("accuracy", "eps (Linf)")
    (curve,) = chart.curves
    assert curve.name == "at8: PGD-10"
    assert curve.points == [(0, 0.9), (2 / 255, 0.8), (4 / 255, 0.6), (8 / 255, 0.3)]


def test_an_attack_that_is_made_of_others_makes_a_curve(tmp_path):
    attacks = {
        f"aa{k}": {"class": "AutoAttack", "constraint": {"class": "Linf", "eps": k}, "attacks": [settings(k)]}
        for k in (0.1, 0.2)
    }
    (chart,) = charts(read_runs([make_run(tmp_path / "at8", attacks, {"clean": 0.9, "aa0.1": 0.8, "aa0.2": 0.6})]))
    assert [(curve.name, len(curve.points)) for curve in chart.curves] == [("at8: AutoAttack", 3)]


def test_pixels_and_ticks(sweep):
    (chart,) = charts(read_runs([sweep]))
    ((_, _, points),) = chart.lines()
    assert points[0] == (0, pytest.approx(0.1 * HEIGHT)) and points[-1] == (WIDTH, pytest.approx(0.7 * HEIGHT))
    assert chart.ticks() == [(0, "0"), (WIDTH / 4, "2/255"), (WIDTH / 2, "4/255"), (WIDTH, "8/255")]


def test_runs_share_a_chart_and_other_norms_have_their_own(tmp_path, sweep):
    attacks = {"a": settings(0.5, "L2"), "b": settings(1.0, "L2")}
    euclid = make_run(tmp_path / "l2", attacks, {"clean": 0.9, "a": 0.8, "b": 0.6})
    both = make_run(tmp_path / "both", {"x": settings(0.1), "y": settings(0.2)}, {"clean": 1.0, "x": 0.5, "y": 0.2})
    found = {chart.of: [curve.name for curve in chart.curves] for chart in charts(read_runs([sweep, euclid, both]))}
    assert found == {"Linf": ["at8: PGD-10", "both: PGD-10"], "L2": ["l2: PGD-10"]}


def test_attacks_that_differ_in_more_make_none(tmp_path):
    others = {"b": settings(0.2, steps=20), "c": settings(0.3, name="APGD"), "d": settings(0.4, "L2")}
    metrics = {"clean": 0.9, "a": 0.8, "b": 0.6, "c": 0.5, "d": 0.5}
    assert charts(read_runs([make_run(tmp_path / "mixed", {"a": settings(0.1), **others}, metrics)])) == []


def test_label_maps_have_a_chart_of_miou_too(tmp_path):
    run = make_run(tmp_path / "maps", {"a": settings(0.1), "b": settings(0.2)}, {})
    values = {name: {"accuracy": 0.5, "miou": 0.25} for name in ("clean", "a", "b")}
    content = json.loads((run / "results.json").read_text()) | {"metrics": values}
    (run / "results.json").write_text(json.dumps(content))
    assert [chart.metric for chart in charts(read_runs([run]))] == ["accuracy", "miou"]


def test_an_attack_that_tells_no_settings_has_none(tmp_path):
    assert charts(read_runs([make_run(tmp_path / "own", {"mine": "my_attack"}, {"clean": 0.9, "mine": 0.6})])) == []


def transformed(name, setting, values, **others):
    return {f"{setting}{value}": {"class": name, "kernel_size": 3, setting: value, **others} for value in values}


def test_runs_share_a_curve_by_sigma_and_one_by_passes(tmp_path):
    blurs, medians = (0.5, 1.0, 2.5), (1, 2, 10)
    attacks = transformed("GaussianBlur", "sigma", blurs) | transformed("MedianFilter", "passes", medians)
    attacks |= {"reversed": {"class": "ColorReversal"}}
    metrics = {"clean": 0.9, "reversed": 0.1} | {f"sigma{k}": 0.8 - k / 10 for k in blurs}
    metrics |= {f"passes{k}": 0.9 - k / 20 for k in medians}
    runs = [make_run(tmp_path / name, attacks, metrics) for name in ("at", "standard")]
    blur, median = charts(read_runs(runs))
    assert (blur.axis, median.axis) == ("sigma (GaussianBlur)", "passes (MedianFilter)")
    assert [curve.name for curve in blur.curves] == ["at: GaussianBlur", "standard: GaussianBlur"]
    assert [curve.name for curve in median.curves] == ["at: MedianFilter", "standard: MedianFilter"]
    assert blur.curves[0].points == [(0, 0.9), *((k, 0.8 - k / 10) for k in blurs)]
    assert [value for value, _ in median.curves[1].points] == [0, 1, 2, 10]
    assert blur.ticks() == [(0, "0"), (WIDTH / 5, "0.5"), (WIDTH / 5 * 2, "1"), (WIDTH, "2.5")]
    assert [text for _, text in median.ticks()] == ["0", "1", "2", "10"]


def test_noise_makes_a_curve_in_grey_levels(tmp_path):
    attacks = {f"n{k}": {"class": "GaussianNoise", "std": k / 255} for k in (4, 8)}
    (chart,) = charts(read_runs([make_run(tmp_path / "at", attacks, {"clean": 0.9, "n4": 0.8, "n8": 0.6})]))
    assert chart.axis == "std (GaussianNoise)" and [text for _, text in chart.ticks()] == ["0", "4/255", "8/255"]


def test_transformations_that_differ_in_more_make_none(tmp_path):
    attacks = transformed("GaussianBlur", "sigma", [1]) | transformed("GaussianBlur", "sigma", [2], kernel_size=5)
    assert charts(read_runs([make_run(tmp_path / "a", attacks, {"clean": 0.9, "sigma1": 0.8, "sigma2": 0.7})])) == []


def test_a_strength_of_0_is_no_point_of_its_own(tmp_path):
    attacks = transformed("MedianFilter", "passes", [0, 1, 2])
    metrics = {"clean": 0.9, "passes0": 0.5, "passes1": 0.8, "passes2": 0.7}
    (chart,) = charts(read_runs([make_run(tmp_path / "a", attacks, metrics)]))
    assert chart.curves[0].points == [(0, 0.9), (1, 0.8), (2, 0.7)]

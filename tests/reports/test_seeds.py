import statistics

import pytest

from reports.measurements import compare
from reports.origin import Origin
from reports.results import Measured, Metrics
from reports.seeds import by_seed, merged, shared_name


def measured(accuracy=0.5, miou=None, **others):
    return Measured("fit", "CIFAR10", {"clean": Metrics(accuracy, miou, (0.4, 0.6), samples=100)}, **others)


def origins(seeds, settings=None):
    default = {"lr": "0.1"}
    return {name: Origin(name, (str(s), str(s)), (settings or {}).get(name, default)) for name, s in seeds.items()}


def table(runs, of):
    found, _, notes = by_seed(runs, of)
    comparison = compare(found)
    return comparison, notes


def test_mean_and_sample_deviation_stand_in_place_of_the_interval():
    accuracies = {"at_seed0": 0.842, "at_seed1": 0.845, "at_seed2": 0.851}
    runs = {name: measured(each, each / 2) for name, each in accuracies.items()}
    comparison, notes = table(runs, origins({name: i for i, name in enumerate(runs)}))
    mean, deviation = (100 * f(accuracies.values()) for f in (statistics.mean, statistics.stdev))
    assert f"{deviation:.1f}" != f"{100 * statistics.pstdev(accuracies.values()):.1f}", "n - 1 is told from n"
    assert comparison.runs == ["at_seed*"]
    assert comparison.rows["clean accuracy"] == [f"{mean:.1f} % ± {deviation:.1f} (3 seeds)"]
    assert comparison.rows["clean mIoU"] == [f"{mean / 2:.1f} % ± {deviation / 2:.1f} (3 seeds)"]
    assert "standard deviation over seeds" in comparison.legend and "interval" not in comparison.legend
    assert notes == ["at_seed*: seed 0 in at_seed0, seed 1 in at_seed1, seed 2 in at_seed2"]
    assert r"$\pm$" in comparison.text("latex") and "±" not in comparison.text("latex").splitlines()[4]


def test_a_run_without_a_partner_stays_as_it_is_and_both_signs_are_explained():
    runs = {name: measured(0.5) for name in ("at_seed0", "at_seed1", "std")}
    of = origins({"at_seed0": 0, "at_seed1": 1, "std": 0}, {"std": {"lr": "9"}})
    comparison, notes = table(runs, of)
    assert comparison.rows["clean accuracy"] == ["50.0 % ± 0.0 (2 seeds)", "50.0 % [40.0, 60.0]"]
    assert "confidence interval over the images" in comparison.legend and "over seeds" in comparison.legend
    assert notes[1:] == ["std stands alone: no other run differs from it in the seed only"]


@pytest.mark.parametrize(
    ("one", "other", "settings", "told"),
    [
        ({}, {}, {"at_seed1": {"lr": "0.2"}}, "from at_seed0 it differs in lr"),
        ({}, {}, {"at_seed1": None}, "the configs that it goes by are not all there"),
        ({}, {}, {"at_seed0": None}, "the configs that at_seed0 goes by are not all there"),
        ({"training": "x"}, {"training": "y"}, {}, "from at_seed0 it differs in training"),
        ({"settings": {"pgd": 3}}, {"settings": {"pgd": 4}}, {}, "from at_seed0 it differs in settings"),
        ({"image_size": "3 x 3"}, {"image_size": "4 x 4"}, {}, "from at_seed0 it differs in image_size"),
    ],
)
def test_what_differs_in_more_than_the_seed_is_no_partner_and_why_is_said(one, other, settings, told):
    runs = {"at_seed0": measured(**one), "at_seed1": measured(**other)}
    comparison, notes = table(runs, origins({"at_seed0": 0, "at_seed1": 1}, settings))
    assert comparison.runs == ["at_seed0", "at_seed1"]
    assert notes[1] == f"at_seed1 stands alone: {told}"


def test_the_same_seed_twice_counts_once():
    runs = {name: measured(each) for name, each in (("at_seed0", 0.5), ("at_seed0-2", 0.9), ("at_seed1", 0.5))}
    comparison, _ = table(runs, origins({"at_seed0": 0, "at_seed0-2": 0, "at_seed1": 1}))
    assert comparison.rows["clean accuracy"] == ["50.0 % ± 0.0 (2 seeds)", "90.0 % [40.0, 60.0]"]
    runs.pop("at_seed1")
    (_, note) = table(runs | {"at_seed9": runs.pop("at_seed0-2")}, origins({"at_seed0": 0, "at_seed9": 0}))[1]
    assert note == "at_seed9 stands alone: it has the seed of at_seed0"


def test_evaluations_go_by_the_seed_of_the_training():
    of = {name: Origin(name[:8], (name[7], "0"), {}) for name in ("at_seed0_test", "at_seed1_test")}
    runs = {name: measured() for name in of}
    found, told, notes = by_seed(runs, of)
    assert list(found) == ["at_seed*_test"] and told["at_seed*_test"].network == "at_seed*"
    assert "seed 1 (evaluated with 0) in at_seed1_test" in notes[0]


def test_without_configs_results_alone_are_compared_and_that_is_said():
    runs = {"a": measured(), "b": measured()}
    of = {name: Origin(name, (name, ""), None) for name in runs}
    found, _, notes = by_seed(runs, of)
    assert list(found) == ["a or b"]
    assert notes[1] == "a or b: configs are missing; that nothing but the seed differs is what results say"


def test_a_value_that_a_run_has_not_is_no_part_of_its_mean():
    one, two = measured(0.4), measured(0.6)
    one.metrics["pgd"], two.metrics["pgd"] = Metrics(0.2), Metrics(None)
    one.synthesis, two.synthesis = {"inpainting": {"psnr": 20.0, "error": 1.0}}, {"inpainting": {"psnr": 22.0}}
    one.insight, two.insight = {"alignment": {"cosine": 0.25}}, {"alignment": {"cosine": 0.75}}
    one.cost, two.cost = {"pgd": (10, 10)}, {"pgd": (20, 10)}
    rows = compare({"a": merged({"x": one, "y": two})}).rows
    assert rows["pgd accuracy"] == ["20.0 % (1 seed)"]
    assert rows["inpainting PSNR"] == ["21.00 dB ± 1.41 (2 seeds)"]
    assert rows["inpainting error"] == ["1.0000 (1 seed)"]
    assert rows["alignment cosine"] == ["0.5000 ± 0.3536 (2 seeds)"]
    assert rows["pgd forwards + backwards"] == ["15 + 10"]


def test_what_differs_all_the_same_is_told():
    one, two = measured(epochs="8"), measured(epochs="3.5")
    two.metrics["clean"].samples, two.metrics["clean"].labels = 90, {"cat": 3}
    comparison, notes = table({"at_seed0": one, "at_seed1": two}, origins({"at_seed0": 0, "at_seed1": 1}))
    assert "images" not in comparison.rows
    assert notes[1:] == [
        "at_seed*: not the same number of images: 100 in at_seed0, 90 in at_seed1",
        "at_seed*: not the same labels: {} in at_seed0, {'cat': 3} in at_seed1",
        "at_seed*: not the same number of epochs: 8 in at_seed0, 3.5 in at_seed1",
    ]


def test_one_of_them_that_hides_its_gradients_marks_the_mean():
    one, two = measured(), measured(trusted=False, failed=[("a", "b")])
    for each in (one, two):
        each.metrics["pgd"] = Metrics(0.2)
    comparison, _ = table({"at_seed0": one, "at_seed1": two}, origins({"at_seed0": 0, "at_seed1": 1}))
    assert comparison.rows["pgd accuracy"] == ["20.0 %* ± 0.0 (2 seeds)"]
    (note,) = comparison.notes
    assert note.startswith("* at_seed* may hide its gradients") and "a of at_seed1 (b)" in note


def test_a_run_without_results_yet_is_passed_on():
    found, _, notes = by_seed({"a": measured(), "b": None}, origins({"a": 0}))
    assert found["b"] is None and len(notes) == 1


@pytest.mark.parametrize(
    ("names", "name"),
    [
        (["at_seed0", "at_seed1"], "at_seed*"),
        (["at_seed10", "at_seed11"], "at_seed*"),
        (["at_seed0_test", "at_seed12_test"], "at_seed*_test"),
        (["at", "at-2"], "at*"),
        (["aa", "a"], "a*"),
        (["at", "at"], "at"),
        (["x", "y"], "x or y"),
    ],
)
def test_a_name_is_what_all_names_share(names, name):
    assert shared_name(names) == name


def test_two_groups_of_one_name_are_told_apart():
    runs = {f"at_{i}": measured() for i in range(4)}
    of = origins({"at_0": 0, "at_1": 1, "at_2": 0, "at_3": 1}, {"at_2": {}, "at_3": {}})
    assert list(by_seed(runs, of)[0]) == ["at_*", "at_* (2)"]

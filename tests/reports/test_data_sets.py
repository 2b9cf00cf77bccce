from dataclasses import replace

import pytest

from reports.data_sets import by_data, places
from reports.measurements import compare
from reports.origin import Origin
from reports.results import Measured, Metrics

DIGITS = {"zero": 3.0, "one": 4.0}


def measured(data, accuracy, command="test", labels=DIGITS, pgd=None, **others):
    metrics = {"clean": Metrics(accuracy, samples=sum(labels.values()), labels=labels)}
    metrics |= {} if pgd is None else {"pgd": Metrics(pgd)}
    return Measured(command, data, metrics, training="standard training", **others)


def of(network, root="", **options):
    return Origin(network, ("0", "0"), {}, options, root)


RUNS = {
    "std": (measured("MNIST", 0.99, "fit", pgd=0.1), of("std", size="28")),
    "at": (measured("MNIST", 0.98, "fit", pgd=0.9), of("at", size="28")),
    "std_test": (measured("USPS", 0.7), of("std", size="28", layout="frame")),
    "at_test": (measured("USPS", 0.75), of("at", size="28", layout="frame")),
    "std_test-2": (measured("USPS", 0.85), of("std", size="28", layout="mass")),
}


def table(pairs):
    runs, origins = ({name: pair[i] for name, pair in pairs.items()} for i in (0, 1))
    where = places(runs, origins)
    return by_data(compare(runs, {run: data for run, (_, data) in where.items()}), where)


def test_a_row_is_a_measurement_of_a_network_and_a_column_a_data_set():
    """Options stand in a column's name where they differ on one data set."""
    found = table(RUNS)
    assert found.runs == ["MNIST", "USPS (layout frame)", "USPS (layout mass)"]
    assert found.rows == {
        "images": ["7", "7", "7"],
        "std: clean accuracy": ["99.0 %", "70.0 %", "85.0 %"],
        "at: clean accuracy": ["98.0 %", "75.0 %", ""],
        "std: pgd accuracy": ["10.0 %", "", ""],
        "at: pgd accuracy": ["90.0 %", "", ""],
    }
    assert found.notes == ["training: standard training in std, standard training in at"]
    for form in ("terminal", "markdown", "latex"):
        assert "85.0" in found.text(form)


def test_one_network_name_that_was_trained_on_several_sets_is_one_row():
    found = table({name: (measured(data, 0.5, "fit"), of("std")) for name, data in (("a/std", "A"), ("b/std", "B"))})
    assert (found.runs, found.rows["std: clean accuracy"]) == (["A", "B"], ["50.0 %", "50.0 %"])


def test_protocols_of_one_network_share_its_row_where_they_agree():
    more = measured("MNIST", 0.98)
    more.metrics["fgsm"] = Metrics(0.95)
    found = table({"at": RUNS["at"], "at_sweep": (more, of("at", size="28"))})
    assert found.runs == ["MNIST"], "the validation set is the test set"
    assert found.rows["at: pgd accuracy"] == ["90.0 %"] and found.rows["at: fgsm accuracy"] == ["95.0 %"]
    other = table({"at": RUNS["at"], "at-2": (measured("MNIST", 0.97), of("at", size="28"))})
    assert other.rows["at: clean accuracy"] == ["98.0 %"] and other.rows["at (at-2): clean accuracy"] == ["97.0 %"]


@pytest.mark.parametrize(
    ("one", "two", "names"),
    [
        ({}, {"command": "fit", "labels": {"zero": 1.0, "one": 1.0}}, ["Own (test)", "Own (val)"]),
        ({}, {"labels": {"zero": 1.0, "one": 1.0}}, ["Own"]),
        ({}, {"labels": {"cat": 1.0}}, ["Own (zero, one)", "Own (cat)"]),
    ],
)
def test_data_sets_of_one_class_are_told_apart_by_what_they_hold(one, two, names):
    runs = {"a": (measured("Own", 0.5, **one), of("a")), "b": (measured("Own", 0.5, **two), of("b"))}
    assert table(runs).runs == names


def test_folders_tell_where_classes_differ_and_only_there():
    a, b = of("a", "horse2zebra"), of("b", "apple2orange")
    other = measured("Own", 0.5, labels={"apple": 1.0})
    assert table({"a": (measured("Own", 0.5), a), "b": (other, b)}).runs == ["Own (horse2zebra)", "Own (apple2orange)"]
    assert table({"a": (measured("Own", 0.5), a), "b": (measured("Own", 0.5), b)}).runs == ["Own"]


def test_an_option_that_is_not_known_is_called_so():
    old = replace(of("b"), options=None)
    runs = {"a": (measured("USPS", 0.5), of("a", layout="mass")), "b": (measured("USPS", 0.5), old)}
    assert table(runs).runs == ["USPS (layout mass)", "USPS (layout unknown)"]
    runs["b"] = (measured("USPS", 0.5), of("b"))
    assert table(runs).runs == ["USPS (layout mass)", "USPS (layout none)"]


def test_other_data_in_one_column_are_told_and_in_another_are_not():
    few = measured("MNIST", 0.5, "fit", {"zero": 1.0, "one": 1.0})
    found = table({**RUNS, "few": (few, of("few", size="28"))})
    assert [note for note in found.notes if "not the same data" in note] == [
        "not the same data: MNIST (val, 7 labels) in std, MNIST (val, 7 labels) in at, MNIST (val, 2 labels) in few"
    ]
    assert found.rows["few: images"] == ["2", "", ""]


def test_a_network_that_was_trained_differently_on_each_set_is_said_to_be():
    runs = {
        "a/x": (measured("A", 0.5, "fit"), of("x")),
        "b/x": (replace(measured("B", 0.5, "fit"), training="PGD"), of("x")),
    }
    assert table(runs).rows["training"] == ["standard training", "PGD"]


def test_attacks_that_differ_from_set_to_set_are_told():
    pgd = [{"pgd": {"class": "PGD", "constraint": {"class": "Linf", "eps": eps}}} for eps in (0.1, 0.2)]
    runs = {d: (measured(d, 0.5, pgd=0.1, settings=each), of("x")) for d, each in zip("AB", pgd, strict=True)}
    found = table(runs)
    assert found.rows["pgd"] == ["Linf 0.1", "Linf 0.2"]
    assert "not the same pgd: constraint.eps is 0.1 in A, 0.2 in B" in found.notes

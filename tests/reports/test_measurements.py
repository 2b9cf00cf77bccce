import json

import pytest

from reports.measurements import compare


def make_run(folder, metrics, **others):
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(json.dumps({"metrics": metrics, **others}))
    return folder


@pytest.fixture
def runs(tmp_path):
    robust = {"clean": {"accuracy": 0.95, "miou": 0.812}, "pgd": {"accuracy": 0.9, "miou": 0.6}}
    standard = {"clean": {"accuracy": 0.98, "miou": 0.91}}
    cost = {"pgd": {"forwards": 20.0, "backwards": 20.0, "seconds": 3.5}}
    return [
        make_run(tmp_path / "robust", robust, cost=cost, synthesis={"inpainting": {"distance_to_original": 0.12345}}),
        make_run(tmp_path / "standard", standard, synthesis={"generation": {"success": 1}}),
    ]


def test_there_is_a_column_per_run_and_a_row_per_measurement(runs):
    comparison = compare(runs)
    assert comparison.runs == ["robust", "standard"]
    assert comparison.rows == {
        "clean accuracy": ["95.0 %", "98.0 %"],
        "clean mIoU": ["81.2 %", "91.0 %"],
        "pgd accuracy": ["90.0 %", ""],
        "pgd mIoU": ["60.0 %", ""],
        "pgd forwards + backwards": ["20 + 20", ""],
        "inpainting distance to original": ["0.1235", ""],
        "generation success": ["", "1.0000"],
    }
    assert comparison.notes == []


def test_image_labels_have_no_row_of_miou(tmp_path):
    run = make_run(tmp_path / "cifar", {"clean": {"accuracy": 0.5, "loss": 1.0}})
    assert compare([run]).rows == {"clean accuracy": ["50.0 %"]}


def test_runs_of_the_same_name_keep_their_columns_and_are_told_apart(tmp_path):
    runs = [
        make_run(tmp_path / place / "at50", {"clean": {"accuracy": value}}) for place, value in (("a", 0.1), ("b", 0.2))
    ]
    assert compare(runs).rows == {"clean accuracy": ["10.0 %", "20.0 %"]}
    assert compare(runs).runs == ["a/at50", "b/at50"]


@pytest.mark.parametrize("passed", [True, False])
def test_numbers_of_a_network_that_hides_its_gradients_are_marked(tmp_path, passed):
    check = {"name": "gradients are seldom zero", "passed": passed, "found": "97 % are exactly zero"}
    others = {"name": "two looks agree", "passed": True, "found": "0"}
    metrics = {"clean": {"accuracy": 0.9}, "pgd": {"accuracy": 0.8}}
    run = make_run(tmp_path / "masked", metrics, sanity={"passed": passed, "checks": [check, others]})
    comparison = compare([run])
    assert comparison.rows["clean accuracy"] == ["90.0 %"]
    assert comparison.rows["pgd accuracy"] == ["80.0 %" if passed else "80.0 %*"]
    notes = [] if passed else ["masked", "not so: gradients are seldom zero (97 % are exactly zero)"]
    assert all(note in "".join(comparison.notes) for note in notes)
    assert len(comparison.notes) == (not passed)
    assert "two looks" not in "".join(comparison.notes)


def make_test(folder, name, command="test", data="VOC", eps=0.03, sea=("mce", "js"), labels=(3, 4), **settings):
    """A run of `test` that measured one attack and one group."""
    pgd = {"class": "PGD", "constraint": {"class": "Linf", "eps": eps}, "steps": 20, **settings}
    metrics = {version: {"accuracy": 0.5, "samples": 7.0} for version in ("clean", "pgd", "sea")}
    metrics["clean"]["labels"] = {"cat": labels[0], "dog": labels[1]}
    return make_run(
        folder / name, metrics, command=command, data=data, attacks={"pgd": pgd, "train": eps}, worst={"sea": list(sea)}
    )


@pytest.mark.parametrize(
    ("other", "notes"),
    [
        ({}, []),
        ({"eps": 0.06}, ["not the same pgd: constraint.eps is 0.03 in a, 0.06 in b"]),
        (
            {"steps": 3, "momentum": 1},
            ["not the same pgd: steps is 20 in a, 3 in b", "not the same pgd: momentum is none in a, 1 in b"],
        ),
        ({"sea": ["mce"]}, ["not the same sea: attacks is ['mce', 'js'] in a, ['mce'] in b"]),
        ({"command": "fit"}, ["not the same data: VOC (test, 7 labels) in a, VOC (val, 7 labels) in b"]),
        ({"data": "COCO"}, ["not the same data: VOC (test, 7 labels) in a, COCO (test, 7 labels) in b"]),
        ({"labels": (3, 5)}, ["not the same data: VOC (test, 7 labels) in a, VOC (test, 8 labels) in b"]),
        ({"labels": (4, 3)}, ["not the same data: VOC (test, 7 labels) in a, VOC (test, 7 labels) in b"]),
    ],
)
def test_what_stands_in_one_row_and_is_not_the_same_is_told(tmp_path, other, notes):
    comparison = compare([make_test(tmp_path, "a"), make_test(tmp_path, "b", **other)])
    assert comparison.notes == notes
    assert comparison.rows["images"] == ["7", "7"]


def test_what_only_one_run_measured_is_no_difference(tmp_path):
    others = make_run(tmp_path / "b", {"clean": {"accuracy": 0.5}}, attacks={"pgd": {"class": "FGSM"}})
    assert compare([make_test(tmp_path, "a"), others]).notes == []


def test_a_terminal_shows_names_and_values_in_a_frame(runs):
    lines = compare(runs).text("terminal").splitlines()
    assert "robust" in lines[1] and "standard" in lines[1]
    assert len({len(line) for line in lines}) == 1
    assert any("clean mIoU" in line and "81.2 %" in line and "91.0 %" in line for line in lines)


def test_markdown(runs):
    lines = compare(runs).text("markdown").splitlines()
    assert [cell.strip() for cell in lines[0].split("|")] == ["", "", "robust", "standard", ""]
    assert set(lines[1]) <= set("|-:")
    assert [cell.strip() for cell in lines[2].split("|")] == ["", "clean accuracy", "95.0 %", "98.0 %", ""]


def test_markdown_keeps_notes_and_odd_names_out_of_its_cells(tmp_path):
    sanity = {"passed": False, "checks": [{"name": "a", "passed": False, "found": "b"}]}
    text = compare([make_run(tmp_path / "a|b", {"clean": {"accuracy": 0.5}}, sanity=sanity)]).text("markdown")
    lines = text.splitlines()
    assert r"a\|b" in lines[0]
    assert lines[3] == "" and lines[4].startswith("* a|b may hide")


def test_latex_escapes_what_it_must_and_comments_the_notes(tmp_path):
    sanity = {"passed": False, "checks": [{"name": "a", "passed": False, "found": "50 % b"}]}
    run = make_run(tmp_path / "at_50", {"clean": {"accuracy": 0.5}, "sea_js": {"accuracy": 0.25}}, sanity=sanity)
    text = compare([run]).text("latex")
    assert r"at\_50" in text and r"sea\_js accuracy" in text and r"25.0 \%*" in text
    assert text.splitlines()[-1].startswith("% * at_50")


def test_runs_that_measured_nothing_make_an_empty_table(tmp_path):
    for form in ("terminal", "markdown", "latex"):
        assert "idle" in compare([make_run(tmp_path / form / "idle", {})]).text(form)

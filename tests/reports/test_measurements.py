import json

import pytest

from reports.measurements import compare
from reports.results import read_runs


def make_run(folder, metrics, **others):
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(json.dumps({"metrics": metrics, **others}))
    return folder


@pytest.fixture
def runs(tmp_path):
    robust = {"clean": {"accuracy": 0.95, "miou": 0.812}, "pgd": {"accuracy": 0.9, "miou": 0.6}}
    standard = {"clean": {"accuracy": 0.98, "miou": 0.91}}
    cost = {"pgd": {"forwards": 20.0, "backwards": 20.0, "seconds": 3.5}}
    cost |= {"blur": {"forwards": 0.0, "backwards": 0.0, "seconds": 0.5}}  # which has no row
    return [
        make_run(tmp_path / "robust", robust, cost=cost, synthesis={"inpainting": {"distance_to_original": 0.12345}}),
        make_run(tmp_path / "standard", standard, synthesis={"generation": {"success": 1}}),
    ]


def test_there_is_a_column_per_run_and_a_row_per_measurement(runs):
    comparison = compare(read_runs(runs))
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


def test_scores_are_said_in_their_units(tmp_path):
    scores = {"psnr": 21.256, "ssim_start": 0.5, "judged_original": 0.981, "unweighted_lpips": 0.25, "fid": 12.5}
    run = make_run(tmp_path / "a", {"clean": {"miou": 0.5}}, synthesis={"inpainting": scores})
    assert list(compare(read_runs([run])).rows.items())[1:] == [
        ("inpainting PSNR", ["21.26 dB"]),
        ("inpainting SSIM start", ["0.5000"]),
        ("inpainting judged original", ["98.1 %"]),
        ("inpainting unweighted LPIPS", ["0.2500"]),
        ("inpainting FID", ["12.5000"]),
    ]


def test_shares_of_images_have_intervals_and_gains_a_sign(tmp_path):
    scores = {"images": 25.0, "top1_acc": 0.72, "gradient_max_box_acc_v2": 0.6, "gradient_max_box_acc_gain": -0.12}
    scores |= {"cam_gt_known_loc": 0.0, "cam_threshold": 0.119}
    run = make_run(tmp_path / "a", {"clean": {"accuracy": 0.5}}, synthesis={"localization": scores})
    assert list(compare(read_runs([run])).rows.items())[1:] == [
        ("localization images", ["25"]),
        ("localization top1 acc", ["72.0 % [52.4, 85.7]"]),
        ("localization gradient MaxBoxAcc v2", ["60.0 %"]),
        ("localization gradient MaxBoxAcc gain", ["-12.0 %"]),
        ("localization cam gt known loc", ["0.0 % [0.0, 13.3]"]),
        ("localization cam threshold", ["0.1190"]),
    ]


def test_the_judge_is_named_and_another_one_is_told(tmp_path):
    judge = {"network": "fcn_small", "weights": "runs/judge/last.ckpt", "sha256": "0123456789abcdef"}
    others = [judge, judge, judge | {"sha256": "f" * 64}, {"network": "Own", "weights": None}, None]
    runs = [
        make_run(
            tmp_path / name,
            {"clean": {"miou": number / 10}},
            synthesis={"inpainting": {"judged": 0.5}},
            judges={"inpainting": each} if each else {},
        )
        for number, (name, each) in enumerate(zip("abcde", others, strict=True))
    ]
    assert compare(read_runs(runs[:2])).notes == ["judge of inpainting: fcn_small 01234567 (runs/judge/last.ckpt)"]
    (note,) = compare(read_runs(runs)).notes
    assert note.startswith("not the same judge of inpainting: fcn_small 01234567 (runs/judge/last.ckpt) in a, ")
    for part in (
        "fcn_small ffffffff (runs/judge/last.ckpt) in c",
        "Own (its weights are in no file) in d",
        "none in e",
    ):
        assert part in note


def test_image_labels_have_no_row_of_miou(tmp_path):
    run = make_run(tmp_path / "cifar", {"clean": {"accuracy": 0.5, "loss": 1.0}})
    assert compare(read_runs([run])).rows == {"clean accuracy": ["50.0 %"]}


def test_runs_of_the_same_name_keep_their_columns_and_are_told_apart(tmp_path):
    runs = [
        make_run(tmp_path / place / "at50", {"clean": {"accuracy": value}}) for place, value in (("a", 0.1), ("b", 0.2))
    ]
    assert compare(read_runs(runs)).rows == {"clean accuracy": ["10.0 %", "20.0 %"]}
    assert compare(read_runs(runs)).runs == ["a/at50", "b/at50"]


@pytest.mark.parametrize("passed", [True, False])
def test_numbers_of_a_network_that_hides_its_gradients_are_marked(tmp_path, passed):
    check = {"name": "gradients are seldom zero", "passed": passed, "found": "97 % are exactly zero"}
    others = {"name": "two looks agree", "passed": True, "found": "0"}
    metrics = {"clean": {"accuracy": 0.9}, "pgd": {"accuracy": 0.8}}
    run = make_run(tmp_path / "masked", metrics, sanity={"passed": passed, "checks": [check, others]})
    comparison = compare(read_runs([run]))
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
        ({}, ["b has the very results of a"]),
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
    comparison = compare(read_runs([make_test(tmp_path, "a"), make_test(tmp_path, "b", **other)]))
    assert comparison.notes == notes
    assert comparison.rows["images"] == ["7", "7"]


SETTINGS = {"class": "PGD", "constraint": {"class": "Linf", "eps": 8 / 255}, "steps": 20}


def rows(tmp_path, *settings, **others):
    """The rows of runs that were measured under an attack called `pgd` of these settings."""
    metrics = {"clean": {"miou": 0.9}, "pgd": {"miou": 0.5}}
    runs = [
        make_run(tmp_path / name, metrics, attacks={} if each is None else {"pgd": each}, **others)
        for name, each in zip("abc", settings, strict=False)
    ]
    return compare(read_runs(runs)).rows


def test_a_row_says_eps_norm_and_steps(tmp_path):
    assert list(rows(tmp_path, SETTINGS, SETTINGS)) == ["clean mIoU", "pgd (Linf 8/255, 20 steps) mIoU"]


@pytest.mark.parametrize(
    ("other", "said"), [({**SETTINGS, "steps": 3}, "Linf 8/255, 3 steps"), (None, "unknown"), ("pgd", "unknown")]
)
def test_where_runs_differ_their_settings_are_a_row(tmp_path, other, said):
    found = rows(tmp_path, SETTINGS, other)
    assert found["pgd"] == ["Linf 8/255, 20 steps", said]
    assert found["pgd mIoU"] == ["50.0 %", "50.0 %"]


def test_a_group_says_what_it_is_the_worst_of(tmp_path):
    attacks = {name: {**SETTINGS, "class": "SEA"} for name in ("sea_a", "sea_b")}
    run = make_run(tmp_path / "a", {"sea": {"miou": 0.5}}, attacks=attacks, worst={"sea": ["sea_a", "sea_b"]})
    assert list(compare(read_runs([run])).rows) == ["sea (worst of 2, Linf 8/255, 20 steps) mIoU"]


def test_how_the_networks_were_trained_is_a_row(tmp_path):
    trained = [
        {"attack": SETTINGS, "fraction": 0.5, "warm_up": 5, "epochs": 8, "run": "at"},
        {"attack": None, "fraction": 1.0},
        None,
    ]
    runs = [make_run(tmp_path / str(i), {"clean": {"accuracy": 0.5}}, training=each) for i, each in enumerate(trained)]
    expected = ["PGD, Linf 8/255, 20 steps, 50 % of the images, warm-up of 5 epochs", "standard training", "unknown"]
    assert compare(read_runs(runs)).rows["training"] == expected


@pytest.mark.parametrize(("command", "known"), [("fit", True), ("test", False), ("validate", False)])
@pytest.mark.parametrize("attack", [SETTINGS, None])
def test_of_older_files_only_those_of_fit_know_the_training(tmp_path, command, known, attack):
    """In evaluations `train` was the config's, which the network may never have seen."""
    run = make_run(tmp_path / "a", {"clean": {"accuracy": 0.5}}, command=command, attacks={"train": attack})
    expected = ["PGD, Linf 8/255, 20 steps" if attack else "standard training"]
    assert compare(read_runs([run])).rows.get("training") == (expected if known else None)


def test_other_sizes_and_seeds_are_told(tmp_path):
    runs = [
        make_run(tmp_path / "a", {"clean": {"accuracy": 0.5}}, seed=0, image_size=[96, 128]),
        make_run(tmp_path / "b", {"clean": {"accuracy": 0.5}}, seed=1, image_size=[64, 128]),
        make_run(tmp_path / "old", {"clean": {"accuracy": 0.5}}),
    ]
    expected = ["not the same image size: 96 x 128 in a, 64 x 128 in b", "not the same seed: 0 in a, 1 in b"]
    assert compare(read_runs(runs)).notes == expected
    assert compare(read_runs([runs[0], runs[2]])).notes == []


def test_an_interval_stands_behind_its_value(tmp_path):
    stored = {"accuracy": 0.9, "accuracy_interval": [0.8888, 0.9111], "miou": 0.5, "miou_interval": [0.4, 0.55]}
    run = make_run(tmp_path / "a", {"clean": {**stored, "samples": 100}})
    comparison = compare(read_runs([run]))
    assert comparison.rows["clean accuracy"] == ["90.0 % [88.9, 91.1]"]
    assert comparison.rows["clean mIoU"] == ["50.0 % [40.0, 55.0]"]
    assert "95 %" in comparison.legend and "95 %" in comparison.text("terminal")


def test_all_right_of_a_hundred_images_is_no_certainty(tmp_path):
    """Also of files that are older than intervals; those of label maps need the single images."""
    labels = make_run(tmp_path / "a", {"clean": {"accuracy": 1.0, "samples": 100}})
    maps = make_run(tmp_path / "b", {"clean": {"accuracy": 1.0, "miou": 1.0, "samples": 100}})
    assert compare(read_runs([labels, maps])).rows["clean accuracy"] == ["100.0 % [96.3, 100.0]", "100.0 %"]


def test_a_run_without_results_is_told(tmp_path):
    (tmp_path / "training" / "gallery").mkdir(parents=True)
    comparison = compare(read_runs([make_run(tmp_path / "a", {"clean": {"accuracy": 0.5}}), tmp_path / "training"]))
    assert comparison.rows == {"clean accuracy": ["50.0 %", ""]}
    assert [note.startswith("training has no results yet") for note in comparison.notes] == [True]


def test_what_only_one_run_measured_is_no_difference(tmp_path):
    others = make_run(tmp_path / "b", {"clean": {"accuracy": 0.5}}, attacks={"pgd": {"class": "FGSM"}})
    assert compare(read_runs([make_test(tmp_path, "a"), others])).notes == []

"""What lies in the folders of runs after an accident, by hand or by machine, and what is made of it."""

import json
from pathlib import Path
from random import Random

import pytest
from fuzz.breaking import break_folder, broken_tree, cases, copied
from fuzz.endings import command, sane
from fuzz.test_configs import CONFIG


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run, trained, and its evaluation."""
    from cli import main

    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("tiny.yaml").write_text(CONFIG)
        main(["fit", "--config", "tiny.yaml", "--trainer.max_epochs", "1"])
        main(["test", "--config", "tiny.yaml", "--ckpt_path", "last"])
    return folder


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


RESULTS = ("runs/tiny/results.json", "runs/tiny_test/results.json")


@pytest.mark.parametrize("case", cases("results"))
def test_odd_results_are_reported_or_told(whole, tmp_path, capsys, case):
    draw = Random(case)
    copied(whole / "runs", tmp_path / "runs")
    path = Path(draw.choice(RESULTS))
    tree = broken_tree(json.loads(path.read_text()), draw, draw.choice((1, 2, 4)))
    path.write_text(json.dumps(tree))
    form = draw.choice(("terminal", "markdown", "latex"))
    command(capsys, "report", "runs/tiny", "runs/tiny_test", "--format", form)
    assert not command(capsys, "status")


@pytest.mark.parametrize("case", cases("folder"))
def test_an_accident_in_a_run(whole, tmp_path, capsys, case):
    """Whatever is measured afterwards is what was measured before, and no run loses what it had."""
    draw = Random(case)
    copied(whole / "runs", tmp_path / "runs")
    copied_config = Path("tiny.yaml")
    copied_config.write_text(CONFIG)
    expected = json.loads(Path("runs/tiny_test/results.json").read_text())["metrics"]
    what = break_folder(Path("runs"), draw)
    before = {path: path.read_bytes() for path in Path("runs").rglob("*") if path.is_file() and not path.is_fifo()}
    assert not command(capsys, "status")
    do = draw.choice(("report", "test", "fit"))
    if do == "report":
        command(capsys, "report", "runs/tiny", "runs/tiny_test")
        return
    if do == "fit":
        line = command(capsys, "fit", "--config", "tiny.yaml", "--trainer.max_epochs", "1", "--ckpt_path", "last")
        kept = Path("runs/tiny/results.json")
        if not line and kept in before and "results.json" not in what:
            assert json.loads(kept.read_text())["metrics"] == json.loads(before[kept])["metrics"], what
        return
    line = command(capsys, "test", "--config", "tiny.yaml", "--ckpt_path", "last")
    made = [path for path in Path("runs").glob("tiny_test*/results.json") if path.is_file() and path not in before]
    assert bool(made) != bool(line), (what, line)
    for path in made:
        measured = json.loads(path.read_text())
        sane(measured, samples=4)
        assert measured["metrics"]["clean"] == expected["clean"], what
    assert all(path.read_bytes() == content for path, content in before.items()), what

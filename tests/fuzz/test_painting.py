"""Pictures, masks, labels, runs and results after an accident, painted on."""

import json
import re
from pathlib import Path
from random import Random

import pytest
from fuzz.breaking import break_folder, broken_tree, cases, copied
from fuzz.endings import bounded, one_line
from PIL import Image
from saved_run import save_run
from test_painting_cli import write_mask
from tiny_data import write_images

SIZES = {"first": (48, 64), "second": (56, 40), "below/third": (40, 40)}
TASK = ["--task.constraint", "3", "--task.steps", "2", "--task.step_size", "0.5", "--images", "photos"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run, pictures, and what belongs to them."""
    folder = tmp_path_factory.mktemp("whole") / "all"
    save_run(folder / "run")
    write_images(folder / "photos")
    for name, size in SIZES.items():
        write_mask(folder / "masks" / f"{name}.png", size)
        path = folder / "labels" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("P", size[::-1], 1).save(path)
    return folder


def paint(capsys, *args):
    """Returns the exit status; of a mistake after a look that it is told in one line."""
    from cli import main

    capsys.readouterr()
    try:
        with bounded():
            main(["paint", *args])
        code = 0
    except SystemExit as ended:
        code = ended.code
    assert code in (0, 1, 2), code
    lines = capsys.readouterr().err.splitlines()
    told = [line for line in lines if line.startswith("error: ")]
    assert len(told) == (code == 2), lines
    assert any(line.startswith("skipped: ") for line in lines) == (code == 1), lines
    for line in told:
        one_line(line)
    assert not [path for path in Path("painted").rglob(".*") if re.fullmatch(r".+\.\d+", path.name)], "half written"
    return code


@pytest.mark.parametrize("case", cases("painting"))
@pytest.mark.filterwarnings("ignore:.*the run goes on from the checkpoint before")
def test_an_accident_in_what_is_painted_with(whole, tmp_path, monkeypatch, capsys, case):
    draw = Random(case)
    monkeypatch.chdir(copied(whole, tmp_path / "all"))
    what = break_folder(Path(), draw)
    args = ["Inpainting", "--run", "run", "--masks", "masks", "--labels", "labels", *TASK]
    code = paint(capsys, *args)
    assert paint(capsys, *args) == code, what
    painted = {str(path.relative_to("painted").with_suffix("")) for path in Path("painted").rglob("*.png")}
    there = {str(path.relative_to("photos").with_suffix("")) for path in Path("photos").rglob("*.*") if path.is_file()}
    if code == 0:
        assert painted >= there & SIZES.keys(), what


@pytest.mark.parametrize("case", cases("painted"))
def test_an_accident_in_what_was_painted(whole, tmp_path, monkeypatch, capsys, case):
    """Either the folder is not touched, or what is not there is painted again."""
    draw = Random(case)
    monkeypatch.chdir(copied(whole, tmp_path / "all"))
    args = ["LargeEps", "--run", "run", *TASK]
    assert paint(capsys, *args) == 0
    results = {path: path.read_bytes() for path in Path("painted").glob("*.png") if path.stem in SIZES}
    path = Path("painted/paint.json")
    if draw.random() < 0.5:
        path.write_text(json.dumps(broken_tree(json.loads(path.read_text()), draw)))
    elif draw.random() < 0.5:
        draw.choice(sorted(results)).unlink()
    else:
        break_folder(Path("painted"), draw)
        results = {}
    if paint(capsys, *args) == 0:
        assert all(each.read_bytes() == content for each, content in results.items())

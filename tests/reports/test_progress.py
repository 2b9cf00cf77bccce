import os
from random import Random

import pytest
from fuzz.breaking import broken_bytes, broken_tree, cases
from running import PROGRESS, write_progress

from reports.progress import Running, read_progress


def test_it_is_read(tmp_path):
    found = read_progress(write_progress(tmp_path))
    assert (found.state, found.reason, found.command) == ("training", "", "fit")
    assert (found.pid, found.host, found.job, found.written) == (4711, "node7", "42", 1.7e9)
    assert (found.epoch, found.epochs, found.step, found.steps, found.batch) == (2, 8, 130, 480, None)
    assert found.metrics["val/pgd/miou"] == 0.65 and found.checkpoint == {"step": 120, "time": 1.7e9}
    least = read_progress(write_progress(tmp_path, {"state": "finished", "written": 3}))
    assert least == Running("finished", written=3)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"state": "sleeping"}, "state is 'sleeping', not one of starting, training"),
        ({"state": None}, "state is None, not one of"),
        ({"process": 3}, "process is 3, not an object"),
        ({"process": {"pid": -3}}, "process.pid is -3, not a count"),
        ({"checkpoint": {"step": 3}}, "checkpoint.time is None, not a number"),
        ({"metrics": {"val/clean/miou": "0.8"}}, "metrics.val/clean/miou is '0.8'"),
        ({"written": None}, "written is None"),
        ({"step": float("nan")}, "step is nan, not a count"),
    ],
)
def test_the_key_and_the_value_are_named(tmp_path, change, told):
    with pytest.raises(ValueError, match=told):
        read_progress(write_progress(tmp_path, PROGRESS | change))


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: os.symlink(path, path)])
def test_what_is_no_file_is_told(tmp_path, make):
    make(tmp_path / "progress.json")
    with pytest.raises((OSError, ValueError)):
        read_progress(tmp_path)


@pytest.mark.parametrize("case", cases("progress"))
def test_a_broken_one_is_read_or_told(tmp_path, case):
    draw = Random(case)
    write_progress(tmp_path, broken_tree(PROGRESS, draw, draw.choice((1, 2, 4))))
    path = tmp_path / "progress.json"
    if draw.random() < 0.3:
        path.write_bytes(broken_bytes(path.read_bytes(), draw))
    try:
        found = read_progress(tmp_path)
    except ValueError as error:
        assert "\n" not in str(error)
    else:
        assert isinstance(found, Running)

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import pytest
from fuzz.breaking import broken_bytes, broken_tree, cases
from one_line import one_line
from running import PROGRESS, write_progress

from reports.files import ReportError
from reports.progress import Running
from reports.status import duration, main, row_of, state_of

PROJECT = Path(__file__).parents[2]
NOW = 1.7e9 + 5


def gone():
    """The pid of a process that is not there any more."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def running(silent=5.0, pid=None, host=None, **options):
    pid, host = os.getpid() if pid is None else pid, socket.gethostname() if host is None else host
    return Running("training", pid=pid, host=host, written=NOW - silent, images_per_second=46.46, **options)


def test_a_run_is_a_row_of_words(tmp_path):
    (tmp_path / "at50" / "checkpoints").mkdir(parents=True)
    checkpoint = tmp_path / "at50" / "checkpoints" / "last.ckpt"
    checkpoint.touch()
    os.utime(checkpoint, (1.7e9 - 240, 1.7e9 - 240))
    row = row_of(write_progress(tmp_path / "at50", PROGRESS | {"checkpoint": {"step": 120, "time": 1.7e9 - 241}}), NOW)
    assert vars(row) == {
        "run": "at50",
        "state": "training, 46.5 images/s, job 42",
        "epoch": "2 of 8",
        "step": "130 of 480",
        "metrics": "mIoU: clean 84.6 %, pgd 65.0 %",
        "checkpoint": "4 min ago (step 120)",
        "left": "1 d 0 h",
    }


def test_the_checkpoint_is_the_one_that_lies_there(tmp_path):
    run = write_progress(tmp_path)
    assert row_of(run, NOW).checkpoint == ""
    (run / "checkpoints").mkdir()
    (run / "checkpoints" / "last.ckpt").touch()
    os.utime(run / "checkpoints" / "last.ckpt", (NOW - 7200, NOW - 7200))
    assert row_of(run, NOW).checkpoint == "2 h 0 min ago", "not the one that was to be written a moment ago"


def test_image_labels_are_told_by_their_accuracy(tmp_path):
    run = write_progress(
        tmp_path, PROGRESS | {"metrics": {"val/clean/accuracy": 0.9, "val/pgd/accuracy": 0.5, "odd": 1}}
    )
    assert row_of(run, NOW).metrics == "accuracy: clean 90.0 %, pgd 50.0 %"


def test_a_process_that_is_gone_has_died_and_others_are_silent():
    assert state_of(running(), NOW) == "training, 46.5 images/s"
    assert state_of(running(pid=gone()), NOW) == "training, 46.5 images/s", "it wrote a moment ago"
    assert state_of(running(720, pid=gone()), NOW) == "died 12 min ago while training"
    assert state_of(running(720), NOW) == "training, silent for 12 min"
    assert state_of(running(720, pid=gone(), host="node7", job="42"), NOW) == "training, silent for 12 min, job 42"
    assert state_of(running(720, pid=2**40), NOW) == "training, silent for 12 min"
    evaluating = running(batch=3, batches=40)
    evaluating.state = "evaluating"
    assert state_of(evaluating, NOW) == "evaluating (batch 3 of 40), 46.5 images/s"


def test_how_a_run_ended():
    assert state_of(Running("finished", written=NOW - 3700), NOW) == "finished 1 h 2 min ago"
    stopped = Running("stopped", reason="the loss exploded", written=NOW - 60, pid=gone(), host=socket.gethostname())
    assert state_of(stopped, NOW) == "stopped 60 s ago: the loss exploded"


def test_time_passes_while_nothing_is_written(tmp_path):
    left = row_of(write_progress(tmp_path, PROGRESS | {"seconds_left": 65.0}), NOW).left
    assert left == "60 s"
    assert row_of(tmp_path, NOW + 3600).left == "0 s"
    assert row_of(write_progress(tmp_path, PROGRESS | {"state": "finished"}), NOW).left == ""


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(-3, "0 s"), (89, "89 s"), (90, "2 min"), (3570, "1 h 0 min"), (12000, "3 h 20 min"), (190000, "2 d 4 h")],
)
def test_durations(seconds, told):
    assert duration(seconds) == told


def test_without_a_name_all_runs_are_told(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ReportError, match=one_line("runs: No such file", "--runs")):
        main([])
    os.mkdir("runs")
    main([])
    assert capsys.readouterr().out == "no runs in runs\n"
    write_progress(Path("runs/b"), PROGRESS | {"written": time.time()})
    Path("runs/old").mkdir()
    results = {"command": "test", "metrics": {"clean": {"accuracy": 0.5}}}
    Path("runs/old/results.json").write_text(json.dumps(results))
    Path("runs/begun").mkdir()
    Path("runs/begun/config.yaml").touch()
    Path("runs/notes").mkdir()
    Path("runs/report.html").touch()
    main([])
    lines = capsys.readouterr().out.splitlines()
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if line.startswith("│")]
    assert [row[0] for row in rows] == ["run", "b", "begun", "old"]
    assert [row[1] for row in rows[1:]] == ["training, 46.5 images/s, job 42", "not begun", "finished (test)"]
    assert rows[3][4] == "accuracy: clean 50.0 %"
    main(["runs/old"])
    assert "last checkpoint" not in capsys.readouterr().out, "what no run has takes no place"


def test_a_name_that_is_no_run_is_told(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere", tmp_path / ("x" * 300)):
        with pytest.raises(ReportError, match=one_line(path, "no folder of a run")):
            main([str(path)])


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: os.symlink(path, path), Path.touch])
def test_what_cannot_be_read_is_said_in_its_row(tmp_path, capsys, make):
    make(tmp_path / "progress.json")
    main([str(tmp_path)])
    assert "progress.json cannot be read" in capsys.readouterr().out


def test_nothing_reaches_the_terminal_as_a_command(tmp_path, capsys):
    odd = {"state": "failed", "reason": "\x1b]0;mine\x07", "metrics": {"\x9b/miou": 1}}
    write_progress(tmp_path / "a\x1b[31mred", PROGRESS | odd)
    main([str(tmp_path / "a\x1b[31mred")])
    assert capsys.readouterr().out.replace("\n", "").isprintable()


@pytest.mark.parametrize("case", cases("status"))
def test_whatever_lies_there_is_a_row(tmp_path, capsys, case):
    draw = Random(case)
    path = write_progress(tmp_path / "run", broken_tree(PROGRESS, draw, draw.choice((1, 2, 4)))) / "progress.json"
    if draw.random() < 0.3:
        path.write_bytes(broken_bytes(path.read_bytes(), draw))
    main([str(tmp_path / "run")])
    out = capsys.readouterr().out
    assert "│ run " in out and out.replace("\n", "").isprintable() and max(map(len, out.splitlines())) < 1000


def test_it_needs_no_torch(tmp_path):
    write_progress(tmp_path)
    code = "import sys; sys.modules['torch'] = None; from cli import main; main(['status', sys.argv[1]])"
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path], capture_output=True, text=True, cwd=PROJECT, check=True
    )
    assert "130 of 480" in done.stdout

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from one_line import one_line
from PIL import Image

from reports.comparison import main
from reports.files import ReportError
from reports.gallery import save_picture

PROJECT = Path(__file__).parents[2]


def make_run(folder, metrics, synthesis=None):
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(json.dumps({"metrics": metrics, "synthesis": synthesis or {}}))
    return folder


@pytest.fixture
def runs(tmp_path):
    robust = {"clean": {"accuracy": 0.95, "miou": 0.812}, "pgd": {"accuracy": 0.9, "miou": 0.6}}
    standard = {"clean": {"accuracy": 0.98, "miou": 0.91}}
    return [
        make_run(tmp_path / "robust", robust, {"inpainting": {"distance_to_original": 0.12345}}),
        make_run(tmp_path / "standard", standard, {"generation": {"success": 1}}),
    ]


def test_report_prints_the_table_and_writes_the_page_beside_the_first_run(runs, capsys, tmp_path):
    main([str(run) for run in runs])
    output = capsys.readouterr().out
    assert output.splitlines()[-1] == f"Gallery: {tmp_path / 'report.html'}"
    assert "robust" in output and "81.2 %" in output and "0.1235" in output
    assert "robust and standard" in (tmp_path / "report.html").read_text()


def test_report_writes_the_page_where_it_is_told(runs, capsys, tmp_path):
    page = tmp_path / "pages" / "mine.html"
    main([str(runs[0]), "--output", str(page)])
    assert f"Gallery: {page}" in capsys.readouterr().out
    assert page.is_file() and not (tmp_path / "report.html").exists()


@pytest.mark.parametrize("form", ["markdown", "latex"])
def test_a_table_for_a_paper_is_all_that_is_printed(runs, capsys, form):
    main([*map(str, runs), "--format", form])
    output = capsys.readouterr().out
    assert output.startswith("|" if form == "markdown" else "\\begin{tabular}")
    assert output.rstrip().endswith("|" if form == "markdown" else "\\end{tabular}")
    assert "81.2" in output


def test_nothing_of_many_runs_is_cut_off_where_the_terminal_is_narrow(tmp_path, capsys, monkeypatch):
    """Such as in a file or a pipe."""
    monkeypatch.setenv("COLUMNS", "80")
    names = ["quickstart", "quickstart_standard", "quickstart-2", "quickstart_standard-2", "quickstart_trades"]
    main([str(make_run(tmp_path / name, {"clean": {"accuracy": 0.5}})) for name in names])
    output = capsys.readouterr().out
    assert "…" not in output
    assert output.count("50.0 %") == 5


def test_the_current_folder_is_a_run_with_a_name(runs, capsys, monkeypatch):
    monkeypatch.chdir(runs[0])
    main(["."])
    output = capsys.readouterr().out
    assert "robust" in output.split("Gallery:")[0]
    assert f"Gallery: {runs[0].parent / 'report.html'}" in output, "beside the run, not inside"


@pytest.mark.parametrize("name", ["absent", "empty"])
def test_a_folder_that_is_no_run_is_told_and_no_page_written(runs, tmp_path, capsys, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ReportError, match=one_line(f"{name}/results.json", "not found")):
        main([str(runs[0]), str(tmp_path / name)])
    assert not (tmp_path / "report.html").exists()
    assert capsys.readouterr().out == ""


def test_a_run_that_is_named_twice_is_shown_once(runs, tmp_path, capsys):
    (tmp_path / "link").symlink_to(runs[0])
    main([str(runs[0]), str(tmp_path / "link"), str(runs[0]) + "/"])
    assert capsys.readouterr().out.count("robust") == 1


def test_all_of_a_folder_is_shown_also_with_the_page_of_the_last_time(runs, tmp_path, capsys):
    for _ in range(2):
        main([*map(str, sorted(tmp_path.iterdir()))])
    assert "robust" in capsys.readouterr().out


def test_a_copy_of_a_run_is_told(runs, tmp_path, capsys):
    shutil.copytree(runs[0], tmp_path / "robust - Kopie (2)")
    main([str(runs[0]), str(tmp_path / "robust - Kopie (2)")])
    assert "robust - Kopie (2) has the very results of robust" in capsys.readouterr().out


def test_a_run_that_still_trains_is_shown_with_its_pictures(runs, tmp_path, capsys):
    save_picture(Image.new("RGB", (4, 4)), tmp_path / "training/gallery/inpainting/000001/epoch_0000.png")
    main([str(runs[0]), str(tmp_path / "training")])
    assert "training has no results yet" in capsys.readouterr().out
    assert "epoch 1" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("notes.txt", None),
        ("page", None),
        ("mine.html", lambda path: path.write_text("<title>My thesis</title>")),
        ("mine.html", lambda path: path.write_text("")),
        ("mine.html", lambda path: path.mkdir()),
        ("mine.html", os.mkfifo),
        ("mine.html", lambda path: path.symlink_to("robust/results.json")),
        ("mine.html", lambda path: path.symlink_to("mine.html")),
        ("robust/results.json", None),
        ("robust/results.json/page.html", None),
        ("a" * 300 + ".html", None),
    ],
)
def test_what_is_no_page_of_ours_is_not_replaced(runs, tmp_path, name, make):
    if make:
        make(tmp_path / name)
    before = sorted(tmp_path.rglob("*"))
    results = (runs[0] / "results.json").read_bytes()
    with pytest.raises(ReportError, match=one_line(Path(name).name, "")):
        main([str(runs[0]), "--output", str(tmp_path / name)])
    assert sorted(tmp_path.rglob("*")) == before
    assert (runs[0] / "results.json").read_bytes() == results


@pytest.mark.parametrize("link", [False, True])
def test_a_page_of_ours_is_replaced(runs, tmp_path, link):
    page = tmp_path / "page.html"
    if link:
        page.symlink_to("pages/there.html")
    for run in runs:
        main([str(run), "--output", str(page)])
    assert "standard" in page.read_text() and "robust" not in page.read_text()
    assert page.is_symlink() == link


def test_report_without_runs_shows_how_it_is_used(capsys):
    with pytest.raises(SystemExit) as error:
        main([])
    assert error.value.code == 2
    assert "RUN" in capsys.readouterr().err


def report(*args, **options):
    """The command in a process of its own."""
    command = [sys.executable, "cli.py", "report", *map(str, args)]
    return subprocess.Popen(command, cwd=PROJECT, stderr=subprocess.PIPE, **options)


@pytest.mark.parametrize("form", ["terminal", "latex"])
def test_a_reader_that_has_seen_enough_is_no_error(runs, tmp_path, form):
    reader, writer = os.pipe()
    os.close(reader)
    with report(*runs, "--format", form, stdout=writer) as process:
        os.close(writer)
        _, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (0, b"")
    assert (tmp_path / "report.html").is_file()


def test_a_terminal_that_knows_no_frames_gets_a_table_all_the_same(runs):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    with report(*runs, stdout=subprocess.PIPE, env=environment) as process:
        output, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (0, b"")
    assert b"81.2 %" in output


def test_reports_need_no_torch():
    heavy = "{'torch', 'numpy', 'torchvision', 'lightning', 'wandb', 'jsonargparse'}"
    code = f"import sys, reports.comparison; print(sorted({heavy} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def seeds_on(folder, data, accuracies):
    """Runs of one config and a seed each, on one data set."""
    for seed, accuracy in enumerate(accuracies):
        run = make_run(folder / f"std_seed{seed}", {"clean": {"accuracy": accuracy, "samples": 100}})
        content = json.loads((run / "results.json").read_text()) | {"command": "fit", "data": data}
        (run / "results.json").write_text(json.dumps(content))
        (run / "config.yaml").write_text(f"seed_everything: {seed}\ndata: {{class_path: datamodules.{data}}}\n")
    return sorted(folder.iterdir())


@pytest.mark.parametrize("form", ["terminal", "markdown", "latex"])
def test_seeds_and_data_sets_make_a_row_for_a_network_and_a_column_for_a_data_set(tmp_path, capsys, form):
    runs = [*seeds_on(tmp_path / "a", "CIFAR10", (0.9, 0.92)), *seeds_on(tmp_path / "b", "CUB200", (0.5, 0.6))]
    main([*map(str, runs), "--seeds", "--columns", "data", "--format", form, "--output", str(tmp_path / "page.html")])
    lines = [line for line in capsys.readouterr().out.splitlines() if "clean accuracy" in line]
    assert len(lines) == 1 and "std" in lines[0] and "seed" in lines[0]
    for text in ("91.0", "1.4", "55.0", "7.1", "(2 seeds)"):
        assert text in lines[0]
    page = (tmp_path / "page.html").read_text()
    assert "CIFAR10</th>" in page and "55.0 % ± 7.1 (2 seeds)" in page


def test_without_them_no_config_is_read(tmp_path, capsys):
    (run,) = seeds_on(tmp_path, "CIFAR10", (0.9,))
    (run / "config.yaml").write_text("a: [")
    main([str(run)])
    assert "90.0 %" in capsys.readouterr().out
    with pytest.raises(ReportError, match=one_line("config.yaml", "no config of a run")):
        main([str(run), "--seeds"])

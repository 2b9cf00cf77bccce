import json
import subprocess
import sys
from pathlib import Path

import pytest
from one_line import one_line

from reports.comparison import main
from reports.files import ReportError


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


def test_report_without_runs_shows_how_it_is_used(capsys):
    with pytest.raises(SystemExit) as error:
        main([])
    assert error.value.code == 2
    assert "RUN" in capsys.readouterr().err


def test_reports_need_no_torch():
    heavy = "{'torch', 'torchvision', 'lightning', 'wandb', 'jsonargparse'}"
    code = f"import sys, reports.comparison; print(sorted({heavy} & set(sys.modules)))"
    project = Path(__file__).parents[2]
    result = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"

import json
import subprocess
import sys
from pathlib import Path

import pytest
from one_line import one_line

from reports.comparison import main, table
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


def cells(runs):
    """The table as {row: [cells]}; its first row are the names of the runs."""
    columns = [[str(column.header), *column.cells] for column in table(runs).columns]
    return {name: list(row) for name, *row in zip(*columns, strict=True)}


def test_the_table_has_a_column_per_run_and_a_row_per_measurement(runs):
    assert cells(runs) == {
        "": ["robust", "standard"],
        "clean accuracy": ["95.0 %", "98.0 %"],
        "clean mIoU": ["81.2 %", "91.0 %"],
        "pgd accuracy": ["90.0 %", ""],
        "pgd mIoU": ["60.0 %", ""],
        "inpainting distance to original": ["0.1235", ""],
        "generation success": ["", "1.0000"],
    }


def test_image_labels_have_no_row_of_miou(tmp_path):
    run = make_run(tmp_path / "cifar", {"clean": {"accuracy": 0.5, "loss": 1.0}})
    assert cells([run]) == {"": ["cifar"], "clean accuracy": ["50.0 %"]}


def test_runs_of_the_same_name_keep_their_columns(tmp_path):
    runs = [
        make_run(tmp_path / place / "at50", {"clean": {"accuracy": value}}) for place, value in (("a", 0.1), ("b", 0.2))
    ]
    assert cells(runs) == {"": ["at50", "at50"], "clean accuracy": ["10.0 %", "20.0 %"]}


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

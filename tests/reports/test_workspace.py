import json
import re
import sys
from pathlib import Path

import pytest
from one_line import one_line

import callbacks
from reports.files import ReportError
from reports.workspace import TASKS, workspace

PAGE = Path(__file__).parents[2] / "docs" / "reading.md"


def test_without_the_package_it_is_said_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb_workspaces.workspaces", None)
    with pytest.raises(ReportError, match=one_line("pip install wandb-workspaces")):
        workspace("me", "saddle", ["pgd"])


@pytest.fixture
def spec():
    """What W&B would get, as text."""
    pytest.importorskip("wandb_workspaces", reason="the package wandb-workspaces is not installed")
    view = workspace("me", "mine", ["pgd", "fgsm"], "Robustness")._to_model()
    assert (view.entity, view.project, view.display_name) == ("me", "mine", "Robustness")
    return view.model_dump_json(by_alias=True)


def test_all_keys_of_the_page_are_shown(spec):
    table = PAGE.read_text().split("## On the dashboard")[1]
    cells = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    keys = [key for cell in cells for key in re.findall(r"`([\w/-]+)`", cell)]
    assert len(keys) > 15 and "train/loss" in keys
    patterns = [json.loads(f'"{each}"') for each in re.findall(r'"metricRegex":"((?:[^"\\]|\\.)*)"', spec)]
    assert len(patterns) == 5
    for key in keys:
        assert f'"{key}"' in spec or any(re.fullmatch(pattern, key) for pattern in patterns), key


def test_robust_stands_beside_clean_over_our_axis(spec):
    panels = [
        panel
        for section in json.loads(spec)["spec"]["section"]["panelBankConfig"]["sections"]
        for panel in section["panels"]
    ]
    (miou,) = [panel["config"] for panel in panels if panel["config"].get("chartTitle") == "mIoU"]
    assert miou["metrics"] == ["val/clean/miou", "val/pgd/miou", "val/fgsm/miou"]
    axes = {panel["config"]["xAxis"] for panel in panels if panel["viewType"] == "Run History Line Plot"}
    assert axes == {"trainer/global_step"}
    assert len([panel for panel in panels if panel["viewType"] == "Media Browser"]) == 2
    painted = [each for each in vars(callbacks).values() if isinstance(each, type) and hasattr(each, "task")]
    assert set(TASKS) == {each.task for each in painted if issubclass(each, callbacks.PictureCallback)}

"""A workspace, saved to a server of our own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from wandb_stub import serving

from cli import main

CLI = Path(__file__).parent.parent / "cli.py"


def dashboard(folder, *args, **environment):
    environment = {key: value for key, value in os.environ.items() if key != "WANDB_SERVICE"} | environment
    environment["WANDB_SILENT"] = "true"
    command = [sys.executable, str(CLI), "dashboard", *args]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def test_the_workspace_of_a_run_is_saved(tmp_path):
    pytest.importorskip("wandb_workspaces", reason="the package wandb-workspaces is not installed")
    run = tmp_path / "runs" / "mine"
    run.mkdir(parents=True)
    (run / "config.yaml").write_text(
        "attack: {evaluate: {pgd: null, sea: null}}\n"
        "trainer: {logger: {class_path: lightning.pytorch.loggers.WandbLogger, init_args: {project: robust}}}\n"
    )
    with serving() as server:
        done = dashboard(tmp_path, "runs/mine", WANDB_BASE_URL=server.address, WANDB_API_KEY="a" * 40)
        assert done.returncode == 0, done.stderr
    (saved,) = server.sent("UpsertView2")
    assert (saved["entityName"], saved["projectName"], saved["displayName"]) == ("me", "robust", "Saddle")
    assert json.loads(saved["spec"]) and "val/pgd/miou" in saved["spec"] and "val/sea/miou" in saved["spec"]
    assert f"Workspace: {server.address}/me/robust" in done.stdout


def test_without_a_login_it_is_one_line(tmp_path):
    pytest.importorskip("wandb_workspaces", reason="the package wandb-workspaces is not installed")
    done = dashboard(tmp_path, HOME=str(tmp_path), WANDB_API_KEY="")
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 2 and line.startswith("error: dashboard: W&B: ")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("nowhere.yaml", "error: --config nowhere.yaml: no such file; configs/ has"),
        (".", "error: .: no folder of a run: it has no config.yaml"),
    ],
)
def test_a_mistake_is_one_line(tmp_path, monkeypatch, capsys, given, told):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["dashboard", given])
    assert ended.value.code == 2 and capsys.readouterr().err.startswith(told)


def test_what_is_shown_is_the_configs(tmp_path, monkeypatch, capsys):
    """Of a config by its name, of a run by its folder, or of none; the command line has the last word."""
    monkeypatch.chdir(tmp_path)
    asked, shown = [], []
    Path("mine.yaml").write_text("trainer: {callbacks: [{class_path: EMA}, {class_path: callbacks.SketchToImage}]}")

    def workspace(entity, project, attacks, name="", tasks=()):
        asked.append((entity, project, attacks, name))
        shown.append(list(tasks))
        return SimpleNamespace(save=lambda: SimpleNamespace(url="there"))

    monkeypatch.setattr("dashboard_cli.workspace", workspace)
    main(["dashboard", "eval_eps_sweep.yaml", "--entity", "us", "--project", "mine", "--name", "Sweep"])
    main(["dashboard", "--entity", "us"])
    assert asked[1][:2] == ("us", "mine") and asked[1][3] == "Sweep" and len(asked[1][2]) > 2
    assert asked[3] == ("us", "saddle", ["pgd"], "Saddle")
    main(["dashboard", "mine.yaml", "--entity", "us"])
    assert shown[3] == ["inpainting", "generation"] and shown[5] == ["sketch_to_image"]
    assert capsys.readouterr().out.splitlines() == ["Workspace: there"] * 3

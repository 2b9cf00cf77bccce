"""What a run writes about itself while it goes on."""

import json
from pathlib import Path
from typing import Any

PROGRESS = {
    "command": "fit",
    "state": "training",
    "reason": None,
    "process": {"pid": 4711, "host": "node7", "job": "42"},
    "epoch": 2, "epochs": 8, "step": 130, "steps": 480, "batch": None, "batches": None,
    "images_per_second": 46.5, "seconds_left": 86400.0, "seconds_per_evaluation": 33.0,
    "metrics": {"val/clean/miou": 0.846, "val/pgd/miou": 0.65, "val/pgd/loss": float("nan")},
    "checkpoint": {"step": 120, "time": 1.7e9},
    "written": 1.7e9,
}  # fmt: skip
"""A file with all there is to be read."""


def write_progress(folder: Path, content: dict[str, Any] = PROGRESS) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "progress.json").write_text(json.dumps(content))
    return folder

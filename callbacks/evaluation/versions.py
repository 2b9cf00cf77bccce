"""With what a run was made: the versions of this project and of what it stands on."""

import subprocess
import tomllib
from importlib import metadata
from pathlib import Path

import lightning
import torch
import torchvision

ROOT = Path(__file__).parents[2]


def versions() -> dict[str, str]:
    """By name; ours with the commit where it runs from a checkout, and `.dirty` where that has changes."""
    return {"saddle": own_version(ROOT)} | {
        module.__name__: module.__version__ for module in (torch, torchvision, lightning)
    }


def own_version(root: Path) -> str:
    """Of the checkout in a folder, such as `0.1.0+g7c32748.dirty`; without git or a checkout, as far as it is known."""
    try:
        project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    except (OSError, ValueError, KeyError):
        try:
            return metadata.version("saddle")
        except metadata.PackageNotFoundError:
            return "unknown"
    if not (root / ".git").exists():
        return project
    command = ["git", "-C", str(root), "describe", "--always", "--dirty=.dirty", "--exclude=*"]
    try:
        commit = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return project
    return f"{project}+g{commit}"

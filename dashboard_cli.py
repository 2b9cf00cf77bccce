"""`dashboard`: saves a W&B workspace that shows what a config's runs log."""

import argparse
import os
import re
from pathlib import Path
from typing import Any

from command_line import UserError
from command_line.config_files import FILE, as_list, found, read
from reports.table import say
from reports.workspace import TASKS, workspace


def main(args: list[str]) -> None:
    """`dashboard [RUN_OR_CONFIG]`: save the workspace, and say where it is.

    Project, entity and the names of the evaluation attacks come from the config; without one they are `saddle`, W&B's
    default, and `pgd`.

    Raises:
        UserError: on a config that cannot be read, or where W&B cannot be reached or refuses.
        ReportError: without the package wandb-workspaces.
    """
    parser = argparse.ArgumentParser("cli.py dashboard", description="Saves a W&B workspace that shows a run's keys.")
    parser.add_argument(
        "config", nargs="?", metavar="RUN_OR_CONFIG", help="a run's folder, or a config by path or name"
    )
    parser.add_argument("--project", help="W&B's project; by default the config's")
    parser.add_argument("--entity", help="the user or team; by default the config's, or W&B's default")
    parser.add_argument("--name", default="Saddle", help="what the workspace is called")
    options = parser.parse_args(args)
    config = _config(options.config) if options.config else {}
    logger = _logger(config)
    project = str(options.project or logger.get("project") or "saddle")
    attacks = list(_section(_section(config, "attack"), "evaluate")) or ["pgd"]
    tasks = _tasks(config) or TASKS[:2]
    workspace("nobody", project, attacks, tasks=tasks)  # what is missing is told before W&B is asked
    import wandb

    try:
        entity = str(options.entity or logger.get("entity") or wandb.Api().default_entity)
        view = workspace(entity, project, attacks, options.name, tasks).save()
    except Exception as error:  # of its many kinds
        if os.environ.get("SADDLE_DEBUG"):
            raise
        raise UserError(f"dashboard: W&B: {' '.join(str(error).split()) or type(error).__name__}") from error
    say(f"Workspace: {view.url}")


def _config(given: str) -> dict[str, Any]:
    folder = Path(given)
    if folder.is_dir():
        if not (folder / FILE).is_file():
            raise UserError(f"{given}: no folder of a run: it has no {FILE}; name a run, or a config")
        return read(folder / FILE)
    return read(Path(found(given)))


def _section(config: dict[str, Any], name: str) -> dict[str, Any]:
    section = config.get(name)
    return section if isinstance(section, dict) else {}


def _tasks(config: dict[str, Any]) -> list[str]:
    """What a config's callbacks show pictures of."""
    callbacks = as_list(_section(config, "trainer").get("callbacks"))
    paths = [str(each.get("class_path")) for each in callbacks if isinstance(each, dict)]
    names = [re.sub(r"(?<!^)(?=[A-Z])", "_", path.rpartition(".")[2]).lower() for path in paths]
    return [name for name in dict.fromkeys(names) if name in TASKS]


def _logger(config: dict[str, Any]) -> dict[str, Any]:
    """What a config says of its W&B logger."""
    for logger in as_list(_section(config, "trainer").get("logger")):
        if isinstance(logger, dict) and str(logger.get("class_path")).endswith("WandbLogger"):
            return _section(logger, "init_args")
    return {}

"""The config that a run keeps in its folder: it describes the experiment, and can be taken back for another run."""

import inspect
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback

from command_line.config_files import FILE, as_list
from reports.files import write_whole


class SaveConfig(SaveConfigCallback):
    """Keeps the whole config in the run's folder and with every logger.

    In `fit` once all is restored that the run goes on from: one that is refused before leaves the config as it was.
    """

    def __init__(self, *args: Any, kept: Namespace, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.kept = kept

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage != "fit":
            super().setup(trainer, pl_module, stage)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().setup(trainer, pl_module, "fit")

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        write_whole(Path(trainer.default_root_dir) / FILE, self.parser.dump(self.kept, skip_none=False))
        for logger in trainer.loggers:
            logger.log_hyperparams(plain(self.kept))


def described(config: Namespace, command: str) -> Namespace:
    """A copy of a config without what belongs to one run alone: its name, and the checkpoint that it goes on from.

    An evaluation's checkpoint stays: it is what was measured.
    """
    kept = config.clone()
    kept.name = None
    if command == "fit":
        kept.ckpt_path = kept.weights_only = None
    return kept


def mark(kept: Namespace, config: Namespace) -> None:
    """Add where the run has its place, and its dashboard; `take_back` leaves this out."""
    kept.trainer.default_root_dir = config.trainer.default_root_dir
    for own, placed in zip(as_list(kept.trainer.logger), as_list(config.trainer.logger), strict=True):
        if isinstance(own, Namespace) and "init_args" in own:
            for key in _OF_LOGGERS:
                if key in placed.init_args:
                    own.init_args[key] = placed.init_args[key]


def take_back(config: Namespace, command: str, arguments: Sequence[str]) -> None:
    """Leave out of a config what was its run's own where it comes from one that a run has kept.

    Args:
        config: as it was parsed, from files and arguments.
        command: of a fit's checkpoint `fit` does not go on; an evaluation measures it.
        arguments: the command line; what it says stays.
    """
    given = {argument.partition("=")[0].removeprefix("--") for argument in arguments if argument.startswith("--")}
    for file in config.get("config") or []:
        was = _kept_in(Path(str(file)))
        if was is None:
            continue
        for key in ("name", *(("ckpt_path", "weights_only") if command == "fit" else ())):
            if key not in given and config.get(key) == was.get(key):
                config[key] = None
        config.trainer.default_root_dir = None
        before, now = as_list(was["trainer"].get("logger")), as_list(config.trainer.logger)
        for old, new in zip(before, now, strict=False):
            if isinstance(old, dict) and isinstance(new, Namespace) and "init_args" in new:
                _take_back_logger(old.get("init_args") or {}, new.init_args, given, was["trainer"]["default_root_dir"])


_OF_LOGGERS = ("id", "name", "version", "save_dir")


def _take_back_logger(was: dict[str, Any], options: Namespace, given: set[str], folder: str) -> None:
    for key in _OF_LOGGERS:
        said = any(name.startswith("trainer.logger") and name.endswith(f".{key}") for name in given)
        if key not in options or said or options[key] != was.get(key):
            continue
        if key == "save_dir":
            with suppress(ValueError, TypeError):  # another place, that the run did not choose
                options.save_dir = str(Path(options.save_dir).relative_to(folder))
        elif key == "id" or options[key] == Path(folder).name:
            options[key] = None


def _kept_in(file: Path) -> dict[str, Any] | None:
    """What a config holds that a run has kept: one that says where that run was."""
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        return content if isinstance(content["trainer"]["default_root_dir"], str) else None
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError):
        return None


def name_of(config: Path) -> str:
    """What a run of a config is called: that of the run, where it is the config that a run has kept."""
    return config.resolve().parent.name if config.name == FILE else config.stem


def plain(config: Any) -> Any:
    """A config as plain containers, which every logger can keep."""
    if isinstance(config, Namespace):
        config = config.as_dict()
    if isinstance(config, dict):
        return {key: plain(value) for key, value in config.items() if key != "config"}
    if isinstance(config, list | tuple):
        return [plain(value) for value in config]
    if inspect.isroutine(config):  # by its name: its place in memory is another one each time
        return f"{config.__module__}.{config.__qualname__}"
    return config if isinstance(config, str | int | float | bool | None) else str(config)

"""The commands that need a Trainer: fit, validate, test and predict, on top of LightningCLI."""

import hashlib
import json
import os
import re
import secrets
import shutil
import signal
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from jsonargparse import Namespace
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.utilities.exceptions import MisconfigurationException, SIGTERMException
from wandb.errors import UsageError

import attacks  # noqa: F401  importing a room lets its classes be called by their short names in configs
import callbacks
from command_line import FindConfig, Parser, UserError, deepest
from datamodules import DataError, DataModule
from lightning_modules import BatchError, Classifier, NetworkError
from lightning_modules.first_look import first_look
from lightning_modules.weights import check_checkpoint
from reports.files import digest, write_whole
from run_folder import RunFolderError, newest_run, run_folder

# Said of every module with such a hook that is used with a DataModule, though none of ours has that hook.
warnings.filterwarnings("ignore", "You have overridden `on_after_batch_transfer`")

# Said of a checkpoint that is used in another run's folder, as every evaluation does.
warnings.filterwarnings("ignore", "The dirpath has changed from")

# Lightning's own use of torch's pytree.
warnings.filterwarnings("ignore", r".*isinstance\(treespec, LeafSpec\)")

# Said of frozen parts, which `Classifier` keeps in eval mode on purpose.
warnings.filterwarnings("ignore", r"Found \d+ module\(s\) in eval mode")

# Said of evaluations on several devices, where some samples are dealt out twice: ours counts each once.
warnings.filterwarnings("ignore", r"Using `DistributedSampler` with the dataloaders")

USER_ERRORS = (BatchError, DataError, NetworkError, MisconfigurationException, RunFolderError)
"""Mistakes of a user's: one line and no traceback. While classes are made from a config, so is any ValueError."""


class SaveConfig(SaveConfigCallback):
    """Keeps the whole config in the run's folder and with every logger."""

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        config = self.parser.dump(self.config, skip_none=False)
        write_whole(Path(trainer.default_root_dir) / "config.yaml", config)
        for logger in trainer.loggers:
            logger.log_hyperparams(_plain(self.config))


class _Checkpoint(ModelCheckpoint):
    """Keeps what an exception interrupts, once there is something that has been trained, and has not diverged."""

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if trainer.global_step and all(weight.isfinite().all() for weight in pl_module.parameters()):
            super().on_exception(trainer, pl_module, exception)


class TrainingCLI(LightningCLI):
    """LightningCLI with a section for the attack, runs in folders of their own, and callbacks that are always there."""

    unstarted: Path | None = None
    """The folder made for a run that has not begun; removed again if it never does."""
    first: bool = False
    """Whether the folder of all runs was made for it, too."""

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        kwargs.setdefault("dump_header", [])
        parser = self.parser_class(**kwargs)
        parser.add_argument(
            "-c", "--config", action=FindConfig, help="A config, by its path or by its name in configs/."
        )
        return parser

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_lightning_class_args(callbacks.Attack, "attack")
        parser.add_argument("--name", type=str | None, default=None, help="Name of the run; by default the config's.")
        parser.add_argument(
            "--sanity",
            type=bool,
            default=True,
            help="Check in validate and test that the network hides no gradients.",
        )
        parser.add_argument("--runs", type=str, default="runs", help="The folder of all runs.")

    def _parse_ckpt_path(self) -> None:
        """Lightning's would read hyperparameters, which ours have not, from a file not yet known to be one of ours."""

    def before_instantiate_classes(self) -> None:
        config = self.config[self.subcommand]
        TrainingCLI.unstarted = None
        runs, command, last = Path(config.runs), str(self.subcommand), config.ckpt_path == "last"
        name, *protocols = [_name_of(Path(str(file))) for file in config.get("config") or ["run"]]
        name = config.name or name
        known = {folder for folder in runs.glob("*") if folder.is_dir()}
        TrainingCLI.first = not runs.exists()
        if command == "fit":
            self.folder = run_folder(runs, name, lambda _: last)
            if last:
                checkpoint = self.folder / "checkpoints" / "last.ckpt"
                config.ckpt_path = str(checkpoint) if checkpoint.is_file() else None
        else:
            if last:
                config.ckpt_path = self._last_checkpoint(runs, name)
            self._require_checkpoint(config.ckpt_path)
            self.key = self._evaluation_key(config, command)
            own_name = "_".join([name, *protocols, *([] if protocols and command == "test" else [command])])
            self.folder = run_folder(runs, own_name, lambda run: callbacks.records.unfinished(run, self.key))
        if self.folder not in known:
            TrainingCLI.unstarted = self.folder
        self._require_checkpoint(config.ckpt_path)
        if config.ckpt_path is not None:
            self._leave_weights_to_the_checkpoint(config)
        config.trainer.default_root_dir = str(self.folder)
        for logger in _as_list(config.trainer.logger):
            self._place_logger(logger)

    @staticmethod
    def _last_checkpoint(runs: Path, name: str) -> str:
        run = newest_run(runs, name)
        checkpoint = run / "checkpoints" / "last.ckpt" if run else None
        if checkpoint is None or not checkpoint.is_file():
            raise UserError(f"--ckpt_path last: {runs / name} has no checkpoints/last.ckpt")
        return str(checkpoint)

    @staticmethod
    def _require_checkpoint(path: str | None) -> None:
        if path is not None and not Path(path).is_file():
            raise UserError(f"--ckpt_path {path}: no such file; give one, or last")

    @staticmethod
    def _leave_weights_to_the_checkpoint(config: Namespace) -> None:
        """It has all of them, and the normaliser; those that training started from need not be there any more."""
        if config.model.network.class_path == "lightning_modules.Network":
            config.model.network.init_args.weights = config.model.network.init_args.backbone_weights = None
        config.weights_only = True  # tensors and plain containers; else Lightning runs whatever the file says

    @staticmethod
    def _evaluation_key(config: Namespace, command: str) -> str:
        """Tells what an evaluation measures: an interrupted one goes on only if all this is the same."""
        parts = {key: _plain(config.get(key)) for key in ("seed_everything", "model", "data", "attack")}
        parts["data"].get("init_args", {}).pop("num_workers", None)
        parts["files"] = {path: digest(Path(path)) for path in _weight_files(config)}
        limits = ("limit_val_batches", "limit_test_batches")
        parts["trainer"] = {name: config.trainer.get(name) for name in ("precision", *limits)}
        parts |= {"command": command, "layout": callbacks.records.LAYOUT, "torch": torch.__version__}
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _place_logger(self, logger: Any) -> None:
        """Have a logger write into the run's folder, under the run's name, and go on where it stopped."""
        options = logger.get("init_args") if isinstance(logger, Namespace) else None
        if options is None:
            return
        if options.get("save_dir", "") in (None, "."):
            options.save_dir = str(self.folder)
        if logger.class_path.endswith("WandbLogger"):
            options.name = options.get("name") or self.folder.name
            options.id = options.get("id") or self._wandb_id()

    def _wandb_id(self) -> str:
        """One id per run folder, so that a resumed run goes on in the same dashboard."""
        path = self.folder / "wandb" / "id"
        if not path.is_file():
            write_whole(path, secrets.token_hex(4))
        return path.read_text()

    def instantiate_classes(self) -> None:
        try:
            super().instantiate_classes()
        except (ValueError, TypeError) as error:
            if os.environ.get("SADDLE_DEBUG"):
                raise
            raise UserError(deepest(str(error))) from error

    def _run_subcommand(self, subcommand: str) -> None:
        """Look at the data and what it asks of the network before a logger or a checkpoint writes anything."""
        self.datamodule.setup(subcommand)
        self.model.check(self.trainer.precision)
        first_look(self.model, self.datamodule, subcommand, self.trainer)
        checkpoint = self.config[subcommand].ckpt_path
        if checkpoint is not None:
            check_checkpoint(self.model, Path(checkpoint))
        folder, TrainingCLI.unstarted = TrainingCLI.unstarted, None
        try:
            super()._run_subcommand(subcommand)
        except USER_ERRORS:
            if folder is not None and not _holds_work(folder):
                TrainingCLI.unstarted = folder
            raise

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Add what every run has: checkpoints to go on from, speed, results; predictions are written by `predict`."""
        config = self._get(self.config_init, "trainer")
        every, epochs = config.check_val_every_n_epoch, config.max_epochs
        if self.subcommand == "fit" and every and (epochs or 0) > 0 and epochs % every and not config.fast_dev_run:
            raise UserError(
                f"trainer.max_epochs {epochs} is no multiple of check_val_every_n_epoch {every}: "
                "the trained network would not be evaluated; change one of them"
            )
        checkpoint = _Checkpoint(
            self.folder / "checkpoints",
            "last",
            save_on_exception=True,
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )
        always = [checkpoint, callbacks.Speed(), callbacks.Results(), callbacks.Predictions()]
        if self.subcommand in ("validate", "test"):
            always.append(callbacks.Records(self.key))
            if self._get(self.config_init, "sanity"):
                always.append(callbacks.SanityGate())
        if config.logger is not False:
            always.append(LearningRateMonitor("step"))
        if config.sync_batchnorm and (config.accelerator == "cpu" or not torch.cuda.is_available()):
            config.sync_batchnorm = False  # it exists for GPUs only; so a cluster's config runs on a laptop
        config.callbacks = [*always, *_as_list(config.callbacks or [])]
        return super().instantiate_trainer(**kwargs)


def run(args: ArgsType = None) -> TrainingCLI:
    """Parse and run; raises UserError on a user's mistake, with the one line to print."""
    try:
        return TrainingCLI(
            Classifier,
            DataModule,
            subclass_mode_data=True,
            save_config_callback=SaveConfig,
            save_config_kwargs={"save_to_log_dir": False},
            parser_class=Parser,
            parser_kwargs={
                "description": "Adversarial training and synthesis; `report` compares runs, `convert` weights."
            },
            seed_everything_default=0,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            args=args,
        )
    except UsageError as error:  # of W&B: no login, as a rule
        raise UserError(f"{error} Or set WANDB_MODE=offline: the dashboard stays in the run's folder") from error
    except SIGTERMException:
        sys.exit(128 + signal.SIGTERM)  # Lightning ends as if all had been done
    except USER_ERRORS as error:
        if os.environ.get("SADDLE_DEBUG"):
            raise
        message = str(error).strip()
        if "Original Traceback" in message:  # a data loader's worker wraps the message; the last line is ours
            message = re.sub(r"^[\w.]*Error: ", "", message.splitlines()[-1])
        raise UserError(" ".join(message.split())) from error
    finally:
        if TrainingCLI.unstarted is not None:
            shutil.rmtree(TrainingCLI.unstarted, ignore_errors=True)
            if TrainingCLI.first:
                with suppress(OSError):
                    TrainingCLI.unstarted.parent.rmdir()


def _name_of(config: Path) -> str:
    """What a run of a config is called: that of the run, where it is the config that a run has kept."""
    return config.resolve().parent.name if config.name == "config.yaml" else config.stem


def _weight_files(config: Namespace) -> list[str]:
    """The files that the weights of an evaluation come from."""
    own = config.model.network.get("init_args") or {}
    named = [config.ckpt_path, own.get("weights"), own.get("backbone_weights")]
    return [path for path in named if isinstance(path, str) and Path(path).is_file()]


def _holds_work(run: Path) -> bool:
    """Whether a run has something to go on from: a checkpoint, or what was measured of a sample."""
    return any(run.glob("checkpoints/*.ckpt")) or any(path.read_text().strip() for path in run.glob("records/*.jsonl"))


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _plain(config: Any) -> Any:
    """A config as plain containers, which every logger can keep."""
    if isinstance(config, Namespace):
        config = config.as_dict()
    if isinstance(config, dict):
        return {key: _plain(value) for key, value in config.items() if key != "config"}
    if isinstance(config, list | tuple):
        return [_plain(value) for value in config]
    return config if isinstance(config, str | int | float | bool | None) else str(config)

"""The commands that need a Trainer: fit, validate, test and predict, on top of LightningCLI."""

import hashlib
import json
import os
import re
import shutil
import signal
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
import yaml
from jsonargparse import Namespace
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities.exceptions import MisconfigurationException, SIGTERMException
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from wandb.errors import UsageError

import attacks  # noqa: F401  importing a room lets its classes be called by their short names in configs
import callbacks
from callbacks.last_checkpoint import WholeFiles
from command_line import FindConfig, Parser, UserError, deepest
from command_line.kept_config import FILE, SaveConfig, as_list, described, mark, name_of, plain, take_back
from datamodules import DataError, DataModule
from lightning_modules import BatchError, Classifier, NetworkError
from lightning_modules.first_look import first_look
from lightning_modules.weights import check_checkpoint
from reports.files import digest
from resuming import last_checkpoint, last_if_any, require_checkpoint, run_of, why_finished
from run_folder import RunFolderError, check_name, is_new, newest_run, place_checkpoints, place_logger, run_folder

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
        parser.add_argument("--paint", type=bool, default=True, help="Paint with the config's synthesis callbacks.")
        parser.add_argument("--runs", type=str, default="runs", help="The folder of all runs.")

    def _parse_ckpt_path(self) -> None:
        """Lightning's would read hyperparameters, which ours have not, from a file not yet known to be one of ours."""

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        given = sys.argv[1:] if args is None else args
        self._arguments = [str(argument) for argument in given] if isinstance(given, list) else []
        super().parse_arguments(parser, args)
        seed = self.config[self.config.subcommand].get("seed_everything")
        if not isinstance(seed, bool) and isinstance(seed, int) and not 0 <= seed < 2**32:
            raise UserError(f"--seed_everything {seed}: must be between 0 and {2**32 - 1}")

    def before_instantiate_classes(self) -> None:
        config, command = self.config[self.subcommand], str(self.subcommand)
        take_back(config, command, self._arguments)
        kept = described(config, command)
        TrainingCLI.unstarted = None
        TrainingCLI.first = not Path(config.runs).exists()
        self.folder = self._choose_run(config) if command == "fit" else self._choose_evaluation(config, command)
        if is_new(self.folder):
            TrainingCLI.unstarted = self.folder
        if config.ckpt_path is not None:
            self._leave_weights_to_the_checkpoint(config)
        elif command != "fit":
            self._warn_of_an_untrained_network(config)
        config.trainer.default_root_dir = str(self.folder)
        for logger in as_list(config.trainer.logger):
            place_logger(logger, self.folder)
        for callback in as_list(config.trainer.callbacks):
            place_checkpoints(callback, self.folder)
        mark(kept, config)
        self.save_config_kwargs["kept"] = self._kept = kept

    def _names(self, config: Namespace) -> list[str]:
        """What the run is called, and the protocols that are laid over its config."""
        own, *protocols = [name_of(Path(str(file))) for file in config.get("config") or ["run"]]
        name = own if config.name is None else config.name
        check_name(name)
        return [name, *protocols]

    def _choose_run(self, config: Namespace) -> Path:
        """The folder of a fit, another one or that of the checkpoint it goes on from, which is looked up."""
        runs, name = Path(config.runs), self._names(config)[0]
        if config.ckpt_path is None:
            return run_folder(runs, name, lambda _: False)
        if config.ckpt_path == "last":
            own = self._newest(config) or runs / name
        else:
            own = run_of(Path(config.ckpt_path), runs, name)
        if own.parent.resolve() != runs.resolve():
            runs = own.parent
        folder = run_folder(runs, own.name, lambda run: run.resolve() == own.resolve())
        if config.ckpt_path == "last":
            config.ckpt_path = last_if_any(folder)
        return folder

    def _newest(self, config: Namespace) -> Path | None:
        """The run that `last` means: the newest of the name, but of a config that a run has kept, that run itself."""
        file = Path(str((config.get("config") or [""])[0]))
        if config.name is None and file.name == FILE and (file.parent / "checkpoints").is_dir():
            return file.parent
        return newest_run(Path(config.runs), self._names(config)[0])

    def _choose_evaluation(self, config: Namespace, command: str) -> Path:
        """The folder of an evaluation: another one, or that of the same one which was interrupted."""
        runs, (name, *protocols) = Path(config.runs), self._names(config)
        if config.ckpt_path == "last":
            config.ckpt_path = last_checkpoint(self._newest(config) or runs / name)
        if config.ckpt_path is not None:
            require_checkpoint(config.ckpt_path)
        self.key = self._evaluation_key(config, command)
        own_name = "_".join([name, *protocols, *([] if protocols and command == "test" else [command])])
        return run_folder(runs, own_name, lambda run: callbacks.records.unfinished(run, self.key))

    @staticmethod
    def _leave_weights_to_the_checkpoint(config: Namespace) -> None:
        """It has all of them, and the normaliser; those that training started from need not be there any more."""
        if config.model.network.class_path == "lightning_modules.Network":
            config.model.network.init_args.weights = config.model.network.init_args.backbone_weights = None
        config.weights_only = True  # tensors and plain containers; else Lightning runs whatever the file says

    @staticmethod
    def _evaluation_key(config: Namespace, command: str) -> str:
        """Tells what an evaluation measures: an interrupted one goes on only if all this is the same."""
        parts = {key: plain(config.get(key)) for key in ("seed_everything", "model", "data", "attack")}
        options = parts["data"].get("init_args", {})
        options.pop("num_workers", None)
        for (
            name,
            value,
        ) in options.items():  # the order of `values` and of ImageFolder's `classes` is that of the classes
            options[name] = list(value.items()) if isinstance(value, dict) else value
        parts["files"] = {path: digest(Path(path)) for path in _weight_files(config)}
        limits = ("limit_val_batches", "limit_test_batches")
        parts["trainer"] = {name: config.trainer.get(name) for name in ("precision", *limits)}
        parts |= {"command": command, "layout": callbacks.records.LAYOUT, "torch": torch.__version__}
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    @staticmethod
    def _warn_of_an_untrained_network(config: Namespace) -> None:
        own = config.model.network
        options = own.get("init_args") or {}
        if own.class_path == "lightning_modules.Network" and not options.get("weights"):
            rank_zero_warn("neither --ckpt_path nor --model.network.weights is given: an untrained network is measured")

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
        if checkpoint is not None and subcommand == "fit":
            limits = yaml.safe_load(self._parser(subcommand).dump(self._kept, skip_none=False))["trainer"]
            finished = why_finished(self.folder, Path(checkpoint), self.trainer, limits)
            if finished is not None:
                if self.trainer.is_global_zero:
                    print(finished)
                return
        folder, TrainingCLI.unstarted = TrainingCLI.unstarted, None
        try:
            super()._run_subcommand(subcommand)
        except (*USER_ERRORS, OSError, SystemExit):  # what ends in a traceback may be looked into
            if folder is not None and not _holds_work(folder):
                TrainingCLI.unstarted = folder
            raise

    def after_fit(self) -> None:
        """A run that has gone wrong ends with its reason and exit status 2, once all is written."""
        for callback in self.trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, callbacks.Divergence) and callback.stopped:
                raise UserError(f"{self.folder}: {callback.stopped}")

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Add what every run has: checkpoints to go on from, speed, results; predictions are written by `predict`."""
        config = self._get(self.config_init, "trainer")
        every, epochs = config.check_val_every_n_epoch, config.max_epochs
        if self.subcommand == "fit" and every and (epochs or 0) > 0 and epochs % every and not config.fast_dev_run:
            raise UserError(
                f"trainer.max_epochs {epochs} is no multiple of check_val_every_n_epoch {every}: "
                "the trained network would not be evaluated; change one of them"
            )
        last = callbacks.LastCheckpoint(self.folder / "checkpoints")
        watching = [callbacks.Progress(), callbacks.Divergence(), callbacks.Dashboard()]
        watching += [callbacks.Speed(), callbacks.ZeroGradients()]
        always = [last, callbacks.EvaluationDue(), *watching, callbacks.Results(), callbacks.Predictions()]
        if self.subcommand in ("validate", "test"):
            always.append(callbacks.Records(self.key))
            if self._get(self.config_init, "sanity"):
                always.append(callbacks.SanityGate())
        if config.logger is not False:
            always.append(LearningRateMonitor("step"))
        if config.sync_batchnorm and (config.accelerator == "cpu" or not torch.cuda.is_available()):
            config.sync_batchnorm = False  # it exists for GPUs only; so a cluster's config runs on a laptop
        plugins = [plugin for plugin in as_list(config.plugins) if plugin is not None]
        if not any(isinstance(plugin, CheckpointIO) for plugin in plugins):
            config.plugins = [*plugins, WholeFiles()]
        asked = [callback for callback in as_list(config.callbacks) if callback is not None]
        if not self._get(self.config_init, "paint"):
            asked = [callback for callback in asked if not isinstance(callback, callbacks.Synthesis)]
        config.callbacks = [*always, *asked]
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
    except (*USER_ERRORS, OSError) as error:
        if os.environ.get("SADDLE_DEBUG"):
            raise
        raise UserError(_line(error)) from error
    finally:
        if TrainingCLI.unstarted is not None:
            shutil.rmtree(TrainingCLI.unstarted, ignore_errors=True)
            if TrainingCLI.first:
                with suppress(OSError):
                    TrainingCLI.unstarted.parent.rmdir()


def _line(error: Exception) -> str:
    """What an error says, on one line; of a file or a folder, which one it is."""
    message = str(error).strip()
    if isinstance(error, OSError) and error.strerror:
        message = f"{error.filename or 'a file of the run'}: {error.strerror}"
    if "Original Traceback" in message:  # a data loader's worker wraps the message; the last line is ours
        message = re.sub(r"^[\w.]*Error: ", "", message.splitlines()[-1])
    return " ".join(message.split())


def _weight_files(config: Namespace) -> list[str]:
    """The files that the weights of an evaluation come from."""
    own = config.model.network.get("init_args") or {}
    named = [config.ckpt_path, own.get("weights"), own.get("backbone_weights")]
    return [path for path in named if isinstance(path, str) and Path(path).is_file()]


def _holds_work(run: Path) -> bool:
    """Whether a run has something to keep or to go on from, such as a checkpoint, or what was measured of a sample."""
    kept = ("checkpoints/*.ckpt", "hpc_ckpt_*.ckpt", "predictions/*", "results.json")
    records = run.glob("records/*.jsonl")
    return any(any(run.glob(name)) for name in kept) or any(path.read_text().strip() for path in records)

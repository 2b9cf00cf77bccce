"""The commands that need a Trainer: fit, validate, test and predict, on top of LightningCLI."""

import os
import re
import shutil
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
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.rank_zero import rank_zero_warn

import attacks  # noqa: F401  importing a room lets its classes be called by their short names in configs
import callbacks
from callbacks.interruption import Stopped, ending
from callbacks.last_words import LostProcessError, exchanged, forget
from callbacks.trained import check_number, training_of
from callbacks.whole_files import WholeFiles
from command_line import UserError
from command_line.kept_config import SaveConfig, as_list, described, mark, take_back
from command_line.networks import leave_out_weights, network_options
from command_line.nulls import check_nulls
from command_line.overview import CONFIG, DESCRIPTION
from command_line.parser import FindConfig, Parser, deepest
from datamodules import DataError, DataModule
from lightning_modules import BatchError, Classifier, NetworkError
from lightning_modules.first_look import first_look
from lightning_modules.weights import check_checkpoint
from requeueing import tell
from resuming import choose_evaluation, choose_run, evaluation_key, why_finished
from run_folder import (
    RunFolderError,
    holds_work,
    is_first_process,
    is_new,
    place_checkpoints,
    place_logger,
    share,
    shared,
    slurm_job,
)

# Said of every module with such a hook that is used with a DataModule, though none of ours has that hook.
warnings.filterwarnings("ignore", "You have overridden `on_after_batch_transfer`")

# Said of a checkpoint that is used in another run's folder, as every evaluation does.
warnings.filterwarnings("ignore", "The dirpath has changed from")

# Said of a checkpoint from inside an epoch; ours go on where they were.
warnings.filterwarnings("ignore", "You're resuming from a checkpoint that ended before the epoch ended")

# Said wherever SLURM is installed: on login nodes, and of single processes.
warnings.filterwarnings("ignore", "The `srun` command is available on your system but is not used")

# Lightning's own use of torch's pytree.
warnings.filterwarnings("ignore", r".*isinstance\(treespec, LeafSpec\)")

# Said of frozen parts, which `Classifier` keeps in eval mode on purpose.
warnings.filterwarnings("ignore", r"Found \d+ module\(s\) in eval mode")

# Said of evaluations on several devices, where some samples are dealt out twice: ours counts each once.
warnings.filterwarnings("ignore", r"Using `DistributedSampler` with the dataloaders")

USER_ERRORS = (
    BatchError,
    DataError,
    NetworkError,
    MisconfigurationException,
    RunFolderError,
    LostProcessError,
)
"""Mistakes of a user's: one line and no traceback. While classes are made from a config, so is any ValueError."""


class TrainingCLI(LightningCLI):
    """LightningCLI with a section for the attack, runs in folders of their own, and callbacks that are always there."""

    unstarted: Path | None = None
    """The folder made for a run that has not begun; removed again if it never does."""
    first: bool = False
    """Whether the folder of all runs was made for it, too."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        given = sys.argv[1:] if kwargs.get("args") is None else kwargs["args"]
        self._arguments = [str(argument) for argument in given] if isinstance(given, list) else []
        super().__init__(*args, **kwargs)

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        kwargs.setdefault("dump_header", [])
        parser = self.parser_class(**kwargs)
        parser.add_argument("-c", "--config", action=FindConfig, help=CONFIG)
        return parser

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        """The arguments of the commands that are not asked for take as long as those of the one that is."""
        first = self._arguments[0] if self._arguments else ""
        if first in self.subcommands() and first != subcommand:
            return self.init_parser(**kwargs)
        return super()._prepare_subcommand_parser(klass, subcommand, **kwargs)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_lightning_class_args(callbacks.Attack, "attack")
        parser.add_lightning_class_args(callbacks.Checkpoints, "checkpoints")
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
        super().parse_arguments(parser, args)
        seed = self.config[self.config.subcommand].get("seed_everything")
        if not isinstance(seed, bool) and isinstance(seed, int) and not 0 <= seed < 2**32:
            raise UserError(f"--seed_everything {seed}: must be between 0 and {2**32 - 1}")

    def before_instantiate_classes(self) -> None:
        config, command = self.config[self.subcommand], str(self.subcommand)
        check_nulls(config, model=Classifier, attack=callbacks.Attack, checkpoints=callbacks.Checkpoints)
        take_back(config, command, self._arguments)
        config.runs = os.path.expanduser(config.runs)
        config.ckpt_path = config.ckpt_path and os.path.expanduser(config.ckpt_path)
        kept = described(config, command)
        TrainingCLI.unstarted = None
        TrainingCLI.first = not Path(config.runs).exists()
        if is_first_process():
            self.folder, self.key = choose_run(config) if command == "fit" else choose_evaluation(config, command)
            forget(self.folder)
            share(self.folder, config.ckpt_path)
        else:
            self.folder, config.ckpt_path = shared(Path(config.runs))
            self.key = evaluation_key(config, command)
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

    @staticmethod
    def _leave_weights_to_the_checkpoint(config: Namespace) -> None:
        """It has all of them, and the normaliser; those that training started from need not be there any more."""
        leave_out_weights(config.model.network)
        config.weights_only = True  # tensors and plain containers; else Lightning runs whatever the file says

    @staticmethod
    def _warn_of_an_untrained_network(config: Namespace) -> None:
        own = config.model.network
        joined = own.class_path == "lightning_modules.LateFusion" and own.init_args.join == "features"
        if joined or not all(options.get("weights") for options in network_options(own)):
            rank_zero_warn("neither --ckpt_path nor --model.network.weights is given: an untrained network is measured")

    def instantiate_classes(self) -> None:
        try:
            super().instantiate_classes()
        except (ValueError, TypeError) as error:
            if os.environ.get("SADDLE_DEBUG"):
                raise
            raise UserError(deepest(str(error))) from error
        except RuntimeError as error:
            if "more than one stateful callback" not in str(error) or os.environ.get("SADDLE_DEBUG"):
                raise
            raise UserError(f"trainer.callbacks: {str(error).partition('. ')[0]}; leave one out") from error

    def _run_subcommand(self, subcommand: str) -> None:
        """Look at the data and what it asks of the network before a logger or a checkpoint writes anything."""
        self.datamodule.setup(subcommand)
        self.model.check(self.trainer.precision)
        checkpoint = self.config[subcommand].ckpt_path
        if checkpoint is not None:
            check_number(training_of(checkpoint), getattr(self.datamodule, "classes", ()), checkpoint)
        first_look(self.model, self.datamodule, subcommand, self.trainer)
        self._look_at_pictures(subcommand)
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
            with exchanged(self.folder, self.trainer.global_rank, self.trainer.world_size):
                super()._run_subcommand(subcommand)
        except (*USER_ERRORS, OSError, SystemExit) as error:  # what ends in a traceback may be looked into
            comes_back = isinstance(error, Stopped) and slurm_job() is not None
            if folder is not None and not comes_back and not holds_work(folder):
                TrainingCLI.unstarted = folder
            raise

    def _look_at_pictures(self, subcommand: str) -> None:
        """Whether what the config paints can be painted, and what it measures can be measured."""
        split = {"fit": "val", "validate": "val", "test": "test"}.get(subcommand)
        for callback in self.trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, callbacks.PictureCallback | callbacks.Measurement) and split:
                data = getattr(self.datamodule, f"{split}_dataloader")().dataset
                callback.first_look(self.trainer, self.model, self.datamodule, data)

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
        watching = [callbacks.Progress(), callbacks.Divergence(), callbacks.Dashboard()]
        watching += [callbacks.Speed(), callbacks.ZeroGradients()]
        always = [callbacks.ExactResume(), callbacks.EvaluationDue(), *watching, callbacks.Predictions()]
        if self.subcommand in ("validate", "test"):
            always.append(callbacks.Records(self.key))
            if self._get(self.config_init, "sanity"):
                always.append(callbacks.SanityGate())
        if config.logger is not False:
            always.append(LearningRateMonitor("step"))
        if config.sync_batchnorm and (config.accelerator == "cpu" or not torch.cuda.is_available()):
            config.sync_batchnorm = False  # it exists for GPUs only; so a cluster's config runs on a laptop
        ending.limit(config.max_time)
        config.max_time = None  # Lightning's is one of all jobs of a run together
        plugins = [plugin for plugin in as_list(config.plugins) if plugin is not None]
        if not any(isinstance(plugin, CheckpointIO) for plugin in plugins):
            config.plugins = [*plugins, WholeFiles()]
        asked = [callback for callback in as_list(config.callbacks) if callback is not None]
        if not self._get(self.config_init, "paint"):
            asked = [callback for callback in asked if not isinstance(callback, callbacks.PictureCallback)]
        config.callbacks = [*always, *asked, callbacks.Results()]  # at last, when all others have measured
        return super().instantiate_trainer(**kwargs)


def run(args: ArgsType = None) -> TrainingCLI:
    """Parse and run; raises UserError on a user's mistake, with the one line to print."""
    ending.begin()
    try:
        return TrainingCLI(
            Classifier,
            DataModule,
            subclass_mode_data=True,
            save_config_callback=SaveConfig,
            save_config_kwargs={"save_to_log_dir": False},
            parser_class=Parser,
            parser_kwargs={"description": DESCRIPTION},
            seed_everything_default=0,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            args=args,
        )
    except Stopped as stopped:
        tell(stopped)
        if not is_first_process():
            sys.exit(0)  # with another status launchers would end the first one, which may have things to finish
        raise
    except (*USER_ERRORS, OSError) as error:
        if os.environ.get("SADDLE_DEBUG"):
            raise
        raise UserError(_line(error)) from error
    except Exception as error:
        wandb = sys.modules.get("wandb.errors")  # half a second; whoever raises one of its errors has imported it
        if wandb is None or not isinstance(error, wandb.UsageError):  # no login, as a rule
            raise
        raise UserError(f"{error} Or set WANDB_MODE=offline: the dashboard stays in the run's folder") from error
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

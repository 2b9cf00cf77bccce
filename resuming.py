"""Which folder a command works in, which checkpoint it goes on from or measures, and whether anything is left to do."""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
import yaml
from jsonargparse import Namespace
from lightning.pytorch import Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from callbacks.evaluation.records import LAYOUT, unfinished
from command_line import UserError
from command_line.kept_config import FILE, name_of, plain
from lightning_modules.unpickling import load_tensors
from lightning_modules.weight_files import NetworkError, read_file
from reports.files import ReportError, digest
from reports.results import results_as_written
from run_folder import check_name, newest_run, run_folder, run_of_job, runs_named

NAMES = ("last.ckpt", "previous.ckpt")
"""What a run goes on from; the second where the first is missing or broken."""

INSTEAD = "to start from its weights, give them as --model.network.weights"


def choose_run(config: Namespace) -> tuple[Path, str]:
    """The folder of a fit, another one or that of the checkpoint it goes on from, which is looked up; and no key.

    A job that SLURM has requeued goes on where it was, whatever its command says.
    """
    runs, name = Path(config.runs), names_of(config)[0]
    begun = run_of_job(runs, name)
    if begun is not None:
        config.ckpt_path = last_if_any(begun)
        return begun, ""
    if config.ckpt_path is None:
        return run_folder(runs, name, lambda _: False), ""
    last = config.ckpt_path == "last"
    own = newest(config) or runs / name if last else run_of(Path(config.ckpt_path), runs, name)
    if own.parent.resolve() != runs.resolve():
        runs = own.parent
    folder = run_folder(runs, own.name, lambda run: run.resolve() == own.resolve())
    if last:
        config.ckpt_path = last_if_any(folder)
    return folder, ""


def choose_evaluation(config: Namespace, command: str) -> tuple[Path, str]:
    """The folder of an evaluation, another one or that of the same one which was interrupted; and its key."""
    runs, (name, *protocols) = Path(config.runs), names_of(config)
    if config.ckpt_path == "last":
        config.ckpt_path = last_checkpoint(newest(config) or runs / name)
    if config.ckpt_path is not None:
        require_checkpoint(config.ckpt_path)
    key = evaluation_key(config, command)
    own_name = "_".join([name, *protocols, *([] if protocols and command == "test" else [command])])
    return run_folder(runs, own_name, lambda run: unfinished(run, key)), key


def names_of(config: Namespace) -> list[str]:
    """What the run is called, and the protocols that are laid over its config."""
    own, *protocols = [name_of(Path(str(file))) for file in config.get("config") or ["run"]]
    name = own if config.name is None else config.name
    check_name(name)
    return [name, *protocols]


def newest(config: Namespace) -> Path | None:
    """The run that `last` means: the newest of the name, but of a config that a run has kept, that run itself."""
    file = Path(str((config.get("config") or [""])[0]))
    if config.name is None and file.name == FILE and (file.parent / "checkpoints").is_dir():
        return file.parent
    return newest_run(Path(config.runs), names_of(config)[0])


def evaluation_key(config: Namespace, command: str) -> str:
    """Tells what an evaluation measures: an interrupted one goes on only if all this is the same."""
    parts = {key: plain(config.get(key)) for key in ("seed_everything", "model", "data", "attack")}
    options = parts["data"].get("init_args", {})
    options.pop("num_workers", None)
    for name, value in options.items():  # the order of `values` and of ImageFolder's `classes` is that of the classes
        options[name] = list(value.items()) if isinstance(value, dict) else value
    parts["files"] = {path: digest(Path(path)) for path in weight_files(config)}
    limits = ("limit_val_batches", "limit_test_batches")
    parts["trainer"] = {name: config.trainer.get(name) for name in ("precision", *limits)}
    parts |= {"command": command, "layout": LAYOUT, "torch": torch.__version__}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def weight_files(config: Namespace) -> list[str]:
    """The files that the weights of an evaluation come from."""
    own = config.model.network.get("init_args") or {}
    named = [config.ckpt_path, own.get("weights"), own.get("backbone_weights")]
    return [path for path in named if isinstance(path, str) and Path(path).expanduser().is_file()]


def last_checkpoint(run: Path, asked: str = "--ckpt_path last") -> str:
    """The last checkpoint of a run that is whole; raises UserError, beginning with what was asked, if it has none."""
    kept = [run / "checkpoints" / name for name in NAMES]
    found = [path for path in kept if path.is_file()]
    if not found:
        raise UserError(f"{asked}: {run} has no checkpoints/{NAMES[0]}")
    broken = []
    for path in found:
        try:
            read_file(path, "a checkpoint of a run")
        except NetworkError as error:
            broken.append(str(error))
            continue
        for why in broken:
            rank_zero_warn(f"{why}: the run goes on from the checkpoint before, {path}")
        return str(path)
    raise UserError(f"{asked}: {'; '.join(broken)}")


def last_if_any(run: Path) -> str | None:
    """The last checkpoint of a run, if it has come that far.

    Raises:
        UserError: if it has results, which a new start would replace.
    """
    if not any((run / "checkpoints" / name).is_file() for name in NAMES):
        if (run / "results.json").exists():
            raise UserError(
                f"--ckpt_path last: {run} has results but no checkpoints/last.ckpt to go on from; without --ckpt_path "
                "another run starts"
            )
        return None
    return last_checkpoint(run)


def require_checkpoint(path: str | Path) -> None:
    """Raises UserError if there is no such file."""
    if not Path(path).is_file():
        kind = "a folder" if Path(path).is_dir() and str(path) else "no such file"
        raise UserError(f"--ckpt_path {str(path) or repr('')}: {kind}; give a checkpoint of a run, or last")


def run_of(checkpoint: Path, runs: Path, name: str) -> Path:
    """The run of that name that a checkpoint lies in.

    Raises:
        UserError: if there is no such file, or it is not of a run of that name: a fit only goes on where it was.
    """
    require_checkpoint(checkpoint)
    folder = checkpoint.resolve().parent.parent
    for run in runs_named(runs, name):
        if run.resolve() == folder and checkpoint.resolve().parent.name == "checkpoints":
            return run
    hint = f", or to go on in {folder.name}, add --name {folder.name}" if folder.parent == runs.resolve() else ""
    raise UserError(
        f"--ckpt_path {checkpoint}: fit goes on in a run, and this is no checkpoint of {runs / name}; {INSTEAD} "
        f"{checkpoint}{hint}"
    )


def why_finished(run: Path, checkpoint: Path, trainer: Trainer, config: dict[str, Any]) -> str | None:
    """Why a run has nothing left to do, as a line; None if it is to go on.

    Args:
        run: the folder of the run.
        checkpoint: what it goes on from.
        trainer: with the limits that are asked for.
        config: the `trainer` section of the config, in plain containers.

    Raises:
        UserError: if the checkpoint cannot be gone on from, or is beyond the limits.
    """
    content = load_tensors(checkpoint)
    if not content.get("optimizer_states") or "loops" not in content:
        raise UserError(
            f"--ckpt_path {checkpoint}: holds weights alone, no state to go on from; {INSTEAD} {checkpoint}"
        )
    epoch, step = content["loops"]["fit_loop"]["epoch_progress"]["current"], content["global_step"]
    epochs, steps = trainer.max_epochs, trainer.max_steps
    beyond = [f"trainer.max_epochs {epochs}"] * (epochs not in (None, -1) and epoch["started"] > epochs)
    beyond += [f"trainer.max_steps {steps}"] * (steps != -1 and step > steps)
    if beyond:
        raise UserError(
            f"--ckpt_path {checkpoint}: has come to epoch {epoch['started']} and step {step}, beyond {beyond[0]}; set "
            "it higher to go on"
        )
    try:
        results = results_as_written(run)
    except ReportError:
        return None  # the evaluation is due
    if results.get("steps") != step or not results["metrics"]:
        return None
    why = f": {results['stopped']}" if results.get("stopped") else ""
    message = f"{run} is finished, after {results.get('epochs')} epochs and {step} steps{why}; nothing is changed. "
    if epoch["processed"] == epochs or step == steps or (why and _same_limits(run, config)):
        return message + "To go on, set trainer.max_epochs higher."
    return None


def _same_limits(run: Path, config: dict[str, Any]) -> bool:
    """Whether all that may end a run is as it was when it ended; it has kept its config before that."""
    try:
        if (run / FILE).stat().st_mtime_ns > (run / "results.json").stat().st_mtime_ns:  # it was begun again since
            return False
        kept = yaml.safe_load((run / FILE).read_text(encoding="utf-8"))["trainer"]
        return all(kept.get(key) == config.get(key) for key in ("max_epochs", "max_steps", "callbacks"))
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError):
        return False

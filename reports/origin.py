"""Where a run's numbers come from, as the configs say that runs keep: which settings, which seeds, which data."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from reports.files import LARGEST, ReportError
from reports.results import Measured
from reports.wording import DEEPEST, printable, short

OWN = ("seed_everything", "name", "runs", "config", "ckpt_path", "weights_only", "trainer.default_root_dir",
       "trainer.logger", "trainer.enable_progress_bar", "trainer.enable_model_summary", "trainer.max_time",
       "trainer.log_every_n_steps", "checkpoints.every_minutes", "checkpoints.every_steps")  # fmt: skip
"""Of a config: what belongs to one run alone, or is how it was watched."""

OF_MACHINES = ("root", "num_workers", "eval_batch_size", "predict_images", "cache", "sbd")
"""Options of data sets that say where they lie and how they are read."""

OF_TRAINING = ("batch_size", "padding", "flip", "scale", "jitter", "lighting", "train", "train_samples", "min_area")
"""Options of data sets that change nothing in an evaluation; where there is an `eval_size`, `crop` is one, too."""

MOST = 10_000
"""Settings of a config; ours have some hundreds."""


@dataclass
class Origin:
    """What is known of a run beside its results.

    `network` is the run that trained it, `seeds` are those of its training and of its evaluation, `settings` its
    config and that of its training by dotted name, without what is one run's own; None where a config is not there.
    `options` are those of the evaluation's data, None where they are not known, `root` is the name of their folder.
    """

    network: str
    seeds: tuple[str, str]
    settings: dict[str, str] | None = None
    options: dict[str, str] | None = None
    root: str = ""


def origin(run: Path, results: Measured) -> Origin:
    """What the config of a run says, and that of the run that trained what it evaluated.

    Raises:
        ReportError: if a config is there that cannot be read.
    """
    fit = results.command not in ("validate", "test")
    trained_in = run if fit else _training_run(run, results)
    own = _config(run)
    training = own if fit else _config(trained_in) if trained_in else None
    data = {key.removeprefix("data.init_args."): text for key, text in (own or {}).items() if key.startswith("data.")}
    idle = (*OF_MACHINES, *OF_TRAINING, *(["crop"] if "eval_size" in data else []), "data.class_path")
    known = own is not None and training is not None
    return Origin(
        network=run.name if fit else trained_in.name if trained_in else results.network or run.name,
        seeds=((training or {}).get("seed_everything") or results.trained_seed, results.seed),
        settings={**_common(own or {}), **_common({} if fit else training or {}, "training's ")} if known else None,
        options={key: text for key, text in data.items() if key not in idle} if own else None,
        root=Path(data.get("root", "")).name,
    )


def _training_run(run: Path, results: Measured) -> Path | None:
    """The folder of the run whose checkpoint was evaluated: where it was, or beside the evaluation."""
    checkpoint = Path(results.checkpoint)
    there = checkpoint.parent.parent if checkpoint.parent.name == "checkpoints" else Path()
    name = results.network or there.name
    places = (there, run.parent / name) if name else ()
    return next((each for each in places if each.name == name and (each / "config.yaml").is_file()), None)


def _config(run: Path) -> dict[str, str] | None:
    """A run's config, flat; None where it has none."""
    path = run / "config.yaml"
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError(f"it is larger than {LARGEST >> 20} MiB")
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        flat: dict[str, str] = {}
        for key, value in _flat(content):
            flat[key] = value
            if len(flat) > MOST:
                raise ValueError(f"it has more than {MOST} settings")
        return flat
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise ReportError(f"{path}: no config of a run ({short(' '.join(str(error).split()))}); remove it") from None


def _flat(value: Any, key: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    if depth > DEEPEST:
        raise ValueError("it is nested too deeply")
    if isinstance(value, dict):
        for name, each in value.items():
            yield from _flat(each, f"{key}.{name}" if key else str(name), depth + 1)
    elif isinstance(value, list) and any(isinstance(each, dict | list) for each in value):
        for place, each in enumerate(value):
            yield from _flat(each, f"{key}.{place}", depth + 1)
    elif value is not None:  # null is what is not set
        yield printable(key), printable(str(value))


def _common(config: dict[str, str], prefix: str = "") -> dict[str, str]:
    """What is not one run's own; of names, such as a pretrained network's, without the number of a seed."""
    idle = (*OWN, *(f"data.init_args.{name}" for name in OF_MACHINES))
    return {
        prefix + key: re.sub(r"(seed[-_=]?)\d+", r"\1*", text)
        for key, text in config.items()
        if not any(key == name or key.startswith(f"{name}.") for name in idle)
    }

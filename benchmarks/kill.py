"""Whether a run that is killed anywhere, and gone on with, ends exactly as the one that was not.

Real `cli.py fit` runs, small, with PGD, a warm-up, a schedule, averaged weights, the guard, evaluation and inpainting;
of one process and of two, with and without workers, accumulation and a checkpoint each step. Each is killed up to
three times: by `kill -9`, SIGTERM, SIGUSR1 or an exception, at a random visit to a place of its own accord
(`trouble.PLACES`) or at any time from outside; in one process or in all. It goes on with `--ckpt_path last` until its
end. Equal to the undisturbed run must be, to the bit: weights, averaged weights, optimizer, schedule, callbacks,
metrics and pictures.

    python benchmarks/kill.py --kills 40 [--seed 0] [--folder KEPT]
"""

import argparse
import collections
import itertools
import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # a fork has no threads, so this process must have none
sys.path[:0] = [str(Path(__file__).parent.parent), str(Path(__file__).parent)]

from trouble import PLACES, PLUG, SIGNALS  # noqa: E402
from undisturbed import End, Setting, differences, elsewhere, launch  # noqa: E402

import training_cli  # noqa: E402, F401  what takes long, once

SETTINGS = (
    Setting(every_step=True),
    Setting(workers=2, accumulate=2, elsewhere=True),
    Setting(processes=2, accumulate=2, elsewhere=True),
    Setting(processes=2, workers=2, every_step=True),
)
KINDS = (*SIGNALS, "exception")
AT_A_TIME = 3
"""Kills of one run."""

VISITS = {"reading": 24, "train": 10, "attack": 20, "step": 6, "validation": 15, "painting": 8, "writing": 4}
"""Which of its visits to a place a process is killed at, at the latest; the last such is in the second epoch."""


EVERYWHERE = ("reading", "train", "attack", "step", "epoch end", "validation")
"""Where every process comes by; at the others, the first alone."""


def troubles(kills: int, chance: random.Random, longest: dict[Setting, float]) -> dict[Setting, list[dict[str, Any]]]:
    """Each kind at each place, in any order, dealt to the settings."""
    pairs = [pair for pair in itertools.product(KINDS, (*PLACES, "any time")) if pair != ("exception", "any time")]
    chance.shuffle(pairs)
    plan: dict[Setting, list[dict[str, Any]]] = {setting: [] for setting in longest}
    for (kind, place), setting in zip(itertools.islice(itertools.cycle(pairs), kills), itertools.cycle(plan)):
        ranks = [0] if kind == "exception" else [0, None]
        if setting.processes > 1 and place in EVERYWHERE:
            ranks.append(1)
        trouble: dict[str, Any] = {"kind": kind, "rank": chance.choice(ranks)}
        if place == "any time":
            trouble["after"] = chance.uniform(0.3, longest[setting])
        else:
            trouble |= {"place": place, "times": chance.randint(1, VISITS.get(place, 1))}
        plan[setting].append(trouble)
    return plan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=40, help="how many (40)")
    parser.add_argument("--seed", type=int, default=0, help="of what is killed when (0)")
    parser.add_argument("--folder", type=Path, help="where the runs are made, and stay")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp())
    try:
        measure(folder, options.kills, random.Random(options.seed))
    finally:
        if options.folder is None:
            shutil.rmtree(folder)


def measure(folder: Path, kills: int, chance: random.Random) -> None:
    longest = {}
    for number, setting in enumerate(SETTINGS[: kills or None]):
        (undisturbed := folder / f"undisturbed-{number}").mkdir(parents=True)
        begun = time.monotonic()
        end = launch(undisturbed, setting)
        if end.status:
            raise SystemExit(f"the undisturbed run failed:\n{end.output}")
        longest[setting] = time.monotonic() - begun
        print(f"{number}: {setting}; undisturbed {longest[setting]:.0f} s", flush=True)
    if elsewhere(folder) is None:
        print("no other file system here for temporary files: they lie on that of the runs")
    killed: collections.Counter[tuple[str, str]] = collections.Counter()
    identical: collections.Counter[tuple[str, str]] = collections.Counter()
    waited = [0.0]
    for number, (setting, queue) in enumerate(troubles(kills, chance, longest).items()):
        for run in itertools.count():
            if not queue:
                break
            (own := folder / f"run-{number}-{run}").mkdir(parents=True)
            came, notes = _disturb(own, setting, queue, waited)
            notes += differences(own, folder / f"undisturbed-{number}")
            for trouble in came:
                key = trouble["kind"], trouble.get("place", "any time")
                killed[key] += 1
                identical[key] += not notes
            print(f"{number}: {'; '.join(map(_told, came))}: {', '.join(notes) or 'identical'}", flush=True)
    _table(killed, identical)
    print(f"after a kill, all processes were gone within {max(waited):.0f} s")
    print(f"ratio {sum(identical.values()) / max(1, sum(killed.values())):.3f}")


def _disturb(
    folder: Path, setting: Setting, queue: list[dict[str, Any]], waited: list[float]
) -> tuple[list[dict[str, Any]], list[str]]:
    """Kill a run and go on with it, until it has come to its end; what befell it, and what should not have been."""
    came: list[dict[str, Any]] = []
    notes: list[str] = []
    while True:
        trouble = queue[0] if queue and len(came) < AT_A_TIME else None
        end = launch(folder, setting, trouble)
        (folder / f"output-{len(came)}").write_text(end.output)
        if trouble and end.came:
            came.append(queue.pop(0))
            notes += _ended_badly(end, trouble)
            waited.append(end.seconds or 0)
        elif end.status:
            return came, [*notes, f"exit status {end.status}"]
        if end.status == 0:
            if trouble and not end.came:  # it came to its end before
                trouble["times"] = max(1, trouble.get("times", 1) // 2)
            return came, notes


def _ended_badly(end: End, trouble: dict[str, Any]) -> list[str]:
    found = ["hangs"] * (end.seconds is None)
    if trouble["kind"] == "exception" and PLUG not in end.output:
        found.append("no reason printed")
    if trouble["kind"] == "exception" and end.status == 0:
        found.append("exit status 0 after an exception")
    if "gloo/" in end.output:  # that another process is gone is said in a line
        found.append("a traceback of the connection")
    return found


def _told(trouble: dict[str, Any]) -> str:
    where = f"{trouble['after']:.1f} s" if "after" in trouble else f"{trouble['place']} {trouble['times']}"
    rank = {None: "all", 0: "first", 1: "second"}[trouble["rank"]]
    return f"{trouble['kind']} at {where} ({rank})"


def _table(killed: collections.Counter[tuple[str, str]], identical: collections.Counter[tuple[str, str]]) -> None:
    print(f"{'identical/killed':12}" + "".join(f"{kind:>12}" for kind in KINDS))
    for place in (*PLACES, "any time"):
        row = [f"{identical[kind, place]}/{killed[kind, place]}" if killed[kind, place] else "" for kind in KINDS]
        print(f"{place:16}" + "".join(f"{cell:>12}" for cell in row))


if __name__ == "__main__":
    main()

"""What an adversarial training step of two processes costs, against one process with the same work per process.

The real Trainer with `Attack`, K-step PGD, and all that makes a run resumable; one thread each. Measured in turns, in
new processes: one alone, two that know nothing of each other, two that train together (DDP over gloo). What separates
the first two is the machine (cores, caches, memory), what separates the last two is communication and waiting for the
slower. The ratio is that of a step alone to one together: 1 would be free. Valid where nothing else runs; the CPU time
of a step is told besides, which others on the machine change little.

Collectives inside the attack are counted as the profiler sees them, those of torch's C++ parts included.

    python benchmarks/ddp.py            FCN-ResNet50, 2 x 3 x 224 x 224 per process, K = 3, three turns of six steps
    python benchmarks/ddp.py --quick    a small FCN on small images
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).parent.parent))

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.profilers import SimpleProfiler
from torch.profiler import ProfilerActivity, profile, record_function

from attacks import PGD, Linf
from callbacks import Attack, Checkpoints, EvaluationDue, ExactResume
from callbacks.whole_files import WholeFiles
from datamodules import Shapes
from lightning_modules import Classifier, Network

WARM_UP = 2
"""Steps before those measured."""


class Marked(Attack):
    """The real one, with a mark around it for the profiler."""

    def on_train_batch_start(self, *args: Any) -> None:
        with record_function("attack"):
            super().on_train_batch_start(*args)


class Clock(Callback):
    """Begins each step, takes its parts, and has the last one profiled."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.begun: list[tuple[float, float]] = []
        self.attack: list[float] = []
        self.profile = profile(activities=[ProfilerActivity.CPU])
        self.profiled = False

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.begun.append((time.perf_counter(), time.process_time()))
        if batch_idx == self.steps + WARM_UP:
            self.profile.start()
            self.profiled = True

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.attack.append(next(each.seconds for each in trainer.callbacks if isinstance(each, Attack)))  # type: ignore

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.profile.stop()

    def collectives(self) -> tuple[int, int]:
        """Those of the profiled step, and those of them inside its attack."""
        events = list(self.profile.events())
        attack = next(event.time_range for event in events if event.name == "attack")
        times = [event.time_range.start for event in events if event.name.startswith("c10d::")]
        return len(times), sum(attack.start <= begun <= attack.end for begun in times)


def measure(processes: int, quick: bool, output: Path) -> None:
    """Train, and have the first process write what a step took."""
    name, batch, size, k, steps = ("fcn_small", 4, 64, 3, 12) if quick else ("fcn_resnet50", 2, 224, 3, 6)
    warnings.filterwarnings("ignore")
    torch.manual_seed(0)
    torch.set_num_threads(1)
    clock, profiler = Clock(steps), SimpleProfiler()
    module = Classifier(Network(name, 5), optimizer=lambda p: torch.optim.SGD(p, lr=1e-6, momentum=0.9))
    always: list[Callback] = [clock, ExactResume(), EvaluationDue(), Marked(PGD(Linf(0.03), k, step_size=0.01))]
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            default_root_dir=folder,
            accelerator="cpu",
            devices=processes,
            strategy="ddp" if processes > 1 else "auto",
            max_steps=steps + WARM_UP + 1,
            limit_val_batches=0,
            logger=False,
            enable_model_summary=False,
            enable_progress_bar=False,
            profiler=profiler,
            plugins=[WholeFiles()],
            callbacks=[*always, Checkpoints(every_minutes=1e6)],
        )
        samples = (steps + WARM_UP + 1) * batch * processes
        trainer.fit(
            module, datamodule=Shapes(train_samples=samples, val_samples=1, size=size, batch_size=batch, num_workers=0)
        )
    if not trainer.is_global_zero:
        return
    wall, cpu = ([after - before for before, after in pairwise(times)] for times in zip(*clock.begun, strict=True))
    data = next(times for name, times in profiler.recorded_durations.items() if "dataloader_next" in name)
    found = {"wall": wall, "cpu": cpu, "attack": clock.attack, "data": data}
    content: dict[str, Any] = {name: values[WARM_UP : WARM_UP + steps] for name, values in found.items()}
    output.write_text(json.dumps(content | {"collectives": clock.collectives()}))


def turn(folder: Path, quick: bool, processes: int, copies: int = 1) -> dict[str, Any]:
    """Measure in new processes: so many copies at once, the first of which tells."""
    command = [sys.executable, __file__, *(["--quick"] if quick else []), "--measure", str(processes)]
    outputs = [folder / f"{copy}.json" for copy in range(copies)]
    running = [
        subprocess.Popen([*command, "--output", output], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for output in outputs
    ]
    errors = [each.communicate()[1] for each in running]
    if any(each.returncode for each in running):
        raise SystemExit(errors[0].decode())
    found: dict[str, Any] = json.loads(outputs[0].read_text())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a small network, to see that it runs")
    parser.add_argument("--turns", type=int, default=3, help="how often each is measured (3; quick: once)")
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure, options.quick, options.output)
        return
    ways = {"one alone": (1, 1), "two apart": (1, 2), "two together": (2, 1)}
    found: dict[str, dict[str, list[float]]] = {way: {} for way in ways}
    collectives = (0, 0)
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(1 if options.quick else options.turns):
            for way, (processes, copies) in ways.items():
                measured = turn(Path(folder), options.quick, processes, copies)
                total, inside = measured.pop("collectives")
                collectives = max(collectives[0], total), max(collectives[1], inside)
                for part, seconds in measured.items():
                    found[way].setdefault(part, []).extend(seconds)
    median = {way: {part: statistics.median(values) for part, values in parts.items()} for way, parts in found.items()}
    print(f"{'seconds of a step':18}{'wall':>8}{'CPU':>8}{'attack':>8}{'data':>8}")
    for way, parts in median.items():
        print(f"{way:18}" + "".join(f"{parts[part]:8.3f}" for part in ("wall", "cpu", "attack", "data")))
    alone, apart, together = median.values()
    for part in ("attack", "data"):
        print(f"{part}: {together[part] / together['wall']:.1%} of a step together")
    print(f"communication and waiting: {(together['wall'] - apart['wall']) / together['wall']:.1%}")
    print(f"collectives: {collectives[0]} in a step, {collectives[1]} of them inside the attack")
    print(f"by CPU time {alone['cpu'] / together['cpu']:.3f}; by two apart {apart['wall'] / together['wall']:.3f}")
    print(f"ratio {alone['wall'] / together['wall']:.3f}")


if __name__ == "__main__":
    main()

"""What a step of painting costs, as a ratio to its floor, and beside the `robustness` library's; and its memory.

Measured: inpainting and inversion through `Synthesis.synthesize`, which paints with the network's twin. The floor, in a
bare loop: forward and gradient to the image of the network itself, in float32. Both run in one process, in turns of one
step; the ratio is the median of those of neighbouring steps. Where robustness 1.2.1 can be imported, its `Attacker`
takes the same steps from the same start down the same objective, in turns with the same floor; its time is set beside
ours, and what both reach. Absolute times mean nothing elsewhere. Memory is the highest above the resting process, of a
process each, for a batch of 16.

    python benchmarks/synthesis.py               FCN-ResNet50 and ResNet-50, 2 x 3 x 224 x 224
    python benchmarks/synthesis.py --twin bf16   in bfloat16, where the processor has it; off: with the network itself
    python benchmarks/synthesis.py --quick       small networks on small images

What it takes for robustness (its import asks for what its attacks do not use):

    pip install --target peer --no-deps robustness==1.2.1 cox dill pandas python-dateutil six tensorboardX tqdm
    PYTHONPATH=peer python benchmarks/synthesis.py
"""

import argparse
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent.parent))

from memory import highest_above_rest

from attacks.objectives import Objective
from attacks.seeds import mix
from attacks.twin import Kind, has_bf16
from callbacks import Inpainting, Inversion, Synthesis
from lightning_modules import Network

EPS, STEP_SIZE = 1000.0, 0.1
CASES: dict[str, tuple[type[Synthesis], str, str]] = {
    "inpainting of label maps": (Inpainting, "fcn_resnet50", "fcn_small"),
    "inpainting of image labels": (Inpainting, "resnet50", "resnet_small"),
    "inversion": (Inversion, "resnet50", "resnet_small"),
}
"""What is painted, and with which network: in earnest, and to see that it runs."""


@dataclass
class Turns:
    """Steps of a contender in turns with those of the floor, each timed."""

    floor: Callable[[], None]
    seconds: list[float] = field(default_factory=list)
    floors: list[float] = field(default_factory=list)
    since: float | None = None

    def tick(self, _: int = 1) -> None:
        """To be called where a step begins: the one before has ended."""
        now = time.perf_counter()
        if self.since is not None:
            self.seconds.append(now - self.since)
        start = time.perf_counter()
        self.floor()
        self.since = time.perf_counter()
        self.floors.append(self.since - start)

    def ratios(self) -> list[float]:
        """Step i lies between the floor's i and i + 1, and is compared with their mean; the first two warm up."""
        pairs = zip(self.seconds, pairwise(self.floors), strict=True)
        return sorted(seconds / (sum(around) / 2) for seconds, around in list(pairs)[2:])


class Case:
    """A task, its network and a batch of noise: what is in a picture does not change what a step costs."""

    def __init__(self, name: str, quick: bool, steps: int, twin: Kind, batch: int = 2) -> None:
        kind, in_earnest, small = CASES[name]
        self.architecture = small if quick else in_earnest
        size, classes = (64, 5) if quick else (224, 21)
        torch.manual_seed(0)
        self.network = Network(self.architecture, classes).eval()
        self.task = kind(EPS, steps, STEP_SIZE, twin=twin)
        image = torch.rand(batch, 3, size, size)
        label = torch.randint(0, classes, (batch, size, size) if "fcn" in self.architecture else (batch,))
        self.batch = {"image": image, "label": label, "index": torch.arange(batch)}

    def floor(self) -> None:
        """Forward and gradient to the image."""
        image = self.batch["image"].detach().requires_grad_()
        loss = nn.functional.cross_entropy(self.network(image), self.batch["label"])
        torch.autograd.grad(loss, image)

    def paint(self, tick: Callable[[int], None] = lambda steps: None) -> Tensor:
        self.task.tick = tick
        (painting,) = self.task.synthesize(self.network, self.batch)
        return painting.result

    def plan(self) -> tuple[Tensor, Objective]:
        """What is to be painted: the start, and what is to be lowered."""
        plan = next(self.task.plans(self.network, self.batch, mix(self.batch["index"])))
        return plan.start, plan.objective


def robustness_paints(attacker: Any, case: Case, tick: Callable[[int], None]) -> Tensor:
    """The same by robustness; it moves the image to a GPU, which need not be there."""
    start, objective = case.plan()

    def loss(model: nn.Module, image: Tensor, target: Tensor) -> tuple[Tensor, None]:
        tick(1)
        return objective(image, 0.0)[0], None

    options = {"constraint": "2", "eps": EPS, "step_size": STEP_SIZE, "iterations": case.task.steps}
    with mock.patch.object(Tensor, "cuda", lambda tensor: tensor):
        return attacker(
            start,
            case.batch["label"],
            custom_loss=loss,
            targeted=True,
            should_normalize=False,
            use_best=False,
            **options,
        )


def find_robustness() -> Callable[[nn.Module], Any] | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from robustness.attacker import Attacker
    except ImportError as error:
        print(f"robustness is not measured: {error}")
        return None
    return lambda network: Attacker(network, SimpleNamespace(mean=torch.zeros(3), std=torch.ones(3)))


def measure(name: str, quick: bool, steps: int, twin: Kind, peer: Callable[[nn.Module], Any] | None) -> float:
    case = Case(name, quick, steps, twin)
    case.floor()  # to warm up
    turns = Turns(case.floor)
    result = case.paint(turns.tick)
    ratios = turns.ratios()
    ratio = statistics.median(ratios)
    per_image = statistics.median(turns.seconds[2:]) / len(result)
    print(f"{name}, {case.architecture}: {per_image:.4f} s an image and step; ratio {ratio:.3f} {quartiles(ratios)}")
    if peer is not None:
        theirs = Turns(case.floor)
        reached = robustness_paints(peer(case.network), case, theirs.tick)
        ratios = theirs.ratios()
        start, objective = case.plan()
        with torch.no_grad():
            first, ours, other = (objective(image, 1.0)[0].mean().item() for image in (start, result, reached))
        beside = ratio / statistics.median(ratios)
        print(f"    robustness: ratio {statistics.median(ratios):.3f} {quartiles(ratios)}; we take {beside:.3f} of it")
        print(f"    objective: {first:.4g} at the start, then ours {ours:.4g}, robustness {other:.4g}")
    return ratio


def quartiles(ratios: list[float]) -> str:
    return f"(quartiles {ratios[len(ratios) // 4]:.3f} to {ratios[3 * len(ratios) // 4]:.3f})"


def memory(name: str, quick: bool, twin: Kind) -> None:
    """How much more memory painting takes than the floor, as a ratio."""
    peaks = []
    for what in ("floor", "paint"):
        command = [sys.executable, __file__, "--memory", name, what, "--twin", twin, *(["--quick"] if quick else [])]
        answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        peaks.append(float(answer.split()[-1]))
    ratio = peaks[1] / peaks[0]
    print(f"    memory of 16 images: floor {peaks[0]:.0f} MiB, painting {peaks[1]:.0f} MiB, ratio {ratio:.3f}")


def highest(name: str, what: str, quick: bool, twin: Kind) -> float:
    """In a process of its own: the highest memory above that at rest, in MiB."""
    case = Case(name, quick, steps=3, twin=twin, batch=16)
    image, label = case.batch["image"], case.batch["label"]

    def one() -> None:
        case.batch = {"image": image[:1], "label": label[:1], "index": torch.arange(1)}
        both()

    def both() -> None:
        case.floor() if what == "floor" else case.paint()
        case.batch = {"image": image, "label": label, "index": torch.arange(16)}

    return highest_above_rest(one, both)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--twin", choices=["exact", "bf16", "off"], default="exact")
    parser.add_argument("--quick", action="store_true", help="small networks, to see that it runs")
    parser.add_argument("--steps", type=int, help="how many steps are measured")
    parser.add_argument("--memory", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    if arguments.memory:
        name, what = arguments.memory
        print(highest(name, what, arguments.quick, arguments.twin))
        return
    steps = arguments.steps or (12 if arguments.quick else 30)
    print(f"twin {arguments.twin}, {torch.get_num_threads()} threads, {steps} steps")
    if arguments.twin == "bf16" and not has_bf16(torch.device("cpu")):
        print("this processor has no instructions for bfloat16: the exact twin is measured, in float32")
    peer, ratios = find_robustness(), []
    for name in CASES:
        ratios.append(measure(name, arguments.quick, steps, arguments.twin, peer))
        if not arguments.quick or len(ratios) == 1:
            memory(name, arguments.quick, arguments.twin)
    print(f"ratio {max(ratios):.3f}")


if __name__ == "__main__":
    main()

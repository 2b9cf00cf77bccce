"""What an adversarial training step costs, as a ratio to its floor in float32, and beside torchattacks'.

Measured: the real Trainer with the real `Attack` callback, K-step PGD, `Classifier`, SGD. The floor, in a bare loop:
K x (forward + backward to the image) + one plain training step, in float32 and torch's own memory format. torchattacks,
if it is installed: its PGD, and the same training step. All run in one process, in turns of one step; a ratio is the
median of those of neighbouring steps. Absolute times mean nothing elsewhere. Memory is the highest of an attack above
the resting process, of a process each.

    python benchmarks/attack_step.py                       FCN-ResNet50, 2 x 3 x 224 x 224, K = 3, the exact twin
    python benchmarks/attack_step.py --twin bf16           attack and training in bfloat16, where the processor has it
    python benchmarks/attack_step.py --network resnet18    16 x 3 x 64 x 64, K = 7
    python benchmarks/attack_step.py --network fcn_small   16 x 3 x 96 x 96, K = 3
    python benchmarks/attack_step.py --quick               a small FCN on small images
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

sys.path.insert(0, str(Path(__file__).parent.parent))

from memory import highest_above_rest

from attacks import PGD, Linf
from attacks.twin import Kind, at_rest, has_bf16
from callbacks import Attack
from lightning_modules import Classifier, Network

EPS, STEP_SIZE, CLASSES = 0.03, 0.01, 21
SIZES = {"fcn_resnet50": (2, 224, 3, 13), "resnet18": (16, 64, 7, 20), "fcn_small": (16, 96, 3, 20)}
"""Batch, side of the images, K, and turns."""


class Noise(Dataset[dict[str, Any]]):
    """Samples of noise: what is in a picture does not change what a step costs."""

    def __init__(self, length: int, size: int, dense: bool = True) -> None:
        self.length = length
        generator = torch.Generator().manual_seed(0)
        self.image = torch.rand(3, size, size, generator=generator)
        self.label = torch.randint(0, CLASSES, (size, size) if dense else (), generator=generator)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"image": self.image, "label": self.label, "index": index}


class Plain:
    """A training step as it is written by hand, with an attack before it."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.optimizer = torch.optim.SGD(network.parameters(), lr=1e-6, momentum=0.9, weight_decay=1e-4)
        self.attack_seconds: list[float] = []
        self.train_seconds: list[float] = []

    def attack(self, image: Tensor, label: Tensor) -> Tensor:
        raise NotImplementedError

    def step(self, image: Tensor, label: Tensor) -> None:
        start = time.perf_counter()
        image = self.attack(image, label).detach()
        middle = time.perf_counter()
        self.network.train()
        loss = nn.functional.cross_entropy(self.network(image), label)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.attack_seconds.append(middle - start)
        self.train_seconds.append(time.perf_counter() - middle)

    @property
    def seconds(self) -> list[float]:
        return [sum(parts) for parts in zip(self.attack_seconds, self.train_seconds, strict=True)]


class Floor(Plain):
    """The least that a K-step adversarial training step needs in float32."""

    def __init__(self, network: nn.Module, steps: int) -> None:
        super().__init__(network)
        self.steps = steps

    def attack(self, image: Tensor, label: Tensor) -> Tensor:
        self.network.eval()
        for _ in range(self.steps):
            image = image.detach().requires_grad_()
            loss = nn.functional.cross_entropy(self.network(image), label)
            torch.autograd.grad(loss, image)
        return image


class Torchattacks(Plain):
    """The peer's PGD."""

    def __init__(self, network: nn.Module, steps: int) -> None:
        super().__init__(network)
        import torchattacks

        self.pgd = torchattacks.PGD(network, eps=EPS, alpha=STEP_SIZE, steps=steps)

    def attack(self, image: Tensor, label: Tensor) -> Tensor:
        adversarial: Tensor = self.pgd(image, label)
        return adversarial


class Timed(Classifier):
    """The real module; between two of its steps the others run, outside the time measured."""

    def __init__(self, network: nn.Module, others: list[Plain]) -> None:
        super().__init__(network, optimizer=lambda p: torch.optim.SGD(p, lr=1e-6, momentum=0.9, weight_decay=1e-4))
        self.others = others  # no modules: their networks are no part of this one
        self.seconds: list[float] = []
        self._since: float | None = None

    def on_train_batch_end(self, outputs: Any, batch: dict[str, Any], batch_idx: int) -> None:
        if self._since is not None:
            self.seconds.append(time.perf_counter() - self._since)
        for other in self.others:
            other.step(batch["clean"], batch["label"])
        self._since = time.perf_counter()


def ratios(seconds: list[float], floors: list[float]) -> list[float]:
    """Step i + 1 lies between the floor's steps i and i + 1 and is compared with their mean; two turns warm up."""
    pairs = zip(seconds, pairwise(floors), strict=True)
    return sorted(each / (sum(around) / 2) for each, around in list(pairs)[2:])


def memory(name: str, twin: Kind, quick: bool) -> None:
    """What an attack takes above the resting process, its twin at rest, in MiB."""
    for what in ("floor", twin):
        arguments = ["--memory", what, "--network", name, *(["--quick"] if quick else [])]
        found = subprocess.run([sys.executable, __file__, *arguments], capture_output=True, text=True, check=True)
        print(f"memory of the attack, {what}: {float(found.stdout.split()[-1]):.0f} MiB above the resting process")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--twin", choices=["exact", "bf16", "off"], default="exact")
    parser.add_argument("--network", choices=list(SIZES), default="fcn_resnet50")
    parser.add_argument("--turns", type=int, help="how many steps are measured")
    parser.add_argument("--quick", action="store_true", help="a small network, to see that it runs")
    parser.add_argument("--memory", help=argparse.SUPPRESS)
    options = parser.parse_args()
    name, twin = "fcn_small" if options.quick else options.network, options.twin
    batch, size, steps, turns = (4, 64, 3, 8) if options.quick else SIZES[name]
    turns = options.turns or turns

    warnings.filterwarnings("ignore")
    torch.manual_seed(0)
    data = Noise((turns + 3) * batch, size, "fcn" in name)
    if options.memory:
        images, labels = (torch.stack([data[0][key]] * batch) for key in ("image", "label"))
        print(attack_memory(Network(name, CLASSES).eval(), options.memory, images, labels, steps))
        return
    if twin == "bf16" and not has_bf16(torch.device("cpu")):
        print("this processor has no instructions for bfloat16: the exact twin is measured, in float32")
    bf16 = twin == "bf16" and has_bf16(torch.device("cpu"))
    others: list[Plain] = [Floor(Network(name, CLASSES), steps)]
    try:
        others.append(Torchattacks(Network(name, CLASSES), steps))
    except ImportError as error:
        print(f"torchattacks is not measured: {error}")
    module = Timed(Network(name, CLASSES, channels_last=bf16), others)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            default_root_dir=folder,
            accelerator="cpu",
            precision="bf16-mixed" if bf16 else "32-true",
            max_steps=turns + 3,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
            callbacks=[Attack(PGD(Linf(EPS), steps, step_size=STEP_SIZE), twin=twin)],
        )
        trainer.fit(module, DataLoader(data, batch))

    print(f"{name}, {batch} x 3 x {size} x {size}, K = {steps}, {torch.get_num_threads()} threads, {turns} turns")
    floor = others[0]
    attack, train = statistics.median(floor.attack_seconds[2:]), statistics.median(floor.train_seconds[2:])
    print(f"floor in float32: attack {attack:.3f} s + training step {train:.3f} s")
    found = ratios(module.seconds, floor.seconds)
    for other in others[1:]:
        beside = [one / two for one, two in zip(module.seconds[2:], other.seconds[2:], strict=False)]
        theirs = statistics.median(one / two for one, two in zip(other.seconds[2:], floor.seconds[2:], strict=True))
        print(f"torchattacks: ratio {theirs:.3f}; we take {statistics.median(beside):.3f} of it")
    real = statistics.median(module.seconds[2:])
    print(f"Trainer with Attack, twin {twin}: {real:.3f} s; ratio of neighbouring steps: {quartiles(found)}")
    memory(name, twin, options.quick)
    print(f"ratio {statistics.median(found):.3f}")


def quartiles(found: list[float]) -> str:
    return f"quartiles {found[len(found) // 4]:.3f} to {found[3 * len(found) // 4]:.3f}"


def attack_memory(network: nn.Module, what: Any, image: Tensor, label: Tensor, steps: int) -> float:
    """In a process of its own: the highest memory of an attack above that at rest, the twin made, in MiB."""

    def run(image: Tensor, label: Tensor) -> None:
        if what == "floor":
            Floor(network, steps).attack(image, label)
            return
        with at_rest(network, image, what) as stand_in:
            PGD(Linf(EPS), steps, step_size=STEP_SIZE)(stand_in, image, label)

    few = label[:1] if label.ndim == 1 else label[:1, :32, :32]
    return highest_above_rest(lambda: run(image[:1, :, :32, :32], few), lambda: run(image, label))


if __name__ == "__main__":
    main()

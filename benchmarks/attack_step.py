"""What an adversarial training step costs, as a ratio to its floor.

Measured: the real Trainer with the real `Attack` callback, K-step PGD, `Classifier`, SGD. The floor, in a bare loop:
K x (forward + backward to the image) + one plain training step. Both run in one process, in turns of one step; the
ratio is the median of those of neighbouring steps. Absolute times mean nothing elsewhere.

    python benchmarks/attack_step.py            FCN-ResNet50, 2 x 3 x 224 x 224, K = 3
    python benchmarks/attack_step.py --quick    a small FCN on small images
"""

import argparse
import statistics
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

from attacks import PGD, Linf
from callbacks import Attack
from lightning_modules import Classifier, Network

EPS = 0.03


class Noise(Dataset[dict[str, Any]]):
    """Samples of noise: what is in a picture does not change what a step costs."""

    def __init__(self, length: int, size: int) -> None:
        self.length = length
        generator = torch.Generator().manual_seed(0)
        self.image = torch.rand(3, size, size, generator=generator)
        self.label = torch.randint(0, 21, (size, size), generator=generator)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"image": self.image, "label": self.label, "index": index}


class Floor:
    """The least that a K-step adversarial training step needs, timed by its parts."""

    def __init__(self, network: nn.Module, steps: int) -> None:
        self.network, self.steps = network, steps
        self.optimizer = torch.optim.SGD(network.parameters(), lr=1e-6, momentum=0.9, weight_decay=1e-4)
        self.attack_seconds: list[float] = []
        self.train_seconds: list[float] = []

    def step(self, image: Tensor, label: Tensor) -> None:
        start = time.perf_counter()
        self.network.eval()
        for _ in range(self.steps):
            image = image.detach().requires_grad_()
            loss = nn.functional.cross_entropy(self.network(image), label)
            torch.autograd.grad(loss, image)
        middle = time.perf_counter()
        self.network.train()
        output = self.network(image.detach())
        loss = nn.functional.cross_entropy(output, label)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.attack_seconds.append(middle - start)
        self.train_seconds.append(time.perf_counter() - middle)


class Timed(Classifier):
    """The real module; between two of its steps the floor runs, outside the time measured."""

    def __init__(self, network: nn.Module, floor: Floor) -> None:
        super().__init__(network, optimizer=lambda p: torch.optim.SGD(p, lr=1e-6, momentum=0.9, weight_decay=1e-4))
        self.floor = [floor]  # in a list: its network is no part of this module
        self.seconds: list[float] = []
        self._since: float | None = None

    def on_train_batch_end(self, outputs: Any, batch: dict[str, Any], batch_idx: int) -> None:
        if self._since is not None:
            self.seconds.append(time.perf_counter() - self._since)
        self.floor[0].step(batch["clean"], batch["label"])
        self._since = time.perf_counter()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a small network, to see that it runs")
    quick = parser.parse_args().quick
    name, batch, size, steps, turns = ("fcn_small", 4, 64, 3, 30) if quick else ("fcn_resnet50", 2, 224, 3, 13)

    warnings.filterwarnings("ignore")
    torch.manual_seed(0)
    floor = Floor(Network(name, 21), steps)
    module = Timed(Network(name, 21), floor)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            default_root_dir=folder,
            accelerator="cpu",
            max_steps=turns + 3,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
            callbacks=[Attack(PGD(Linf(EPS), steps, step_size=0.01))],
        )
        trainer.fit(module, DataLoader(Noise((turns + 3) * batch, size), batch))

    # Real step i + 1 lies between the floor's steps i and i + 1 and is compared with their mean; two turns warm up.
    floors = [sum(parts) for parts in zip(floor.attack_seconds, floor.train_seconds, strict=True)]
    pairs = [(seconds, sum(around) / 2) for seconds, around in zip(module.seconds, pairwise(floors), strict=True)]
    ratios = sorted(seconds / least for seconds, least in pairs[2:])
    attack, train = statistics.median(floor.attack_seconds[2:]), statistics.median(floor.train_seconds[2:])
    real = statistics.median(module.seconds[2:])
    print(
        f"{name}, {batch} x 3 x {size} x {size}, K = {steps}, float32, {torch.get_num_threads()} threads, {turns} turns"
    )
    print(f"floor: attack {attack:.3f} s + training step {train:.3f} s; Trainer with Attack: {real:.3f} s")
    print(
        f"ratio of neighbouring steps: quartiles {ratios[len(ratios) // 4]:.3f} to {ratios[3 * len(ratios) // 4]:.3f}"
    )
    print(f"ratio {statistics.median(ratios):.3f}")


if __name__ == "__main__":
    main()

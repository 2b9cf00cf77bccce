"""What a step of training on input gradients costs, as a ratio to its floor.

Measured: the real Trainer with `Classifier` and the loss `GradientAlignment`, one target an image. The floor, in a bare
loop: one forward, one gradient to the image with a graph of its own, one backward through both, one step of SGD. Both
run in one process, in turns of one step; the ratio is the median of those of neighbouring steps.

    python benchmarks/gradient_step.py            FCN-ResNet50, 2 x 3 x 224 x 224
    python benchmarks/gradient_step.py --quick    a small FCN on small images
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
import torch.nn.functional as F
from lightning.pytorch import Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader

sys.path.insert(0, str(Path(__file__).parent.parent))

from attack_step import Noise

from attacks.exemplars import Exemplars
from lightning_modules import Classifier, GradientAlignment, Network


class Floor:
    """The least that a step needs whose loss has a cosine with the input gradient in it."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network.train()
        self.optimizer = torch.optim.SGD(network.parameters(), lr=1e-6, momentum=0.9, weight_decay=1e-4)
        self.seconds: list[float] = []

    def step(self, image: Tensor, label: Tensor) -> None:
        start = time.perf_counter()
        image = image.detach().requires_grad_()
        logits = self.network(image)
        loss = F.cross_entropy(logits, label)
        (gradient,) = torch.autograd.grad(loss, image, create_graph=True)
        (loss + F.cosine_similarity(gradient.flatten(1), image.detach().flatten(1)).mean()).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.seconds.append(time.perf_counter() - start)


class Timed(Classifier):
    """The real module; between two of its steps the floor runs, outside the time measured."""

    def __init__(self, network: nn.Module, loss: GradientAlignment, floor: Floor) -> None:
        super().__init__(network, loss, lambda p: torch.optim.SGD(p, lr=1e-6, momentum=0.9, weight_decay=1e-4))
        self.floor = [floor]  # in a list: its network is no part of this module
        self.seconds: list[float] = []
        self._since: float | None = None

    def on_train_batch_end(self, outputs: Any, batch: dict[str, Any], batch_idx: int) -> None:
        if self._since is not None:
            self.seconds.append(time.perf_counter() - self._since)
        self.floor[0].step(batch["image"], batch["label"])
        self._since = time.perf_counter()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a small network, to see that it runs")
    quick = parser.parse_args().quick
    name, batch, size, turns = ("fcn_small", 2, 64, 12) if quick else ("fcn_resnet50", 2, 224, 13)

    warnings.filterwarnings("ignore")
    torch.manual_seed(0)
    loss, floor = GradientAlignment(), Floor(Network(name, 21))
    loss.exemplars = Exemplars(Noise(1, size), 21, per_class=1)
    module = Timed(Network(name, 21), loss, floor)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            default_root_dir=folder,
            accelerator="cpu",
            max_steps=turns + 3,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
        )
        trainer.fit(module, DataLoader(Noise((turns + 3) * batch, size), batch))

    # Real step i + 1 lies between the floor's steps i and i + 1 and is compared with their mean; two turns warm up.
    pairs = [(real, sum(around) / 2) for real, around in zip(module.seconds, pairwise(floor.seconds), strict=True)]
    ratios = sorted(real / least for real, least in pairs[2:])
    print(f"{name}, {batch} x 3 x {size} x {size}, float32, {torch.get_num_threads()} threads, {turns} turns")
    real, least = statistics.median(module.seconds[2:]), statistics.median(floor.seconds[2:])
    print(f"floor: {least:.3f} s; Trainer with GradientAlignment: {real:.3f} s")
    print(
        f"ratio of neighbouring steps: quartiles {ratios[len(ratios) // 4]:.3f} to {ratios[3 * len(ratios) // 4]:.3f}"
    )
    print(f"ratio {statistics.median(ratios):.3f}")


if __name__ == "__main__":
    main()

"""What a step of an evaluation attack costs, as a ratio to its floor.

Measured: APGD and the three attacks of SEA on label maps, on the network's twin as in an evaluation. The floor, in a
bare loop: as many forwards, and gradients to the image of plain cross-entropy, as the attack made, of the network
itself. Both run in one process, in turns; the ratio of an attack is the median over turns, and the last line is that of
the dearest attack. Absolute times mean nothing elsewhere.

    python benchmarks/evaluation.py             FCN-ResNet50, 2 x 3 x 224 x 224
    python benchmarks/evaluation.py --twin off  the network itself is attacked
    python benchmarks/evaluation.py --quick     a small FCN on small images
"""

import argparse
import statistics
import sys
import time
import warnings
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent.parent))

from attacks import APGD, SEA, BalancedMaskedCrossEntropy, Cost, JensenShannon, Linf, MaskedCrossEntropy, counted
from attacks.twin import at_rest
from lightning_modules import Network

CLASSES = 21
BALL = Linf(0.03)


def floor(network: nn.Module, image: Tensor, label: Tensor, cost: Cost) -> None:
    """As many forwards and gradients to the image, and nothing else."""
    for _ in range(cost.backwards // len(image)):
        image = image.detach().requires_grad_()
        loss = nn.functional.cross_entropy(network(image), label)
        torch.autograd.grad(loss, image)
    with torch.no_grad():
        for _ in range((cost.forwards - cost.backwards) // len(image)):
            network(image)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--twin", choices=["exact", "off"], default="exact")
    parser.add_argument("--quick", action="store_true", help="a small network, to see that it runs")
    options = parser.parse_args()
    quick, twin = options.quick, options.twin
    name, size, steps, turns = ("fcn_small", 64, 6, 3) if quick else ("fcn_resnet50", 224, 6, 5)

    warnings.filterwarnings("ignore")
    torch.manual_seed(0)
    network = Network(name, CLASSES).eval()
    image, label = torch.rand(2, 3, size, size), torch.randint(0, CLASSES, (2, size, size))
    balanced = partial(BalancedMaskedCrossEntropy, pixels=[1.0] * CLASSES)
    attacks = {
        "APGD": APGD(BALL, steps),
        "SEA, MCE": SEA(BALL, MaskedCrossEntropy, steps),
        "SEA, MCE-Bal": SEA(BALL, balanced, steps),
        "SEA, JS": SEA(BALL, JensenShannon, steps),
    }
    print(
        f"{name}, 2 x 3 x {size} x {size}, {steps} steps, twin {twin}, float32, "
        f"{torch.get_num_threads()} threads, {turns} turns"
    )
    medians = []
    for title, attack in attacks.items():
        with at_rest(network, image, twin):
            pass  # its first look is not what is measured
        with at_rest(network, image, twin) as stand_in, counted(stand_in) as cost:
            attack(stand_in, image, label)  # to warm up, and to know the floor
        pairs = []
        for _ in range(turns):
            start = time.perf_counter()
            with at_rest(network, image, twin) as stand_in:
                attack(stand_in, image, label)
            middle = time.perf_counter()
            floor(network, image, label, cost)
            pairs.append((middle - start, time.perf_counter() - middle))
        ratios = sorted(seconds / least for seconds, least in pairs)
        medians.append(statistics.median(ratios))
        seconds, least = (statistics.median(column) for column in zip(*pairs, strict=True))
        spread = f"{ratios[0]:.3f} to {ratios[-1]:.3f}"
        print(f"{title}: {seconds:.3f} s, floor {least:.3f} s, ratio {medians[-1]:.3f} ({spread})")
    print(f"ratio {max(medians):.3f}")


if __name__ == "__main__":
    main()

#!/usr/bin/env bash
# torch 2.15.0, torchattacks 3.5.1: the same seed and equal images in another memory format give other noise, and so
# another attack.
#
# Met with: networks in channels_last, as is advised for speed, beside the same networks in torch's own format.
# One would expect: that a seed and a shape make the noise, whatever the strides; `torch.bernoulli` keeps to that.
# Seen: `rand_like`, `randn_like`, `uniform_` and `dropout` fill memory in its own order, so pixels get each other's numbers;
# PGD's random start is another one, and its image too.
# Fails if that has changed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.15.0 torchvision==0.29.2 numpy==2.4.6 \
  scipy==1.17.1
"$place/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps torchattacks==3.5.1
cd "$place"
"$place/venv/bin/python" -W ignore - <<'PYTHON'
import torch
import torch.nn.functional as F
import torchattacks
from torch import nn

print("torch", torch.__version__, "torchattacks", torchattacks.__version__)
own = torch.full((2, 8, 5, 5), 0.5)
other = own.contiguous(memory_format=torch.channels_last)
assert torch.equal(own, other)


def same(make, first: torch.Tensor, second: torch.Tensor) -> bool:
    """Whether one seed makes the same of two equal tensors."""
    results = []
    for each in (first, second):
        torch.manual_seed(0)
        results.append(make(each))
    return torch.equal(*results)


draws = {
    "rand_like": torch.rand_like,
    "randn_like": torch.randn_like,
    "uniform_": lambda tensor: torch.empty_like(tensor).uniform_(),
    "dropout": lambda tensor: F.dropout(tensor, 0.5),
    "bernoulli": torch.bernoulli,
}
found = {name: same(draw, own, other) for name, draw in draws.items()}
print("the same numbers:", found)
torch.manual_seed(0)
network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 6 * 6, 2)).double().eval()
image, label = torch.rand(2, 3, 8, 8, dtype=torch.float64), torch.tensor([0, 1])
attack = torchattacks.PGD(network, eps=8 / 255, alpha=2 / 255, steps=1)
images = image, image.contiguous(memory_format=torch.channels_last)
attacked = same(lambda each: attack(each, label), *images)
print("torchattacks' PGD, one step: the same image:", attacked)
assert found == dict.fromkeys(draws, False) | {"bernoulli": True}, "this has changed"
assert not attacked, "this has changed"
PYTHON

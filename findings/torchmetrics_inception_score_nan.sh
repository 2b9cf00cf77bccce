#!/usr/bin/env bash
# torchmetrics 1.9.0 (torch 2.15.0): InceptionScore is NaN where the network is sure that no image is of some class.
#
# Met with: pictures painted by gradient steps towards a class, and any network whose logits differ by more than 104.
# One would expect: 0 log 0 = 0, as in the definition: two classes, each certain of half of the images, score 2.
# Seen: NaN without a word: the class's mean probability is 0 in float32, its logarithm -inf, and 0 * inf is NaN. Images
#   of a third class are enough to make it a number. float64 only moves the limit, to 745.
# Fails if that has changed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.15.0 torchmetrics==1.9.0 numpy==2.4.6
cd "$place"
"$place/venv/bin/python" -W ignore - <<'PYTHON'
import torch
import torchmetrics
from torch import Tensor
from torchmetrics.image.inception import InceptionScore

print("torchmetrics", torchmetrics.__version__, "torch", torch.__version__)


def score(logits: Tensor) -> float:
    metric = InceptionScore(torch.nn.Identity(), splits=1)
    metric.update(logits)
    return metric.compute()[0].item()


def sure(classes: int, by: float) -> Tensor:
    """Logits of three classes for 12 images, each of which is of one of the first so many, and by how much."""
    return by * torch.eye(3)[torch.arange(12) % classes]


found = {by: (score(sure(2, by)), score(sure(3, by))) for by in (50.0, 100.0, 105.0, 200.0)}
for by, (two, three) in found.items():
    print(f"logits higher by {by:g}: two of three classes score {two:.4f}, expected 2; three {three:.4f}, expected 3")
in_float64 = score(sure(2, 800.0).double())
print(f"float64, higher by 800: {in_float64:.4f}, expected 2")
assert all(round(found[by][0], 4) == 2 for by in (50.0, 100.0)), "this has changed"
assert all(torch.tensor(found[by][0]).isnan() for by in (105.0, 200.0)) and in_float64 != in_float64, "this has changed"
assert all(round(three, 4) == 3 for _, three in found.values()), "this has changed"
PYTHON

#!/usr/bin/env bash
# captum 0.9.0 (torch 2.15.0): GuidedBackprop takes nn.ReLU6 for no ReLU, and is the plain gradient without a word.
#
# Met with: guided backpropagation of EfficientNet-Lite and MobileNetV2, whose every activation is a ReLU6.
# One would expect: negative gradients stop at a ReLU6 as they do at a ReLU, or a warning that there is no ReLU.
# Seen: the attribution of a network with nn.ReLU6 equals its plain gradient to the bit; with nn.ReLU in its place, where
#   no activation reaches 6, it does not. A functional relu is passed over likewise, which captum's manual says.
# Fails if that has changed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.15.0 numpy==2.4.6 matplotlib==3.11.2 packaging tqdm
"$place/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps captum==0.9.0
cd "$place"
"$place/venv/bin/python" - 2>"$place/said" <<'PYTHON'
import captum
import torch
from captum.attr import GuidedBackprop, Saliency
from torch import nn

print("captum", captum.__version__, "torch", torch.__version__)
torch.manual_seed(0)
first, second = nn.Linear(6, 32), nn.Linear(32, 3)
image = torch.rand(4, 6)
assert first(image).max() < 6, "below 6 both are one function"
found = {}
for kind in (nn.ReLU, nn.ReLU6):
    network = nn.Sequential(first, kind(), second)
    plain = Saliency(network).attribute(image.clone().requires_grad_(), target=0, abs=False)
    guided = GuidedBackprop(network).attribute(image.clone().requires_grad_(), target=0)
    found[kind.__name__] = (guided - plain).abs().max().item()
    print(f"{kind.__name__}: guided backpropagation differs from the plain gradient by {found[kind.__name__]:.4f}")
assert found["ReLU"] > 0.01 and found["ReLU6"] == 0, "this has changed"
PYTHON
if grep -iq "relu6" "$place/said"; then
  echo "it warns of ReLU6 now: this has changed"
  exit 1
fi

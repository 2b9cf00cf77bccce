#!/usr/bin/env bash
# torch 2.15.0: hardsigmoid has no second derivative, alone among the activations, so that torchvision's MobileNetV3 cannot
# be trained on its input gradients.
#
# Met with: a penalty on the gradient of the loss to the image, which takes the backward through the backward.
# One would expect: what hardswish, hardtanh and relu6 can, made of the same pieces, and hardswish(x) = x hardsigmoid(x).
# Seen: "derivative for aten::hardsigmoid_backward is not implemented", at the second backward only; 18 others have one.
# Fails if that has changed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.15.0 torchvision==0.29.2 numpy==2.4.6
cd "$place"
"$place/venv/bin/python" -W ignore - <<'PYTHON'
import torch
import torch.nn.functional as F
import torchvision

print("torch", torch.__version__, "torchvision", torchvision.__version__)
NAMES = ("relu", "relu6", "hardtanh", "leaky_relu", "hardswish", "hardsigmoid", "silu", "gelu", "mish", "elu", "celu",
         "selu", "softplus", "hardshrink", "softshrink", "logsigmoid", "rrelu", "tanhshrink", "softsign")


def without(make, values: torch.Tensor) -> str:
    """What is said when the gradient's own gradient is asked for; empty where there is one."""
    values = values.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(make(values).square().sum(), values, create_graph=True)
    try:
        torch.autograd.grad(gradient.square().sum(), values)
    except RuntimeError as error:
        return str(error).splitlines()[0]
    return ""


said = {name: without(getattr(F, name), torch.linspace(-4, 4, 9)) for name in NAMES}
print(f"{sum(not text for text in said.values())} of {len(said)} activations have a second derivative; without:")
for name, text in said.items():
    if text:
        print(f"  {name}: {text}")
torch.manual_seed(0)
images = torch.rand(2, 3, 64, 64)
networks = {name: without(torchvision.models.get_model(name, weights=None), images)
            for name in ("mobilenet_v2", "mobilenet_v3_small")}
print(networks)
assert [name for name, text in said.items() if text] == ["hardsigmoid"], "this has changed"
assert not networks["mobilenet_v2"] and "hardsigmoid_backward" in networks["mobilenet_v3_small"], "this has changed"
PYTHON

#!/usr/bin/env bash
# torch 2.15.0 on a CPU: with one thread and fewer than 16 images, a convolution of 1 x 1 is not oneDNN's.
#
# Met with: what an adversarial step costs, measured with one thread to be left alone by others.
# One would expect: one thread to do what two do, in twice the time.
# Seen: `_slow_conv2d` in place of `mkldnn_convolution`, forwards and backwards, for most layers of a ResNet-50: figures of
# one thread say little about two, and 15 images little about 16.
# Fails if that has changed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.15.0 torchvision==0.29.2 numpy==2.4.6
cd "$place"
"$place/venv/bin/python" -W ignore - 2>/dev/null <<'PYTHON'
import torch
import torch.nn.functional as F
import torchvision

print("torch", torch.__version__, "torchvision", torchvision.__version__, torch.backends.cpu.get_cpu_capability())


def calls(work) -> dict[str, int]:
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        work()
    kinds = {"aten::_slow_conv2d_forward": "slow", "aten::mkldnn_convolution": "oneDNN"}
    return {kinds[event.key]: event.count for event in profiler.key_averages() if event.key in kinds}


weight, found = torch.randn(64, 64, 1, 1), {}
for threads in (1, 2):
    torch.set_num_threads(threads)
    for batch in (2, 15, 16):
        found[threads, batch] = calls(lambda: F.conv2d(torch.randn(batch, 64, 28, 28), weight))
        print(f"{threads} threads, {batch} images: {found[threads, batch]}")
network = torchvision.models.resnet50(weights=None).eval()
for threads in (1, 2):
    torch.set_num_threads(threads)
    with torch.no_grad():
        print(f"ResNet-50, 2 images, {threads} threads: {calls(lambda: network(torch.rand(2, 3, 64, 64)))}")
assert [key for key, what in found.items() if "slow" in what] == [(1, 2), (1, 15)], "this has changed"
PYTHON

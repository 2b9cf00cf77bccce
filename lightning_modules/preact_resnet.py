"""The pre-activation ResNet-18 of fast adversarial training."""

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.resnet import conv1x1, conv3x3


class _Block(nn.Module):
    """Two pre-activated convolutions; unlike in the paper, a shortcut with weights takes the input unactivated."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = conv3x3(inputs, outputs, stride)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = conv3x3(outputs, outputs)
        self.shortcut = nn.Sequential(conv1x1(inputs, outputs, stride)) if inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv1(F.relu(self.bn1(x)))
        out = self.conv2(F.relu(self.bn2(out)))
        return out + (x if self.shortcut is None else self.shortcut(x))


class PreActResNet18(nn.Module):
    """A classifier for images of about 32 pixels: `(B, 3, H, W)` to logits `(B, C)`.

    Of He et al., "Identity Mappings in Deep Residual Networks", ECCV 2016, in the form of Wong et al., "Fast is better
    than free", ICLR 2020, and its parameters named as there. Other codes have the same names and another function
    (Rice et al. 2020: shortcuts of the activated input) or no `bn` (kuangliu's).

    Args:
        num_classes: number of classes C.
        width: channels of the first stage; the others have 2, 4 and 8 times as many.
    """

    def __init__(self, num_classes: int, width: int = 64) -> None:
        super().__init__()
        self.conv1 = conv3x3(3, width)
        self.layer1 = _stage(width, width, stride=1)
        self.layer2 = _stage(width, 2 * width, stride=2)
        self.layer3 = _stage(2 * width, 4 * width, stride=2)
        self.layer4 = _stage(4 * width, 8 * width, stride=2)
        self.bn = nn.BatchNorm2d(8 * width)
        self.linear = nn.Linear(8 * width, num_classes)

    def forward(self, image: Tensor) -> Tensor:
        out = self.layer4(self.layer3(self.layer2(self.layer1(self.conv1(image)))))
        return self.linear(F.relu(self.bn(out)).mean((2, 3)))


def _stage(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(_Block(inputs, outputs, stride), _Block(outputs, outputs, 1))

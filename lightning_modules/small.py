"""Small networks for small images, built from torchvision's residual blocks."""

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, conv1x1


def _stage(inputs: int, outputs: int, blocks: int) -> nn.Sequential:
    """Residual blocks; the first halves the resolution."""
    shortcut = nn.Sequential(conv1x1(inputs, outputs, stride=2), nn.BatchNorm2d(outputs))
    first = BasicBlock(inputs, outputs, stride=2, downsample=shortcut)
    return nn.Sequential(first, *(BasicBlock(outputs, outputs) for _ in range(blocks - 1)))


def _backbone(width: int, blocks: int) -> nn.Sequential:
    """A ResNet-18-like trunk of output stride 8 with `8 * width` channels: a full-resolution stem and three stages."""
    stem = nn.Sequential(nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True))
    return nn.Sequential(stem, *(_stage(width * i, width * 2 * i, blocks) for i in (1, 2, 4)))


class SmallFCN(nn.Module):
    """A fully convolutional network for images of about 64 pixels: `(B, 3, H, W)` to logits `(B, C, H, W)`."""

    def __init__(self, num_classes: int, width: int = 16, blocks: int = 2) -> None:
        super().__init__()
        channels = 8 * width
        self.backbone = _backbone(width, blocks)
        self.classifier = nn.Sequential(
            nn.Conv2d(channels, channels // 2, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels // 2),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels // 2, num_classes, 1),
        )

    def forward(self, image: Tensor) -> Tensor:
        logits = self.classifier(self.backbone(image))
        return F.interpolate(logits, size=image.shape[-2:], mode="bilinear", align_corners=False)


class SmallResNet(nn.Module):
    """A classifier for images of about 32 to 64 pixels: `(B, 3, H, W)` to logits `(B, C)`."""

    def __init__(self, num_classes: int, width: int = 16, blocks: int = 2) -> None:
        super().__init__()
        self.backbone = _backbone(width, blocks)
        self.fc = nn.Linear(8 * width, num_classes)

    def forward(self, image: Tensor) -> Tensor:
        return self.fc(self.backbone(image).mean((2, 3)))

"""AlexNet with batch normalisation."""

from torch import nn
from torchvision.models import AlexNet


class AlexNetBN(AlexNet):
    """torchvision's AlexNet with batch norm between convolution and ReLU: `(B, 3, 224, 224)` to logits `(B, C)`.

    Of Krizhevsky et al. 2012 and Ioffe & Szegedy 2015, as used by Itazuri et al., "What Do Adversarially Robust Models
    Look At?", 2019. Other sizes from 63 pixels up work too.

    Args:
        num_classes: number of classes C.
        dropout: share of values dropped before the two hidden linear layers; kept, as batch norm does not reach them.
    """

    features: nn.Sequential

    def __init__(self, num_classes: int, dropout: float = 0.5) -> None:
        super().__init__(num_classes, dropout)
        layers: list[nn.Module] = []
        for layer in self.features:
            layers.append(layer)
            if isinstance(layer, nn.Conv2d):
                layers.append(nn.BatchNorm2d(layer.out_channels))
        self.features = nn.Sequential(*layers)

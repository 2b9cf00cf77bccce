"""The MNIST network of Madry et al."""

from torch import Tensor, nn


class MNISTCNN(nn.Module):
    """A classifier for grey images of about 28 pixels in three channels: `(B, 3, H, W)` to logits `(B, C)`.

    Of Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018, initialised PyTorch's
    way. It sees the mean over the channels: the gradient then has the same sign in every channel, and an L-inf attack
    can do no more and no less than on the grey image. Sizes other than 28 are max-pooled to the same 7x7 features.

    Args:
        num_classes: number of classes C.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 32, 5, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 5, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.AdaptiveMaxPool2d(7),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(), nn.Linear(64 * 7 * 7, 1024), nn.ReLU(inplace=True), nn.Linear(1024, num_classes)
        )

    def forward(self, image: Tensor) -> Tensor:
        return self.classifier(self.features(image.mean(1, keepdim=True)))

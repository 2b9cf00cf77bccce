"""The one LightningModule and the networks it wraps."""

from lightning_modules.classifier import Classifier
from lightning_modules.contract import BatchError
from lightning_modules.fusion import LateFusion
from lightning_modules.gradient_losses import GradientAlignment, GradientNorm, SaliencyAlignment
from lightning_modules.losses import TRADES, CrossEntropyLoss, Loss
from lightning_modules.network import Network
from lightning_modules.schedules import Drops, Triangle
from lightning_modules.weights import NetworkError

__all__ = [
    "TRADES", "BatchError", "Classifier", "CrossEntropyLoss", "Drops", "GradientAlignment", "GradientNorm",
    "LateFusion", "Loss", "Network", "NetworkError", "SaliencyAlignment", "Triangle",
]  # fmt: skip

"""The one LightningModule and the networks it wraps."""

from lightning_modules.classifier import BatchError, Classifier
from lightning_modules.losses import CrossEntropyLoss, Loss
from lightning_modules.network import Network
from lightning_modules.schedules import Drops
from lightning_modules.weights import NetworkError

__all__ = ["BatchError", "Classifier", "CrossEntropyLoss", "Drops", "Loss", "Network", "NetworkError"]

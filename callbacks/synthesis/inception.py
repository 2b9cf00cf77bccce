"""The network that published Inception Scores and FIDs are by."""

import pickle
from pathlib import Path

import torch
from torch import Tensor, nn

URL = "weights-inception-2015-12-05-6726825d.pth of torch-fidelity"


class PublishedInception(nn.Module):
    """The Inception network of 2015 that Salimans et al. and Heusel et al. took, as torch-fidelity carries it over.

    From pixels to logits of 1,008 classes, without their bias, as the published Inception Score is computed; the
    representation has 2,048 units. Images are rounded to 8 bits and made 299 x 299 as TensorFlow did, not as
    torchmetrics does by default (`antialias`), whose numbers are others. For `set_scores`; it has no gradients.

    Args:
        weights: the file, `weights-inception-2015-12-05-6726825d.pth`. Nothing in it is executed.

    Raises:
        ValueError: if the file is not there or is another, or the package torch-fidelity is not installed.
    """

    def __init__(self, weights: str) -> None:
        super().__init__()
        path = Path(weights).expanduser()
        try:
            torch.load(path, map_location="cpu", weights_only=True)  # torch-fidelity would run what is in it
            from torch_fidelity import FeatureExtractorInceptionV3

            self.extractor = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], str(path))
        except ImportError:
            raise ValueError("the published Inception needs a package: pip install torch-fidelity") from None
        except (OSError, RuntimeError, pickle.UnpicklingError, AttributeError, TypeError) as error:
            reason = getattr(error, "strerror", None) or "it holds other weights, or is damaged"
            raise ValueError(f"{weights}: {reason}; the published Inception is {URL}") from error
        self.weights = weights
        self.last = nn.Linear(2048, 1008, bias=False)
        self.last.weight.data = self.extractor.fc.weight.data

    def forward(self, image: Tensor) -> Tensor:
        (units,) = self.extractor((255 * image).round().byte())
        return self.last(units)

"""Networks by name, from pixels in [0, 1] to logits."""

import difflib
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision import models

from lightning_modules.alexnet import AlexNetBN
from lightning_modules.efficientnet_lite import EfficientNetLite0, FCNEfficientNetLite0
from lightning_modules.mnist_cnn import MNISTCNN
from lightning_modules.preact_resnet import PreActResNet18
from lightning_modules.small import SmallFCN, SmallResNet
from lightning_modules.weights import NetworkError, load_backbone, load_weights
from lightning_modules.wide_resnet import DMWideResNet, WideResNet

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

OWN: dict[str, Callable[..., nn.Module]] = {
    "alexnet_bn": AlexNetBN,
    "dm_wrn_28_10": DMWideResNet,
    "efficientnet_lite0": EfficientNetLite0,
    "fcn_efficientnet_lite0": FCNEfficientNetLite0,
    "fcn_small": SmallFCN,
    "mnist_cnn": MNISTCNN,
    "preact_resnet18": PreActResNet18,
    "resnet_small": SmallResNet,
    "wrn_28_10": WideResNet,
}
"""Networks by name that are not torchvision's; every other name is."""


class Normalize(nn.Module):
    """`(image - mean) / std` per channel, without clamping: torch's clamp has no gradient at its bounds."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        if min(std) <= 0:
            raise NetworkError(f"std={list(std)}: a standard deviation is above 0; [1, 1, 1] changes nothing")
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(-1, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        return (image - self.mean) / self.std


class Network(nn.Module):
    """A classifier or segmentation network by name, its normaliser inside.

    Maps pixels `(B, 3, H, W)` in `[0, 1]` to logits `(B, C)` or `(B, C, H, W)`; in train mode, if it has an auxiliary
    head, to `{"out": logits, "aux": logits}`.

    Args:
        name: a model of torchvision (`resnet50`, `fcn_resnet101`, ...), or `wrn_28_10` (Wide ResNet), `dm_wrn_28_10`
            (the same with SiLU), `preact_resnet18`, `alexnet_bn`, `mnist_cnn`, `resnet_small`, `fcn_small`,
            `efficientnet_lite0` or `fcn_efficientnet_lite0`.
        num_classes: number of classes C, background included.
        weights: torchvision's name of published weights (`DEFAULT`, `COCO_WITH_VOC_LABELS_V1`, ...), or a file: of
            torchvision, RobustBench, the `robustness` library, ours, or safetensors, or of another trainer that holds
            all names of the network under one prefix. A file's code is never run; where it holds two different sets
            of weights, such as an average, `cli.py convert --part` takes one out of it.
        backbone_weights: the same for the backbone of a segmentation network; random if not given. A file may be that
            of a classifier, such as `imagenet_l2_3_0.pt`. A classifier takes of such a file all but its last layer, so
            that it can learn other classes.
        aux: give a segmentation network its auxiliary head, used in training only.
        mean: per-channel mean to normalise by; by default that of the weights, else the architecture's, where all its
            published weights have one, else ImageNet's. Another one than that of a file is refused.
        std: per-channel standard deviation, likewise.
        channels_last: keep weights and activations in this memory format, faster for most convolutions.

    Raises:
        NetworkError: on an unknown name or weights that do not fit.
    """

    def __init__(
        self,
        name: str,
        num_classes: int,
        weights: str | None = None,
        backbone_weights: str | None = None,
        aux: bool = False,
        mean: tuple[float, float, float] | None = None,
        std: tuple[float, float, float] | None = None,
        channels_last: bool = False,
    ) -> None:
        super().__init__()
        weights, backbone_weights = (each and os.path.expanduser(each) for each in (weights, backbone_weights))
        self.name, self.num_classes, self.weights = name, num_classes, weights
        published = None if weights is None or _is_file(weights) else _published(name, weights)
        source: Any = OWN.get(name) if published is None else published.transforms()
        of_source = getattr(source, "mean", IMAGENET_MEAN), getattr(source, "std", IMAGENET_STD)
        self.normalize = Normalize(mean or of_source[0], std or of_source[1])
        self.model = _build(name, num_classes, published, backbone_weights, aux)
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        keep = [key for key, given in (("normalize.mean", mean), ("normalize.std", std)) if given is not None]
        if backbone_weights is not None and _is_file(backbone_weights):
            load_backbone(self, Path(backbone_weights), keep)
        if weights is not None and published is None:
            load_weights(self, Path(weights), keep, any_normaliser=name not in OWN or hasattr(source, "mean"))
        self.to(memory_format=self.memory_format)

    def forward(self, image: Tensor) -> Tensor | dict[str, Tensor]:
        output = self.model(self.normalize(image).contiguous(memory_format=self.memory_format))
        if isinstance(output, Tensor):
            return output
        if isinstance(output, Mapping):
            logits, aux = output["out"], output.get("aux")
        else:  # the named tuples of GoogLeNet and Inception in train mode
            logits, aux = output[0], output[1]
        return {"out": logits, "aux": aux} if self.training and aux is not None else logits


def _is_file(weights: str) -> bool:
    return "/" in weights or "." in weights


def _builder(name: str) -> Callable[..., nn.Module]:
    if name in OWN:
        return OWN[name]
    known = [*OWN, *models.list_models(module=models), *models.list_models(module=models.segmentation)]
    if name not in known:
        close = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
        advice = f"did you mean {', '.join(close)}?" if close else "see torchvision.models"
        raise NetworkError(f"unknown network {name!r}; {advice}")
    return models.get_model_builder(name)


def _published(name: str, weights: str) -> models.WeightsEnum:
    _builder(name)
    choices = {} if name in OWN else models.get_model_weights(name).__members__
    if weights not in choices:
        known = f"it has: {', '.join(choices) or 'none'}"
        raise NetworkError(f"{name} has no published weights {weights!r} ({known}); give a file as ./weights.pt")
    return choices[weights]


def _build(
    name: str, num_classes: int, published: models.WeightsEnum | None, backbone_weights: str | None, aux: bool
) -> nn.Module:
    builder = _builder(name)
    if name in OWN:
        if aux or not _is_file(backbone_weights or "./"):
            raise NetworkError(f"{name} has no auxiliary head and no published backbone weights; a file will do")
        return builder(num_classes=num_classes)
    options: dict[str, Any] = {"weights": published, "num_classes": num_classes}
    accepted = inspect.signature(builder).parameters
    if "weights_backbone" in accepted:  # torchvision would download ImageNet weights unless told otherwise
        options["weights_backbone"] = None if _is_file(backbone_weights or "./") else backbone_weights
    elif not _is_file(backbone_weights or "./"):
        raise NetworkError(f"{name} is no segmentation network; give its weights as `weights`, or a file")
    if "aux_loss" in accepted:  # published weights include the auxiliary head's
        options["aux_loss"] = True if published else aux
    elif aux:
        raise NetworkError(f"{name} has no auxiliary head")
    try:
        model = builder(**options)
    except KeyError:
        raise NetworkError(
            f"{name} has no published backbone weights {backbone_weights!r}; DEFAULT or a file"
        ) from None
    except ValueError as error:
        raise NetworkError(f"{name} with num_classes={num_classes}, weights={published}: {error}") from error
    except OSError as error:
        raise NetworkError(f"{name}: its published weights cannot be fetched ({error}); give a file instead") from error
    if published and "aux_loss" in accepted and not aux:
        del model.aux_classifier
        model.aux_classifier = None  # type: ignore[assignment]
    return model

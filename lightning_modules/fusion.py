"""Networks made of networks: late fusion."""

import copy
import difflib
import math
import re
from collections.abc import Sequence
from itertools import combinations
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import Tensor, nn

from attacks.objectives import logits_of
from lightning_modules.network import Network
from lightning_modules.weights import NetworkError

Join = Literal["features", "logits", "probabilities"]

_AUXILIARY = re.compile(r"(^|\.)aux\w*(\.|$)", re.IGNORECASE)
"""Parts that are used in training only, as torchvision calls them."""


class _Seen(nn.Module):
    """Stands for a network's last linear map: keeps what that would see, and gives zeros in the shape of its logits.

    So the network's own code goes on as it did, and what it makes of the zeros says whether it is a classifier.
    """

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.outputs = outputs
        self.features: Tensor | None = None

    def forward(self, features: Tensor) -> Tensor:
        self.features = features
        return features.new_zeros(len(features), self.outputs, *features.shape[2:])

    def take(self) -> Tensor | None:
        """What was seen since the last call; it is kept no longer, nor is its graph."""
        features, self.features = self.features, None
        return features


class LateFusion(nn.Module):
    """Several networks as one, joined at their ends and trained together.

    Of Itazuri et al., "What Do Adversarially Robust Models Look At?", 2019, sec. 4.2, who fuse standard with
    adversarially trained networks. Maps pixels `(B, 3, H, W)` in `[0, 1]` to logits `(B, C)` or `(B, C, H, W)`, and is
    attacked and painted with as a whole. Each network sees the pixels and has a normaliser of its own inside. They are
    all classifiers or all segmentation networks. In the names of its parameters they are `networks.0`, `networks.1`,
    ..., and the new layer is `head`.

    `features` puts the inputs of the networks' last linear maps side by side, K1, K2, ... units, and one new linear map
    of K1 + K2 + ... units to C classes takes the place of theirs; how many classes they had does not matter. Maps of
    features of segmentation networks are enlarged bilinearly to the largest of them, and the logits to the image.
    `logits` is their mean, and `probabilities` the logarithm of the mean probability: nothing new is learned, and the
    networks have the same classes. Auxiliary heads are neither used nor trained.

    Args:
        num_classes: number of classes C, background included.
        networks: two or more, each from pixels in `[0, 1]` to logits; they become parts of this one.
        join: where they meet: `features`, `logits` or `probabilities`.
        layers: of each network, the name of its last linear map, such as `[model.fc, null]`: a linear layer or a
            convolution of 1 x 1. Null, or if not given: found, the last one that the network has.

    Raises:
        NetworkError: on fewer than two networks; where there is no such layer, or none is found; and, when images are
            first seen, on networks that do not fit together.
    """

    def __init__(
        self,
        num_classes: int,
        networks: list[nn.Module],
        join: Join = "features",
        layers: list[str | None] | None = None,
    ) -> None:
        super().__init__()
        if join not in get_args(Join):
            raise NetworkError(f"LateFusion: join={join!r} is none of {', '.join(get_args(Join))}")
        if len(networks) < 2:
            raise NetworkError(f"LateFusion: networks: {len(networks)} given; it takes two or more")
        if num_classes < 2:
            raise NetworkError(f"LateFusion: num_classes={num_classes} must be 2 or more")
        if layers is not None and join != "features":
            raise NetworkError(f"LateFusion: layers is for join=features; join={join} needs none: leave it out")
        if layers is not None and len(layers) != len(networks):
            raise NetworkError(
                f"LateFusion: layers: {len(layers)} given for {len(networks)} networks; null leaves one out"
            )
        again = [any(each is other for other in networks[:i]) for i, each in enumerate(networks)]
        self.networks = nn.ModuleList(map(_copied_if, networks, again))
        self.num_classes, self.join = num_classes, join
        for name, part in self.networks.named_modules():
            if _AUXILIARY.search(name):
                part.requires_grad_(False)  # else several processes wait for its gradients
        if join == "features":
            self._join_features(layers or [None] * len(networks))
        else:
            self._check_classes()
        self._warn_of_copies()

    def _join_features(self, layers: Sequence[str | None]) -> None:
        """Take the networks' last linear maps out, and make one for all."""
        units, pixels = 0, True
        self.layers: list[str] = []
        for i, (network, layer) in enumerate(zip(self.networks, layers, strict=True)):
            name = _last_linear_map(network, self._called(i)) if layer is None else _named(network, layer, i)
            linear = network.get_submodule(name)
            wide, outputs = linear.weight.shape[1], linear.weight.shape[0]  # type: ignore[index]
            network.set_submodule(name, _Seen(int(outputs)))
            self.layers.append(name)
            units += int(wide)
            pixels = pixels and isinstance(linear, nn.Conv2d)
        self.head = nn.Conv2d(units, self.num_classes, 1) if pixels else nn.Linear(units, self.num_classes)

    def _check_classes(self) -> None:
        for i, network in enumerate(self.networks):
            if isinstance(network, Network | LateFusion):
                self._check_number(i, network.num_classes)

    def _check_number(self, i: int, classes: int) -> None:
        if classes != self.num_classes:
            raise NetworkError(
                f"LateFusion: {self._called(i)} has {classes} classes, not num_classes={self.num_classes}: "
                f"join={self.join} needs the same ones; join=features does not"
            )

    def _warn_of_copies(self) -> None:
        states = [network.state_dict() for network in self.networks]
        for i, j in combinations(range(len(states)), 2):
            one, other = states[i], states[j]
            if one and one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one):
                rank_zero_warn(
                    f"LateFusion: networks.{i} and networks.{j} have the same weights: a network fused with itself; "
                    "give one of them those of another training"
                )

    def _called(self, i: int) -> str:
        network = self.networks[i]
        return f"networks.{i} ({getattr(network, 'name', type(network).__name__)})"

    def forward(self, image: Tensor) -> Tensor:
        if self.join == "features":
            return self._of_features(image)
        logits = [logits_of(network(image)) for network in self.networks]
        self._check_shapes(logits)
        for i, each in enumerate(logits):
            self._check_number(i, each.shape[1])
        if self.join == "logits":
            return torch.stack(logits).mean(0)
        return torch.stack([each.log_softmax(1) for each in logits]).logsumexp(0) - math.log(len(logits))

    def _of_features(self, image: Tensor) -> Tensor:
        outputs, features = zip(*(self._features(i, image) for i in range(len(self.networks))), strict=True)
        self._check_shapes(outputs)
        if outputs[0].ndim == 2:
            pooled = torch.cat([each.flatten(2).mean(2) if each.ndim > 2 else each for each in features], 1)
            return self.head(pooled if isinstance(self.head, nn.Linear) else pooled[:, :, None, None]).flatten(1)
        largest = max((each.shape[2:] for each in features), key=math.prod)
        logits = self.head(torch.cat([_enlarged(each, largest) for each in features], 1))
        return _enlarged(logits, outputs[0].shape[2:])

    def _features(self, i: int, image: Tensor) -> tuple[Tensor, Tensor]:
        """What a network makes of zeros for its last linear map, and what that would have seen."""
        network = self.networks[i]
        seen: _Seen = network.get_submodule(self.layers[i])  # type: ignore[assignment]
        try:
            output = logits_of(network(image))
        finally:
            features = seen.take()
        where = f"LateFusion: {self._called(i)}: {self.layers[i]}"
        if features is None:
            raise NetworkError(f"{where} is not used; name its last linear map in layers")
        if output.requires_grad:
            raise NetworkError(f"{where} does not make its logits alone; name another in layers, or take join=logits")
        if features.ndim not in (2, 4) or features.ndim < output.ndim:
            shape = tuple(features.shape)
            raise NetworkError(f"{where} sees {shape}, no (B, K) or (B, K, h, w); name another in layers")
        return output, features

    def _check_shapes(self, outputs: Sequence[Tensor]) -> None:
        """Whether all give logits of whole images, or all of as many pixels."""
        for i, each in enumerate(outputs):
            if each.shape[2:] != outputs[0].shape[2:]:
                what = [f"of {' x '.join(map(str, o.shape[2:]))} pixels" * (o.ndim > 2) for o in (outputs[0], each)]
                one, other = (each or "of whole images" for each in what)
                raise NetworkError(
                    f"LateFusion: {self._called(0)} gives logits {one}, and {self._called(i)} {other}: "
                    "fuse classifiers, or segmentation networks of one size"
                )


def _copied_if(network: nn.Module, again: bool) -> nn.Module:
    return copy.deepcopy(network) if again else network


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one, other)


def _enlarged(maps: Tensor, size: torch.Size) -> Tensor:
    return maps if maps.shape[2:] == size else F.interpolate(maps, size, mode="bilinear", align_corners=False)


def _is_linear_map(module: nn.Module) -> bool:
    if isinstance(module, nn.Conv2d):
        return module.kernel_size == (1, 1) and module.groups == 1
    return isinstance(module, nn.Linear)


def _last_linear_map(network: nn.Module, called: str) -> str:
    layers = [
        (name, module)
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d) and not _AUXILIARY.search(name)
    ]
    if layers and layers[-1][0] and _is_linear_map(layers[-1][1]):
        return layers[-1][0]
    raise NetworkError(
        f"LateFusion: {called}: its last layer is no linear map (a linear layer or a 1 x 1 convolution) that could be "
        "taken out; name one in layers, or take join=logits"
    )


def _named(network: nn.Module, layer: str, i: int) -> str:
    parts = {name: module for name, module in network.named_modules() if name}
    if layer not in parts:
        known = [name for name, module in parts.items() if _is_linear_map(module)]
        close = difflib.get_close_matches(layer, known, n=3, cutoff=0.4)
        there = ", ".join(close or known[-3:]) or "no linear map"
        raise NetworkError(f"LateFusion: layers: networks.{i} has no {layer!r}; it has {there}")
    if not _is_linear_map(parts[layer]):
        kind = type(parts[layer]).__name__
        raise NetworkError(f"LateFusion: layers: {layer} of networks.{i} is {kind}, no linear map; name another")
    return layer

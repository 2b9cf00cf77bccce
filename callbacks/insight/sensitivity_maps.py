"""Sensitivity maps as pictures: what in an image a network's answer depends on."""

import difflib
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from attacks import undisturbed
from attacks.objectives import IGNORE_INDEX, logits_of, valid_pixels
from callbacks.insight.map_pictures import DISPLAYS, Display, strength
from callbacks.insight.randomization import DEPENDS_HARDLY, randomized, rank_correlations, stages_of, title_of
from callbacks.insight.sensitivity import guided, integrated, loss, smoothgrad, vanilla
from callbacks.synthesis.base import at_least_0, check_wanted, labels_of, prepared
from callbacks.synthesis.callback import Class, PictureCallback, above_0
from callbacks.synthesis.painting import Painting
from callbacks.synthesis.representation import region_of
from callbacks.synthesis.scores import SMALLEST, ssim

Method = Literal["vanilla", "loss", "guided", "smoothgrad", "integrated"]
"""See the functions of these names in `callbacks.insight.sensitivity`."""

SINGLE: dict[Method, Callable[[nn.Module, Tensor, Tensor], Tensor]] = {
    "vanilla": vanilla,
    "loss": loss,
    "guided": guided,
}
"""The methods that are one gradient."""


class SensitivityMaps(PictureCallback):
    """Shows what in an image a network's answer depends on (Itazuri et al. 2019, sec. 3.4 and appendix A).

    A picture for each method. The answer is the logit of the label, or for `loss` the cross-entropy; of a segmentation
    network its mean over the pixels of the label map that are not void, each pixel by its own label. Where the batch
    has a `mask`, the pixels in it count. An image of which no pixel counts has a map of zeros.

    `vanilla` is the plain gradient, `guided` stops what is negative at every ReLU, `smoothgrad` is the mean of
    `vanilla` under noise, `integrated` that on the way from grey to the image. Default settings are the paper's.

    `randomization` checks whether the maps depend on what the network has learnt (Adebayo et al. 2018): those of a copy
    whose layers become random, from the output down, stand beside as `randomized`. Scores of each method:
    `..._rank_random`, Spearman's rank correlation with the network's own map when all layers are random,
    `..._rank_stages`, its mean over the stages, and `..._ssim_random`; of the absolute values, summed over channels
    and, for SSIM, scaled as `absolute` shows them. A method with one of the first two above 0.5 is told: its maps say
    more about the image and the architecture than about what was learnt. The files `randomization` (JSON) beside the
    pictures have all stages.

    Args:
        methods: which maps, each once.
        target: a class to ask about instead of the label, by name or number; of a label map its pixels count, or those
            of the `mask`.
        display: `channels` shows each channel by itself, grey is 0 and the ends are 3 standard deviations; `signed` the
            same of their sum; `absolute` the sum of their absolute values, on black, up to the 99th percentile.
        points: how many gradients make a map of `smoothgrad` and of `integrated`.
        sigma: standard deviation of smoothgrad's noise, as a share of the range of the normalised image.
        chunk: images at a time of `smoothgrad` and `integrated`, at most; but a batch is never split.
        times_difference: `integrated` is multiplied by the image's difference from grey; not so in the paper.
        randomization: in how many stages the layers become random, 2 or more; a block of the network is one. 0 leaves
            the check out; each stage costs as much as the maps.
        samples: how many validation samples, spread evenly over the set, or their indices.
        every_n_epochs: after the evaluation of every n-th epoch; the last one is always shown.

    Raises:
        ValueError: on a setting out of its range.
    """

    task = "sensitivity_maps"

    def __init__(
        self,
        methods: Sequence[Method] = ("vanilla", "loss", "guided"),
        target: Class | None = None,
        display: Display = "channels",
        points: int = 50,
        sigma: float = 0.2,
        chunk: int = 32,
        times_difference: bool = False,
        randomization: int = 0,
        samples: int | list[int] = 8,
        every_n_epochs: int = 1,
    ) -> None:
        super().__init__(samples, every_n_epochs)
        self.methods, self.target = _methods(methods), target
        if display not in DISPLAYS:
            raise ValueError(f"display={display}: none of {', '.join(DISPLAYS)}")
        self.display = display
        self.points, self.chunk = above_0(points, "points"), above_0(chunk, "chunk")
        self.sigma, self.times_difference = at_least_0(sigma, "sigma"), times_difference
        if randomization < 0 or randomization == 1:
            raise ValueError(f"randomization={randomization}: 0, or 2 stages or more")
        self.randomization = randomization

    def synthesize(self, network: nn.Module, batch: dict[str, Any]) -> list[Painting]:
        with undisturbed(network):
            batch, seed = prepared(batch)
            image, label = batch["image"], self._asked(network, batch)
            with torch.no_grad():
                logits = logits_of(network(image))
            maps = self._maps(network, image, label, seed)
            shown = {method: DISPLAYS[self.display](found) for method, found in maps.items()}
            paintings = [Painting(method, image, image, shown[method], logits) for method in maps]
            if self.randomization:
                self._randomize(paintings, network, image, label, seed, maps)
        return paintings

    def check(self, network: nn.Module, batch: dict[str, Any]) -> None:
        with undisturbed(network):
            batch, _ = prepared(batch)
            image, label = batch["image"], self._asked(network, batch)
            with torch.no_grad():
                logits = logits_of(network(image))
            if self.target is not None and self.class_index(self.target, "target") >= logits.shape[1]:
                raise ValueError(f"target={self.target}: the network tells {logits.shape[1]} classes apart, from 0")
            check_wanted(label, logits)
            (guided if "guided" in self.methods else vanilla)(network, image, label)
            stages = stages_of(network, image, self.randomization) if self.randomization else []
        passes = sum(1 if method in SINGLE else self.points for method in self.methods)
        self.ticks = passes * (1 + len(stages))

    def notes(self, scores: dict[str, float]) -> list[str]:
        told = []
        for method in self.methods:
            mean, last = (scores.get(f"{method}_rank_{name}", 0.0) for name in ("stages", "random"))
            if max(mean, last) > DEPENDS_HARDLY:
                told.append(
                    f"{method}: as layers become random from the output down, the map stays much the same (mean rank "
                    f"correlation {mean:.2f}; {last:.2f} when all are): it says more about the image and the "
                    "architecture than about what the network has learnt"
                )
        return told

    def _asked(self, network: nn.Module, batch: dict[str, Any]) -> Tensor:
        """The labels whose logits count, int64 `(B,)`, or `(B, H, W)` with 255 where none does."""
        label, region = labels_of(network, batch), region_of(batch)
        target = None if self.target is None else self.class_index(self.target, "target")
        asked = label if target is None else torch.full_like(label, target)
        if label.ndim == 1:
            return asked
        counts = valid_pixels(label)
        if region is not None:
            counts = counts & region[:, 0]
        elif target is not None:
            counts = counts & (label == target)
        return torch.where(counts, asked, IGNORE_INDEX)

    def _maps(self, network: nn.Module, image: Tensor, label: Tensor, seed: Tensor) -> dict[Method, Tensor]:
        found: dict[Method, Tensor] = {}
        for method in self.methods:
            if method == "smoothgrad":
                found[method] = smoothgrad(network, image, label, seed, self.points, self.sigma, self.chunk)
            elif method == "integrated":
                found[method] = integrated(network, image, label, self.points, self.chunk, self.times_difference)
            else:
                found[method] = SINGLE[method](network, image, label)
            self.tick(1 if method in SINGLE else self.points)
        return found

    def _randomize(
        self,
        paintings: list[Painting],
        network: nn.Module,
        image: Tensor,
        label: Tensor,
        seed: Tensor,
        maps: dict[Method, Tensor],
    ) -> None:
        """Add to the paintings what became of their maps as layers became random."""
        stages = stages_of(network, image, self.randomization)
        strips: dict[str, list[Tensor]] = {method: [] for method in maps}
        ranks: dict[str, list[Tensor]] = {method: [] for method in maps}
        tables: dict[str, list[list[dict[str, Any]]]] = {method: [[] for _ in image] for method in maps}
        for stage, copied in zip(stages, randomized(network, stages), strict=True):
            for painting, (method, now) in zip(paintings, self._maps(copied, image, label, seed).items(), strict=True):
                strips[method].append(DISPLAYS[self.display](now))
                one, other = (each.abs().sum(1) for each in (maps[method], now))
                values = {"rank": rank_correlations(one, other)}
                if min(image.shape[2:]) >= SMALLEST:
                    values["ssim"] = ssim(strength(now), strength(maps[method]))
                ranks[method].append(values["rank"])
                painting.scores = {f"{method}_{name}_random": value for name, value in values.items()}  # the last stays
                for i, rows in enumerate(tables[method]):
                    numbers = {name: float(value[i]) for name, value in values.items()}
                    rows.append({"randomized": title_of(stage), **{k: _finite(v) for k, v in numbers.items()}})
        for painting in paintings:
            painting.scores[f"{painting.variant}_rank_stages"] = torch.stack(ranks[painting.variant]).nanmean(0)
            painting.beside["randomized"] = torch.cat(strips[painting.variant], 3)
            painting.tables["randomization"] = tables[painting.variant]


def _methods(given: Sequence[Method]) -> list[Method]:
    known = get_args(Method)
    for name in given:
        if name not in known:
            close = difflib.get_close_matches(str(name), known, n=1)
            raise ValueError(f"methods: {name}: {f'did you mean {close[0]}?' if close else f'none of {known}'}")
    if not given or isinstance(given, str) or len(set(given)) < len(given):
        raise ValueError(f"methods={given}: some of {', '.join(known)}, each once")
    return list(given)


def _finite(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None

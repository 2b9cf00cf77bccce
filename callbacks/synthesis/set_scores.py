"""How good a set of pictures is: Inception Score and Frechet Inception Distance, by any network's features."""

import warnings
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance  # `torchmetrics.image` has it with torch-fidelity only
from torchmetrics.image.inception import InceptionScore

from attacks import undisturbed
from callbacks.synthesis.representation import Representation, pooled

SMALLEST_LOG = -600.0
"""Of a probability: below, float64 makes it 0, and torchmetrics' score of 0 log 0 is NaN."""


def set_scores(
    painted: Iterable[Tensor],
    real: Iterable[Tensor] | None,
    network: nn.Module,
    layer: str | None = None,
    splits: int = 1,
) -> dict[str, float]:
    """Inception Score and FID of pictures, as torchmetrics computes them, in float64.

    `inception_score` (Salimans et al. 2016) is exp of the mean of KL(p(y | x) || p(y)), p(y) the mean of p(y | x) over
    the pictures: from 1, all are alike or none is clear, to the number of classes. By the logits of a network that
    classifies images. Its logarithm comes out too low by about (C - 1) / 2N for N pictures and C classes: it takes
    some ten pictures a class.

    `fid` (Heusel et al. 2017) is the distance of the normal distributions of the representations, of label maps'
    networks the mean over the pixels: 0 for equal sets. Of K units it comes out too high by about (K + 5) / 2N of their
    total variance: it takes some ten pictures a unit. With fewer, compare sets of one size by one network alone.

    The numbers are those of the network. Published ones are by `PublishedInception`, of 50,000 pictures, the
    Inception Score as the mean over 10 splits.

    Args:
        painted: batches `(B, 3, H, W)` in `[0, 1]`; one at a time is held.
        real: likewise; None leaves FID out.
        network: from images to logits; it is left as it was found. Its features are not to be its own that painted.
        layer: the layer whose input is the representation, by its name in the network; found if not given.
        splits: into how many parts, by chance but always the same, the pictures are split for the Inception Score; it
            is the mean over these, and `inception_score_std` their standard deviation.

    Returns:
        The scores, and `painted` and `real`, how many pictures they are of.

    Raises:
        ValueError: if there are too few pictures, or the network meets NaN.
    """
    counts = {"painted": 0, "real": 0}
    fid: FrechetInceptionDistance | None = None
    classified: list[Tensor] = []
    with undisturbed(network), torch.no_grad():
        for kind, pictures in (("painted", painted), ("real", real or ())):
            for units, logits in _features(pictures, network, layer):
                fid = fid or FrechetInceptionDistance(_Given(units.shape[1]), sync_on_compute=False)
                fid.update(units, real=kind == "real")
                counts[kind] += len(units)
                if kind == "painted" and logits.ndim == 2:
                    classified.append(logits.log_softmax(1).clamp(min=SMALLEST_LOG))
        scores = _inception_score(classified, splits)
    if fid is None or not counts["painted"]:
        raise ValueError("there are no pictures to score")
    if real is not None:
        scores["fid"] = _fid(fid, counts)
        if min(counts.values()) <= len(fid.real_features_sum):
            warnings.warn(
                f"fid: {counts['painted']} painted and {counts['real']} real pictures are few for "
                f"{len(fid.real_features_sum)} units: it is far too high, and to be compared between sets of as many "
                "pictures alone",
                stacklevel=2,
            )
    return scores | counts


class _Given(nn.Identity):
    """Features that were made already."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features


def _features(pictures: Iterable[Tensor], network: nn.Module, layer: str | None) -> Iterator[tuple[Tensor, Tensor]]:
    """The pooled representation and the logits of each batch, in float64 on the CPU."""
    representation: Representation | None = None
    weight = next(network.parameters(), None)
    for image in pictures:
        image = image if weight is None else image.to(weight)
        representation = representation or Representation(network, image, layer)
        found, logits = representation(image)
        units = pooled(found)
        if not (units.isfinite().all() and logits.isfinite().all()):
            raise ValueError(f"{type(network).__name__}: meets NaN or infinity in a picture, and can score none")
        yield units.double().cpu(), logits.double().cpu()


def _inception_score(logits: list[Tensor], splits: int) -> dict[str, float]:
    count = sum(map(len, logits))
    if not logits:
        return {}
    if not 1 <= splits <= count:
        raise ValueError(f"splits={splits}: from 1 to the number of pictures, {count}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it holds the logits, and one split has no deviation
        metric = InceptionScore(nn.Identity(), splits=splits, sync_on_compute=False)
        for each in logits:
            metric.update(each)
        torch.manual_seed(0)  # it shuffles; `undisturbed` puts the generator back
        mean, deviation = metric.compute()
    return {"inception_score": mean.item()} | ({"inception_score_std": deviation.item()} if splits > 1 else {})


def _fid(metric: FrechetInceptionDistance, counts: dict[str, int]) -> float:
    if min(counts.values()) < 2:
        raise ValueError(f"fid: takes 2 pictures or more of both: {counts['painted']} painted, {counts['real']} real")
    return max(metric.compute().item(), 0.0)  # of equal sets, rounding may make it negative

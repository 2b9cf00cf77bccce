"""How well input gradients are aligned with images, in numbers."""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import Tensor, nn

from attacks import undisturbed
from attacks.adversary import outside_inference
from attacks.exemplars import Exemplars
from attacks.objectives import cross_entropy, valid_mean
from attacks.seeds import mix, uniform
from callbacks.insight.measurement import Measurement
from callbacks.insight.sensitivity import gradient
from callbacks.synthesis.callback import above_0, spread

NEIGHBOURS, DIRECTIONS = 100, 20
"""Training images near an image, and their principal directions: its tangent space (Srinivas et al. 2023)."""

MOST = 2000
"""Validation samples that are read for exemplars, so that those of ImageNet fit into memory."""


class Alignment(Measurement):
    """Measures after every evaluation how far input gradients look like images: a curve beside robust accuracy.

    All are means over the same validation samples, for image-level labels and label maps; higher is better aligned.

    `cosine`: |cos(x, g)| (Etmann et al. 2019), g being the gradient of the margin of the predicted class, of label maps
    the mean margin over valid pixels; from x the mean of each channel is taken away, or brightness would decide.
    `targets`: the mean over other classes t of cos(d log p_t / dx, r - x), r the exemplar of t nearest to x, among
    validation samples that are not measured; for label maps as `GradientAlignment` has it. It flatters a network that
    was trained on it. `tangent`: the share of |g|^2 in the directions in which the nearest training images differ
    (left out where sizes differ). `slope`: of the log of g's power over the log of the frequency; natural images have
    about -2, white noise 0. A check that depends on the architecture more than on what was learnt. `agreement`: the
    cosine between g and that of `other`, a second network of another seed, which no network can be trained on alone.

    They go to the loggers as `insight/alignment_cosine`, ..., and into `results.json`.

    Args:
        samples: how many validation samples, spread evenly over the set.
        targets: how many other classes a sample, by lot.
        per_class: how many exemplars of each class.
        among: how many training images the neighbours are looked for among; 0 leaves `tangent` out.
        other: a second network from images to logits, such as one of another seed.

    Raises:
        ValueError: if a number is out of its range.
    """

    task = "alignment"

    def __init__(
        self, samples: int = 64, targets: int = 3, per_class: int = 20, among: int = 500, other: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.samples, self.targets = above_0(samples, "samples"), above_0(targets, "targets")
        self.per_class = above_0(per_class, "per_class")
        if among and among <= DIRECTIONS:
            raise ValueError(f"among={among}: more than {DIRECTIONS} images make a tangent space, or 0 for none")
        self.among, self.other = among, other
        self._exemplars: Exemplars | None = None
        self._training: Tensor | None = None

    def first_look(self, trainer: Trainer, pl_module: LightningModule, datamodule: Any, data: Any) -> None:
        """Read the exemplars and the training images, and measure one sample.

        Raises:
            MisconfigurationException: if that cannot be done.
        """
        try:
            self._learn(datamodule, data)
            self.measure(pl_module.get_submodule("network"), _batch(data, 0, pl_module))
        except ValueError as error:
            raise MisconfigurationException(f"Alignment: {error}") from error

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            self._measure_all(trainer, pl_module, trainer.val_dataloaders)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._measure_all(trainer, pl_module, trainer.test_dataloaders)

    def _measure_all(self, trainer: Trainer, pl_module: LightningModule, loader: Any) -> None:
        """Each process its share."""
        data = loader.dataset
        self._learn(getattr(trainer, "datamodule", None), data)
        sums = torch.zeros(len(self.names), 2, dtype=torch.float64)
        for index in spread(self.samples, len(data))[trainer.global_rank :: trainer.world_size]:
            found = self.measure(pl_module.get_submodule("network"), _batch(data, index, pl_module))
            for place, name in enumerate(self.names):
                values = found.get(name, torch.empty(0)).double().cpu()
                values = values[values.isfinite()]
                sums[place] += torch.tensor([values.sum(), len(values)])
        total, count = trainer.strategy.reduce(sums.to(pl_module.device), reduce_op="sum").T.tolist()
        self.results = {name: total[i] / count[i] for i, name in enumerate(self.names) if count[i]}
        pl_module.log_dict({f"insight/alignment_{name}": value for name, value in self.results.items()})

    @property
    def names(self) -> tuple[str, ...]:
        """What is measured."""
        more = (("tangent",) if self.among else ()) + (("agreement",) if self.other is not None else ())
        return ("cosine", "targets", "slope", *more)

    def _learn(self, datamodule: Any, data: Any) -> None:
        classes = len(getattr(datamodule, "classes", ()))
        if self._exemplars is None and classes:
            measured = spread(self.samples, len(data))
            if len(measured) == len(data):
                raise ValueError(f"samples={self.samples} of {len(data)}: leave some to be exemplars; lower `samples`")
            self._exemplars = Exemplars(data, classes, self.per_class, measured, MOST)
        if self.among and self._training is None and hasattr(datamodule, "plain_training_set"):
            train = datamodule.plain_training_set()
            images = [train[index]["image"] for index in spread(self.among, len(train))]
            sizes = {image.shape for image in images}
            fits = len(sizes) == 1 and len(images) > DIRECTIONS
            self._training = torch.stack([(i * 255).round().byte() for i in images]) if fits else torch.empty(0)

    def measure(self, network: nn.Module, batch: dict[str, Any]) -> dict[str, Tensor]:
        """The scores of a batch, `(B,)` each, by name; the network is left as it was found.

        Args:
            network: from images in `[0, 1]` to logits.
            batch: `image` float32 `(B, 3, H, W)` in `[0, 1]`, `label` int64 `(B,)` or `(B, H, W)`, `index` `(B,)`.
        """
        with undisturbed(network):
            image, label, index = (outside_inference(batch[key]) for key in ("image", "label", "index"))
            own = margin_gradient(network, image, label)
            found = {"cosine": _cosine(_centred(image), own).abs(), "slope": spectral_slope(own)}
            if self._exemplars is not None:
                aims = list(self._aims(network, image, label, index))
                found["targets"] = torch.stack(aims).nanmean(0)
            if self._training is not None and self._training.shape[1:] == image.shape[1:]:
                found["tangent"] = tangent_share(own, image, self._training.to(image.device))
            if self.other is not None:
                other = self.other.to(image.device)
                with undisturbed(other):
                    found["agreement"] = _cosine(margin_gradient(other, image, label), own)
        return found

    def _aims(self, network: nn.Module, image: Tensor, label: Tensor, index: Tensor) -> Iterator[Tensor]:
        assert self._exemplars is not None
        for place in range(self.targets):
            seed = mix(index.cpu(), place)
            chance = uniform(torch.empty(len(image), 3, dtype=torch.float64), seed)
            aim = self._exemplars.to(image.device).aim(image, label, chance)
            towards = -gradient(network, image, aim.label, cross_entropy)
            yield _cosine(towards, aim.direction).where(aim.known, torch.nan)


def margin_gradient(network: nn.Module, image: Tensor, label: Tensor) -> Tensor:
    """The gradient of f_i - max of other f_j, i being the predicted class; of label maps, of the mean over pixels.

    Args:
        network: in eval mode, from images to logits.
        image: `(B, 3, H, W)` in `[0, 1]`.
        label: int64 `(B,)` or `(B, H, W)`; only says which pixels are void (255).
    """

    def margin(logits: Tensor, label: Tensor) -> Tensor:
        first, second = logits.topk(2, 1).values.unbind(1)
        return valid_mean(first - second, label)

    return gradient(network, image, label, margin)


def tangent_share(gradient: Tensor, image: Tensor, training: Tensor) -> Tensor:
    """The share of |g|^2 in the span of the principal directions of the training images nearest to each image, `(B,)`.

    Args:
        gradient: g, `(B, 3, H, W)`.
        image: like it, in `[0, 1]`.
        training: uint8 `(N, 3, H, W)`.
    """
    shares = []
    for g, x in zip(gradient.double().flatten(1), image.flatten(1), strict=True):
        distances = torch.stack([(x - each / 255).square().sum() for each in training.flatten(1)])
        nearest = distances.argsort()[: min(NEIGHBOURS, len(training))]
        around = training[nearest].flatten(1).double() / 255
        around = around - around.mean(0)
        values, vectors = torch.linalg.eigh(around @ around.T)
        kept = values[-DIRECTIONS:] > 1e-9 * values[-1]
        basis = F.normalize(vectors[:, -DIRECTIONS:][:, kept].T @ around, dim=1)
        shares.append((basis @ g).square().sum() / g.square().sum())
    return torch.stack(shares)


def spectral_slope(gradient: Tensor) -> Tensor:
    """The slope of log power over log frequency, the power being the mean over channels and directions, `(B,)`."""
    height, width = gradient.shape[-2:]
    largest = min(height, width) // 2
    power = torch.fft.fft2(gradient.double()).abs().square().sum(1)
    rows, columns = (torch.fft.fftfreq(side, device=gradient.device) * min(height, width) for side in (height, width))
    ring = torch.hypot(rows[:, None], columns).round().long()
    used = (ring >= 1) & (ring <= largest)
    sums = power.new_zeros(len(power), largest).index_add_(1, ring[used] - 1, power[:, used])
    means = sums / torch.bincount(ring[used] - 1, minlength=largest)
    log_k = torch.arange(1, largest + 1, device=power.device, dtype=power.dtype).log()
    x, y = log_k - log_k.mean(), means.log()
    return (x * (y - y.mean(1, keepdim=True))).sum(1) / x.square().sum()


def _centred(image: Tensor) -> Tensor:
    return image - image.mean((2, 3), keepdim=True)


def _cosine(one: Tensor, other: Tensor) -> Tensor:
    """The cosine of the angle between each sample's values, `(B,)`; NaN where one has none that is not 0."""
    one, other = one.double().flatten(1), other.double().flatten(1)
    return (one * other).sum(1) / (one.norm(dim=1) * other.norm(dim=1))


def _batch(data: Any, index: int, pl_module: LightningModule) -> dict[str, Tensor]:
    sample = data[index]
    dtype = next(pl_module.parameters()).dtype
    image = sample["image"][None].to(pl_module.device, dtype)
    label = torch.as_tensor(sample["label"])[None].to(pl_module.device)
    return {"image": image, "label": label, "index": torch.tensor([sample["index"]])}

"""Weakly supervised localization: a box around the object from a classifier that never saw one."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset
from torchvision.utils import draw_bounding_boxes

from attacks import undisturbed
from attacks.objectives import logits_of
from callbacks.insight.box_scores import BoxHits, scores
from callbacks.insight.boxes import box_of
from callbacks.insight.heatmaps import ClassActivation, gradient_heatmap
from callbacks.interruption import interruptible
from callbacks.synthesis.callback import PictureCallback, spread
from callbacks.synthesis.painting import Painting
from callbacks.synthesis.progress_bar import painting_bar

AT_ONCE = 32
"""Images that go through the network together, however large a batch is."""

RED, GREEN = (255, 0, 0), (0, 255, 0)


class Localization(PictureCallback):
    """Finds the object by where the network looks, and measures how often (Aggarwal et al. 2020, Table 4, Figure 4).

    A heatmap is cut at a threshold, and the box around the largest component is the estimate. `gradient` is that of the
    loss at the predicted class, also where the truth is known, as in the code of the paper's authors; `cam` the class
    activation map of the label's class (Zhou et al. 2016), of the predicted one where there is no label. The data give
    a `box` for each image: float32 `(B, 4)`, left, top, right and bottom in pixels. All images of an evaluation are
    measured, each once on any number of processes; a few are shown, red the true box, green the estimate, over the
    heatmap. `results.json` has under `synthesis`, `localization`, as fractions of 1, for each heatmap:

    As published. `gt_known_loc`: the share of images whose box at the fixed threshold has an intersection over union of
    .5 or more, by the convention of that code (it adds a pixel to each side). `top1_loc`: those of them whose class is
    right, too; `top1_acc` is the share of right classes. `max_box_acc`: MaxBoxAcc of Choe et al. 2020, by
    areas as they are, at the best of the thresholds 0, .001, ... .999, one for all images; `max_box_acc_v2`: any
    component counts, and it is the mean over .3, .5 and .7; `max_box_acc_70`: the largest, at .7. These choose on the
    images that they are measured on.

    Honest. `box_acc`, `box_acc_v2`, `box_acc_70`: the same at the threshold that was the best one on training images as
    evaluation would see them; `top1_box_acc`: those whose class is right, too; `threshold`: which one it was.

    Beside them `centred_...`: the best box in the middle of the image, of one height and width for all, chosen
    likewise. No network is in it, and it finds 59 % of CUB's birds: `..._gain` is what a heatmap has above it.

    A box that the crop has cut counts as what is left of it. One that is empty is found by nothing.

    Args:
        heatmaps: which ones.
        threshold: the fixed one, in [0, 1), in steps of .001.
        training_share: of the training images, how many choose the threshold, evenly spread; 0 leaves that out.
        layer: for `cam`, the last linear map by its name in the network; found if not given.
        samples: how many validation samples are shown, spread evenly over the set, or their indices.
        every_n_epochs: after the evaluation of every n-th epoch; the last one always.

    Raises:
        ValueError: if a setting is out of its range.
    """

    task = "localization"

    def __init__(
        self,
        heatmaps: Sequence[Literal["gradient", "cam"]] = ("gradient",),
        threshold: float = 0.2,
        training_share: float = 0.5,
        layer: str | None = None,
        samples: int | list[int] = 8,
        every_n_epochs: int = 1,
    ) -> None:
        super().__init__(samples, every_n_epochs)
        self.heatmaps = list(heatmaps)
        if not self.heatmaps or len(set(self.heatmaps)) < len(self.heatmaps) or {*heatmaps} - {"gradient", "cam"}:
            raise ValueError(f"heatmaps={self.heatmaps}: gradient, cam or both")
        if not 0 <= threshold < 1:
            raise ValueError(f"threshold={threshold}: in [0, 1), as a share of the heatmap's highest value")
        if not 0 <= training_share <= 1:
            raise ValueError(f"training_share={training_share}: between 0 and 1")
        self.threshold, self.training_share, self.layer = threshold, training_share, layer
        self._hits: BoxHits | None = None
        self._activation: ClassActivation | None = None

    def synthesize(self, network: nn.Module, batch: dict[str, Any]) -> list[Painting]:
        """Heatmaps and boxes of a batch, with the true ones where it has `box`; needs neither labels nor a Trainer."""
        image, paintings = batch["image"], []
        for kind, (heatmap, logits) in self._look(network, image, batch.get("label")).items():
            estimated = torch.tensor(np.stack([box_of(each, self.threshold) for each in heatmap]))
            boxes = [estimated] if "box" not in batch else [batch["box"].cpu(), estimated]
            heat = torch.tensor(heatmap).to(image)
            shown = _drawn(image, heat, torch.stack(boxes, 1))
            variant = kind if len(self.heatmaps) > 1 else ""
            beside = {"heatmap": heat[:, None].expand_as(image)}
            paintings.append(Painting(variant, image, image, shown, logits, beside=beside))
        return paintings

    def check(self, network: nn.Module, batch: dict[str, Any]) -> None:
        with undisturbed(network), torch.no_grad():
            logits = logits_of(network(batch["image"]))
        if logits.ndim != 2 or batch.get("label", logits[:, 0]).ndim != 1:
            raise ValueError("is for one class an image; of label maps, the prediction itself says where things are")
        if logits.shape[1] < 2:
            raise ValueError("the network tells one class apart, so that nothing speaks for it; it takes two or more")
        if "box" in batch:
            look_at_boxes(batch["box"], batch["image"])
            if (batch["box"] <= 1).all() and (batch["box"] > 0).any():
                raise ValueError(f"the `box` {batch['box'][0].tolist()} has shares of its image: give it in pixels")
        self.synthesize(network, batch)

    def first_look(self, trainer: Trainer, pl_module: LightningModule, datamodule: Any, data: Any) -> None:
        self._learn(trainer, datamodule)
        _require_box(data, self._chosen(data)[0], "batches")
        super().first_look(trainer, pl_module, datamodule, data)
        if self.training_images is not None and self.training_share:
            _require_box(self.training_images(), 0, "training images")

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._hits = BoxHits(self.heatmaps, self.threshold) if self.is_due(trainer) else None

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._hits = BoxHits(self.heatmaps, self.threshold)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if self._hits is not None:
            self._count(self._hits, pl_module, batch, pl_module.owned(batch["index"]))  # type: ignore[operator]

    on_test_batch_end = on_validation_batch_end

    def _make(self, trainer: Trainer, pl_module: LightningModule, loader: Any) -> None:
        super()._make(trainer, pl_module, loader)
        if self._hits is None:  # it was not due when the evaluation began
            self.measured = {}
            return

        def over(count: np.ndarray) -> np.ndarray:
            total = trainer.strategy.reduce(torch.tensor(count, device=pl_module.device), reduce_op="sum")
            return torch.as_tensor(total).cpu().numpy()

        training = None
        if self.training_images is not None and self.training_share:
            training = BoxHits(self.heatmaps, self.threshold)
            batches = self._training_batches(trainer, loader)
            with painting_bar(trainer, "threshold on training images", len(batches)) as tick:
                for batch in batches:
                    everything = torch.ones(len(batch["image"]), dtype=torch.bool)
                    self._count(training, pl_module, trainer.precision_plugin.convert_input(batch), everything)
                    tick(1)
            training.sum(over)
        self._hits.sum(over)
        self.measured = scores(self._hits, training)
        self._hits = None

    def _training_batches(self, trainer: Trainer, loader: Any) -> DataLoader[dict[str, Any]]:
        """This process's share of the training images that thresholds are chosen on."""
        assert self.training_images is not None
        data = self.training_images()
        chosen = spread(max(1, round(self.training_share * len(data))), len(data))
        mine = chosen[trainer.global_rank :: trainer.world_size]
        generator = torch.Generator()  # of its own: loaders draw a number from the global one
        options = {name: getattr(loader, name) for name in ("num_workers", "collate_fn", "worker_init_fn")}
        return DataLoader(Subset(data, mine), AT_ONCE, generator=generator, **options)

    def _count(self, hits: BoxHits, pl_module: LightningModule, batch: dict[str, Any], mine: Tensor) -> None:
        if "box" not in batch:
            raise MisconfigurationException(_absent("batches"))
        network = pl_module.get_submodule("network")
        if not mine.any():  # all are another process's
            return
        image, label, box = (batch[key][mine].to(pl_module.device) for key in ("image", "label", "box"))
        try:
            look_at_boxes(box, image)
        except ValueError as error:
            raise MisconfigurationException(f"Localization: {error}") from error
        with interruptible(network):
            for begin in range(0, len(image), AT_ONCE):
                part = slice(begin, begin + AT_ONCE)
                found = self._look(network, image[part], label[part])
                right = (next(iter(found.values()))[1].argmax(1) == label[part]).cpu().numpy()
                hits.add({kind: heatmap for kind, (heatmap, _) in found.items()}, box[part].cpu().numpy(), right)

    def _look(self, network: nn.Module, image: Tensor, label: Tensor | None) -> dict[str, tuple[np.ndarray, Tensor]]:
        """Heatmaps and logits, by the heatmap's name."""
        found: dict[str, tuple[np.ndarray, Tensor]] = {}
        for kind in self.heatmaps:
            if kind == "gradient":
                found[kind] = gradient_heatmap(network, image)
            else:
                if self._activation is None or self._activation.network is not network:
                    self._activation = ClassActivation(network, image, self.layer)
                found[kind] = self._activation(image, label)
        return found


def look_at_boxes(box: Any, image: Tensor) -> None:
    """Raises ValueError if boxes are not as `Localization` says, or lie outside of their images."""
    height, width = image.shape[2:]
    wanted = "`box` is float (B, 4): left, top, right and bottom in pixels of the image, one for each image"
    if not isinstance(box, Tensor) or box.shape != (len(image), 4):
        shape = f"{tuple(box.shape)} for {len(image)} images" if isinstance(box, Tensor) else f"a {type(box).__name__}"
        raise ValueError(f"{wanted}; here it is {shape}")
    limits = torch.tensor([width, height, width, height], device=box.device)
    wrong = (box < 0) | (box > limits) | ~box.isfinite()
    wrong[:, :2] |= box[:, :2] > box[:, 2:]
    if wrong.any():
        bad = box[wrong.any(1)][0].tolist()
        raise ValueError(f"{wanted}; {bad} is none in an image of {height} x {width}: clamp it, or give its corners")


def _require_box(data: Any, index: int, what: str) -> None:
    if "box" not in data[index]:
        raise MisconfigurationException(_absent(what))


def _absent(what: str) -> str:
    return f"Localization: the {what} have no `box`: left, top, right and bottom in pixels, of each image; CUB200 has"


def _drawn(image: Tensor, heat: Tensor, boxes: Tensor) -> Tensor:
    """Images under their heatmaps, from black over red and yellow to white, with boxes `(B, N, 4)`, the last green."""
    colours = torch.stack([(3 * heat - channel).clamp(0, 1) for channel in range(3)], 1)
    mixed = ((image + colours) / 2 * 255).round().clamp(0, 255).byte().cpu()
    drawn = []
    for picture, own in zip(mixed, boxes, strict=True):
        lines = own.round().clone()
        lines[:, 2:] = torch.maximum(lines[:, 2:] - 1, lines[:, :2])  # the last pixel that is in
        drawn.append(draw_bounding_boxes(picture, lines, colors=[RED, GREEN][-len(own) :], width=2))
    return (torch.stack(drawn).float() / 255).to(image)

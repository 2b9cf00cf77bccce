"""The worst of several attacks, image by image, from what each of them left right."""

import torch
from torch import Tensor

from lightning_modules.counts import Counts, summary


def worst_case(counts: Counts, loss: Tensor, dense: bool) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """Metrics of an adversary who picks, for each image, one of several attacks; and the attacks picked, `(N,)`.

    Two choices are returned: that for accuracy and loss, and that for the mIoU, which for image-level labels is the
    same.

    Accuracy and loss are those of the attack that leaves the fewest right pixels of each image (or the image wrong, for
    image-level labels); of equals, that of the larger loss. The mIoU of a data set is no mean over images: for label
    maps `miou` and `iou` are those of a choice of their own, found greedily (Croce et al. 2024, sec. 3.4).

    Args:
        counts: of each attack and image, `(A, N, C)`.
        loss: of each attack and image, `(A, N)`.
        dense: the labels are label maps.
    """
    right = counts.tp.sum(2)
    picked = loss.masked_fill(right > right.amin(0), -torch.inf).argmax(0)
    values, lowest = summary(_totals(counts, picked), dense), picked
    if dense:
        lowest = lowest_miou(counts, picked)
        found = summary(_totals(counts, lowest), dense)
        values |= {"miou": found["miou"], "iou": found["iou"]}
    values["loss"] = loss.gather(0, picked[None]).double().mean()
    values["samples"] = torch.tensor(len(picked))
    return values, picked, lowest


def chosen(counts: Counts, choice: Tensor) -> Counts:
    """Each image's counts under the attack that `choice` `(N,)` says, `(N, C)`."""
    return Counts(*(each[choice, torch.arange(len(choice))] for each in counts))


def lowest_miou(counts: Counts, *starts: Tensor, rounds: int = 10) -> Tensor:
    """An attack for each image, `(N,)`, such that the mIoU of all images together is low.

    Begins with each single attack, and with each choice in `starts`. Image by image in random order, takes another
    attack if that lowers the mIoU of all images together, until nothing changes. The lowest of these is returned.
    """
    attacks, images = counts.tp.shape[:2]
    generator = torch.Generator().manual_seed(0)
    best, found = torch.inf, torch.zeros(images, dtype=torch.int64)
    for start in (*(torch.full((images,), attack) for attack in range(attacks)), *starts):
        choice, totals, changed = start.clone(), _totals(counts, start), True
        for _ in range(rounds):
            if not changed:
                break
            changed = False
            for image in torch.randperm(images, generator=generator).tolist():
                now = choice[image]
                pairs = zip(totals, counts, strict=True)
                swapped = Counts(*(total - each[now, image] + each[:, image] for total, each in pairs))
                miou = _miou(*swapped)
                lowest = int(miou.argmin())
                if miou[lowest] < miou[now]:
                    choice[image], changed = lowest, True
                    totals = Counts(*(each[lowest] for each in swapped))
        if (value := float(_miou(*totals))) < best:
            best, found = value, choice
    return found


def _miou(tp: Tensor, fp: Tensor, fn: Tensor) -> Tensor:
    return (tp.double() / (tp + fp + fn)).nanmean(-1)


def _totals(counts: Counts, choice: Tensor) -> Counts:
    return Counts(*(each.sum(0) for each in chosen(counts, choice)))

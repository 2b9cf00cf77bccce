"""What becomes of a painting on disk, at the size of the picture that it was painted on."""

import json
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from callbacks.synthesis.painting import Painting
from callbacks.synthesis.pictures import animation, picture, side_by_side
from paint.files import Sample


def results_of(painting: Painting, i: int, sample: Sample) -> dict[str, Image.Image | bytes]:
    """The files of a painting, by what their names end in; the first one is the result.

    Args:
        painting: what came out of a batch.
        i: the sample's place in the batch.
        sample: what was read.
    """
    working, size = painting.original.shape[-2:], sample.stored.shape[-2:]
    found: dict[str, Image.Image | bytes] = {".png": result_of(painting, i, sample)}
    for kind, images in painting.beside.items():
        found[f"_{kind}.png"] = picture(_scaled(images[i], working, size))
    for kind, tables in painting.tables.items():
        found[f"_{kind}.json"] = (json.dumps(tables[i], indent=1) + "\n").encode()
    if painting.way:
        way = [picture(image[i]) for image in (painting.start, *painting.way)]
        found |= {"_way.png": side_by_side(way), "_way.gif": animation(way)}
    return found


def result_of(painting: Painting, i: int, sample: Sample) -> Image.Image:
    """The result at the size of its picture; where it is none of that picture's, as a larger one, at its own.

    If nothing has moved outside of the hole, every pixel there is that of the file.
    """
    result, original = painting.result[i], painting.original[i]
    if result.shape != original.shape:
        return picture(result)
    size = sample.stored.shape[-2:]
    found = picture(_scaled(result, original.shape[-2:], size))
    if painting.hole is None:
        return found
    hole = painting.hole[i].cpu()
    if not torch.equal(torch.where(hole, 0, result.cpu()), torch.where(hole, 0, original.cpu())):
        return found
    if sample.mask is not None and torch.equal(hole, sample.tensors["mask"]):
        hole = sample.mask
    else:
        hole = F.resize(hole.to(torch.uint8), list(size), F.InterpolationMode.NEAREST_EXACT).bool()
    return F.to_pil_image(torch.where(hole, F.pil_to_tensor(found), sample.stored))


def small_of(painting: Painting, i: int, sample: Sample) -> dict[str, Image.Image]:
    """What a contact sheet shows of a painting: the start, the result, and what stands beside it."""
    working, size = painting.original.shape[-2:], sample.stored.shape[-2:]
    given = {"start": painting.start, **painting.beside}
    found = {kind: picture(_scaled(images[i], working, size)) for kind, images in given.items()}
    return found | {"result": result_of(painting, i, sample)}


def seen_in(logits: Tensor, classes: list[str], most: int = 5) -> dict[str, float]:
    """What the network sees: the likeliest class and its probability, or the classes and their shares of the pixels.

    Args:
        logits: `(C,)` or `(C, H, W)`.
        classes: the classes' names; without them they go by their numbers.
        most: classes that are named.
    """
    if logits.ndim == 1:
        shares, most = logits.double().softmax(0), 1
    else:
        shares = logits.argmax(0).flatten().bincount(minlength=len(logits)) / logits[0].numel()
    order = shares.argsort(descending=True, stable=True)[:most].tolist()
    return {_name(label, classes): round(float(shares[label]), 4) for label in order if shares[label] > 0}


def scores_of(painting: Painting, i: int) -> dict[str, float | None]:
    """The scores of a sample; None where there is no number."""
    values = {name: float(score[i]) for name, score in painting.scores.items()}
    return {name: value if torch.tensor(value).isfinite() else None for name, value in values.items()}


def _scaled(image: Tensor, working: Any, size: Any) -> Tensor:
    """An image of the working size at that of the file; one of another size as it is."""
    if image.shape[-2:] != working or working == size:
        return image
    return F.resize_image(image.cpu(), list(size), antialias=True)


def _name(label: int, classes: list[str]) -> str:
    return classes[label] if label < len(classes) else f"class {label}"

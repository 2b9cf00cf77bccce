"""Inception Score and FID of all that a network has generated."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from callbacks.synthesis.set_scores import set_scores
from datamodules.images import read_image
from datamodules.transforms import Resize
from paint.files import Picture
from paint.record import Record
from trained_network import Size

FEWEST = 2
"""Pictures of which there is a covariance."""


@dataclass
class Features:
    """What sets of pictures are scored by.

    `network` is another one than that which painted, `size` what images are made for it, `source` what it is, as JSON.
    """

    network: nn.Module
    size: Size
    source: dict[str, Any]


def generated_scores(record: Record, run: str, pictures: list[Picture], features: Features) -> dict[str, Any]:
    """`set_scores` of a network's results, against the pictures that were given; empty of fewer than two.

    Args:
        record: what was painted.
        run: the network's name.
        pictures: what was given.
        features: what they are scored by; where it has none, a `note` says so.
    """
    painted = [path for picture in pictures for path in record.results(run, picture.name)]
    real = [picture.path for picture in pictures if record.results(run, picture.name)]
    if min(len(painted), len(real)) < FEWEST:
        return {}
    sets = [_images(paths, features.size) for paths in (painted, real)]
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            scores: dict[str, Any] = {**set_scores(sets[0], sets[1], features.network)}
        except ValueError as error:  # the pictures are painted all the same
            return {"note": f"no Inception Score and no FID: {error}"}
    notes = [str(each.message) for each in told if str(each.message).startswith("fid")]
    return scores | {"features": features.source} | ({"note": notes[0]} if notes else {})


def _images(paths: list[Path], size: Size) -> Iterator[Tensor]:
    transform = Resize(size).image
    for path in paths:
        yield transform(read_image(path, upright=True).as_subclass(Tensor))[None]

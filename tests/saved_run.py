"""Runs as `paint` finds them on disk, without a training; their networks are in float64."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import networks
import torch
import yaml
from torch import nn


def colour(classes: int = 3) -> nn.Sequential:
    """Logits `(B, classes)` of images of any size, the mean of a channel each: red, green or blue; float64."""
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, classes))
    network[2].weight.data.copy_(10 * torch.eye(classes, 3))
    network[2].bias.data.zero_()
    return network.double()


def save_run(
    folder: Path,
    network: str = "networks.fcn",
    classes: Sequence[str] = ("sky", "road", "tree"),
    data: dict[str, Any] | None = None,
    factor: float = 1.0,
) -> Path:
    """A run's config and checkpoint.

    Args:
        folder: of the run.
        network: what makes the network, by its path.
        classes: their names; it is given their number.
        data: arguments of the data, as far as `paint` looks at them.
        factor: of the weights, so that networks differ.
    """
    module = {"networks.fcn": networks.fcn, "saved_run.colour": colour}[network](len(classes))
    state = {f"network.{name}": value * factor for name, value in module.state_dict().items()}
    (folder / "checkpoints").mkdir(parents=True)
    content = {"pytorch-lightning_version": "2", "state_dict": state, "training": {"classes": list(classes)}}
    torch.save(content, folder / "checkpoints" / "last.ckpt")
    config = {
        "model": {"network": {"class_path": network, "init_args": {"classes": len(classes)}}},
        "data": {"class_path": "SegmentationFolder", "init_args": data or {"eval_size": 24}},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder

"""Tensors as pictures."""

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from reports.palette import color


def picture(image: Tensor) -> Image.Image:
    """An image `(3, H, W)` in `[0, 1]`."""
    return F.to_pil_image((image.detach().float().cpu().clamp(0, 1) * 255).round().byte())


def strip(*images: Tensor) -> Image.Image:
    """Images `(3, H, W)` side by side, two pixels apart."""
    gap = torch.ones(3, images[0].shape[1], 2)
    parts = [part for image in images for part in (image.detach().float().cpu(), gap)]
    return picture(torch.cat(parts[:-1], dim=2))


def on_one_size(pictures: list[Image.Image]) -> list[Image.Image]:
    """The pictures on white paper of one size, as dashboards want them."""
    size = max(p.width for p in pictures), max(p.height for p in pictures)
    papers = [Image.new("RGB", size, "white") for _ in pictures]
    for paper, content in zip(papers, pictures, strict=True):
        paper.paste(content)
    return papers


def label_picture(label: Tensor) -> Image.Image:
    """A label map `(H, W)` as a palette image: PASCAL VOC's colours, void in white."""
    result = Image.fromarray(label.byte().cpu().numpy(), mode="P")
    result.putpalette([channel for index in range(256) for channel in color(index)])
    return result

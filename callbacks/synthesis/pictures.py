"""Tensors as pictures."""

from io import BytesIO
from pathlib import Path

from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from reports.palette import color


def picture(image: Tensor) -> Image.Image:
    """An image `(3, H, W)` in `[0, 1]`."""
    return F.to_pil_image((image.detach().float().cpu().clamp(0, 1) * 255).round().byte())


def open_picture(path: Path) -> Image.Image:
    """A picture from a file, in colour."""
    with Image.open(path) as found:
        return found.convert("RGB")


def side_by_side(pictures: list[Image.Image]) -> Image.Image:
    """Pictures in a row, two pixels apart, on white."""
    paper = Image.new("RGB", (sum(p.width + 2 for p in pictures) - 2, max(p.height for p in pictures)), "white")
    left = 0
    for each in pictures:
        paper.paste(each, (left, 0))
        left += each.width + 2
    return paper


def animation(pictures: list[Image.Image], seconds: float = 3.0) -> bytes:
    """Pictures one after the other, as a GIF that rests at the last one."""
    buffer = BytesIO()
    durations = [round(1000 * seconds / len(pictures))] * (len(pictures) - 1) + [1000]
    first, *others = (each.quantize() for each in pictures)
    first.save(buffer, "GIF", save_all=True, append_images=others, duration=durations, loop=0)
    return buffer.getvalue()


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

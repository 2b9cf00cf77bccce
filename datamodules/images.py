"""Image and label files, read whole or refused by name."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISREG

import numpy as np
import torch
from PIL import Image, ImageFile, ImageOps
from scipy.io import loadmat
from torchvision import tv_tensors

from datamodules.lossy import is_lossy

try:
    from simplejpeg import decode_jpeg
except ImportError:
    decode_jpeg = None

IGNORE_INDEX = 255

FORMATS = (
    "AVIF", "BMP", "DIB", "GIF", "ICO", "JPEG", "JPEG2000", "PCX", "PNG", "PPM", "QOI", "SGI", "TGA", "TIFF",
    "WEBP",
)  # fmt: skip
"""The kinds of file that are read. Pillow would also start other programs on some, and opens some it cannot decode."""

MAX_PIXELS = 2**28
"""The most pixels of an image, unless the environment variable SADDLE_MAX_PIXELS says otherwise."""

AGAIN = "export or fetch it again, or remove it"


class DataError(ValueError):
    """Data that is missing, broken or of another layout; the message names the file and the remedy."""


def read_image(path: Path, upright: bool = False) -> tv_tensors.Image:
    """An image as uint8 `(3, H, W)`; grey and CMYK files become RGB.

    Args:
        path: the file.
        upright: turn it as its EXIF tag says, as every viewer does. Published data sets count pixels as they are
            stored, and so do torchvision's references: theirs stay as they are.
    """
    if (pixels := _plain_jpeg(path, upright)) is not None:
        return tv_tensors.Image(torch.from_numpy(pixels).permute(2, 0, 1))
    image, stored = _open(path)
    if image.mode.startswith(("I", "F")) or ";16" in stored:
        raise DataError(f"{path}: an image of more than 8 bits a channel; convert it to 8 bits")
    return tv_tensors.Image(torch.from_numpy(_rgb(_upright(image) if upright else image)).permute(2, 0, 1))


def _plain_jpeg(path: Path, upright: bool) -> np.ndarray | None:
    """The pixels of a JPEG, `(H, W, 3)`, in three quarters of Pillow's time, and the same.

    None where simplejpeg is not installed, and if the file is something else or broken: Pillow tells what is wrong.
    """
    if decode_jpeg is None:
        return None
    with open_header(path) as image:
        if image.format != "JPEG" or image.mode not in ("L", "RGB") or (upright and _orientation(image) != 1):
            return None
    with suppress(ValueError, OSError):
        return decode_jpeg(path.read_bytes())
    return None


def _rgb(image: Image.Image) -> np.ndarray:
    if "transparency" in image.info:
        image = image.convert("RGBA")  # else Pillow warns
    return np.array(image.convert("RGB"))


def read_label_map(path: Path, colours: bool = False, upright: bool = False) -> np.ndarray:
    """The values of a label map as they are stored, `(H, W)`.

    Of an image of one channel, perhaps with alpha, or of equal ones: its values, also where viewers scale them (grey of
    2 or 4 bits); of one bit, white is 1. Of a palette: the indices. Or of a `.npy` file, or a `.mat` file of SBD.

    Args:
        path: the file.
        colours: take the colours instead: red x 65536 + green x 256 + blue.
        upright: turn it as its EXIF tag says.
    """
    if path.suffix in (".mat", ".npy"):
        label = _read_sbd(path) if path.suffix == ".mat" else np.array(_array(path))
        if label.ndim != 2 or label.dtype.kind not in "iub":
            raise DataError(f"{path}: a label map is (H, W) class indices, this is {label.shape} {label.dtype}")
        return label.astype(np.uint8) if label.dtype == bool else label
    image, stored = _open(path)
    if is_lossy(image.format, path):
        raise DataError(f"{path}: a label map as {image.format}, which changes the values it stores; save it as PNG")
    image = _upright(image) if upright else image
    if colours and not image.mode.startswith(("I", "F")) and ";16" not in stored:
        return _rgb(image).astype(np.int32) @ np.array([65536, 256, 1], dtype=np.int32)
    label = np.asarray(image)
    if label.ndim == 3:
        label = _one_channel(label, image.mode.endswith(("A", "a")), path)
    cut = ";16" in stored and not image.mode.startswith("I")  # Pillow drops half of each number
    inverse = stored.startswith("L;") and "I" in stored
    if colours or cut or inverse or label.dtype.kind not in "iub":
        what = f"a label map that Pillow reads as {image.mode}, stored as {stored}"
        raise DataError(f"{path}: {what}, does not hold class indices; save it as grey PNG of 8 bits")
    return _unscaled(label.astype(np.uint8) if label.dtype == bool else label, stored)


def _one_channel(label: np.ndarray, alpha: bool, path: Path) -> np.ndarray:
    """One of several channels that are equal; the last may be alpha."""
    channels = label[..., :-1] if alpha else label
    other = (channels[..., 1:] != channels[..., :1]).any(-1)
    if other.any():
        colour = ",".join(map(str, channels[other][0].tolist()))
        raise DataError(
            f"{path}: a label map of colours, such as {colour}, and not of one channel of class indices; "
            f"SegmentationFolder's `values` gives colours a class"
        )
    return channels[..., 0]


def _unscaled(label: np.ndarray, stored: str) -> np.ndarray:
    """The values before Pillow spread them over all of a byte, or of two."""
    if stored.startswith("maxval "):
        return np.rint(label * (int(stored.split()[1]) / (255 if label.dtype == np.uint8 else 65535))).astype(np.int32)
    return label // {"L;2": 85, "L;4": 17}.get(stored[:3], 1) if stored.startswith("L;") else label


def _read_sbd(path: Path) -> np.ndarray:
    with reading(path), path.open("rb") as file:
        return loadmat(file)["GTcls"]["Segmentation"][0, 0]


def _array(path: Path) -> np.ndarray:
    """A NumPy array that is not read yet; of another size than its header says, it is refused."""
    with reading(path):
        _regular_size(path)
        return np.load(path, mmap_mode="r", allow_pickle=False)


def _open(path: Path) -> tuple[Image.Image, str]:
    """A decoded image, and how its file stores pixels, in Pillow's words: `L;2` is grey of 2 bits."""
    image = open_header(path)
    try:
        with image:
            if image.format == "PNG":
                image.verify()  # the checksums, which decoding leaves aside; afterwards it must be opened again
                image = Image.open(path, formats=["PNG"])
            if image.format == "BMP" and image.mode == "1" and _bmp_bits(path) != 1:
                raise ValueError("Pillow misreads a BMP of two colours in more than one bit a pixel: save it as PNG")
            stored = _stored(image)
            image.load()
            return image, stored
    except Exception as error:  # each format's reader has errors of its own
        raise DataError(f"{path}: corrupt or truncated image ({error}); {AGAIN}") from None


def _bmp_bits(path: Path) -> int:
    """Bits a pixel, from the header."""
    with path.open("rb") as file:
        header = file.read(30)
    place = 24 if header[14] == 12 else 28  # in the header of OS/2, and in all others
    return int.from_bytes(header[place : place + 2], "little")


def _stored(image: ImageFile.ImageFile) -> str:
    args = image.tile[0].args if image.tile else ""
    if image.format == "PPM" and isinstance(args, tuple) and isinstance(args[-1], int) and image.tile[0][0] != "raw":
        return f"maxval {args[-1]}" if args[-1] < 256 or image.mode == "I" else "RGB;16"
    return str(args[0]) if isinstance(args, tuple) and args else str(args)


def open_header(path: Path) -> ImageFile.ImageFile:
    """An image file of which only the header was read; to be closed.

    Raises DataError if it is none, or if it claims more pixels than its bytes can hold, or than SADDLE_MAX_PIXELS.
    """
    limit = _pixel_limit()
    try:
        size = _regular_size(path)
        Image.MAX_IMAGE_PIXELS = None  # Pillow's look at the header, which cannot tell what ours tells
        image = Image.open(path, formats=FORMATS)
        Image.MAX_IMAGE_PIXELS = limit  # for what some kinds say later
    except FileNotFoundError:
        raise DataError(f"{path}: no such image; is the data set complete?") from None
    except DataError:
        raise
    except Exception as error:  # each format's reader has errors of its own
        reason = "no image of a known kind" if isinstance(error, Image.UnidentifiedImageError) else error
        raise DataError(f"{path}: corrupt or truncated image ({reason}); {AGAIN}") from None
    pixels = image.width * image.height
    if pixels > min(limit, _most_pixels(image, size)):
        image.close()
        claim = f"{path}: claims {image.width} x {image.height} pixels"
        if pixels > _most_pixels(image, size):
            raise DataError(f"{claim}, more than its {size} bytes can hold: corrupt or truncated image; {AGAIN}")
        remedy = f"if that is right, set the environment variable SADDLE_MAX_PIXELS={pixels}"
        raise DataError(f"{claim}, above the limit of {limit}; {remedy}")
    return image


def _pixel_limit() -> int:
    limit = os.environ.get("SADDLE_MAX_PIXELS", str(MAX_PIXELS))
    if not (limit.isascii() and limit.isdigit() and int(limit[:19]) > 0):
        raise DataError(f"SADDLE_MAX_PIXELS={limit}: must be the most pixels that an image may have, a whole number")
    return int(limit[:19])


def _most_pixels(image: ImageFile.ImageFile, size: int) -> float:
    """The most pixels that a file of this size can hold, for kinds where that is known."""
    if image.format in ("JPEG", "MPO"):
        return 4096 * size  # 512 are a bit for each block; arithmetic coding can do with less
    stored = _stored(image)
    few = re.fullmatch("[LP];([124])[A-Z]*", stored)
    bits = 1 if stored[:2] in ("1", "1;") else int(few[1]) if few else 8
    if image.format == "PNG":
        return 1032 * 8 / bits * size  # deflate makes at most 1032 bytes of one
    if image.tile and image.tile[0][0] in ("raw", "ppm", "ppm_plain"):
        return 8 / bits * size
    return float("inf")


def _regular_size(path: Path) -> int:
    """The size of a file in bytes; raises DataError if it is a folder, a pipe or the like, which may never end."""
    state = path.stat()
    if not S_ISREG(state.st_mode):
        raise DataError(f"{path}: corrupt or truncated image (no regular file); {AGAIN}")
    return state.st_size


def _orientation(image: Image.Image) -> int:
    """EXIF's number for how an image is turned, 1 to 8; Pillow turns TIFFs by itself."""
    if image.format != "TIFF" and image.info.keys() & {"exif", "Raw profile type exif"}:
        with suppress(Exception):  # a broken tag turns nothing
            orientation = int(image.getexif().get(0x0112, 1))
            return orientation if 1 <= orientation <= 8 else 1
    return 1


def _upright(image: Image.Image) -> Image.Image:
    return image if _orientation(image) == 1 else ImageOps.exif_transpose(image)


def upright_size(path: Path) -> tuple[int, int]:
    """Height and width of an image or a `.npy` label map, turned as its EXIF tag says, from the header alone."""
    if path.suffix == ".npy":
        return _array(path).shape[:2]
    with open_header(path) as image:
        return image.size if _orientation(image) > 4 else image.size[::-1]


def check_labels(label: np.ndarray, num_classes: int, path: Path) -> None:
    """Raises DataError if a label is neither a class nor void."""
    if label.dtype == np.uint8 and (label + np.uint8(1)).max(initial=0) <= num_classes:  # 255 becomes 0
        return
    wrong = label[(label != IGNORE_INDEX) & ((label < 0) | (label >= num_classes))]
    if wrong.size:
        raise DataError(
            f"{path}: the label map has label {int(wrong[0])} outside the {num_classes} classes 0..{num_classes - 1}; "
            f"map it to a class (`values` of SegmentationFolder) or to {IGNORE_INDEX} (void)"
        )


@contextmanager
def reading(path: Path, remedy: str = "fetch it again") -> Iterator[None]:
    """Turns whatever goes wrong while a file is read into a DataError that names it. A pipe, too: it may not end."""
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise DataError(f"{path}: no file, but a pipe or a device; put a file there")
        yield
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{error.filename or path}: not found; is the data set complete?") from None
    except Exception as error:  # each format's reader has errors of its own
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path}: broken, or of another format ({reason}); {remedy}") from None


def image_endings() -> set[str]:
    """The endings, such as `.jpg`, of the kinds of image that can be read."""
    return {ending for ending, kind in Image.registered_extensions().items() if kind in FORMATS}

import os
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from one_line import one_line
from PIL import Image
from scipy.io import savemat
from tiny_data import picture

from datamodules import images
from datamodules.images import (
    DataError,
    check_labels,
    image_endings,
    read_image,
    read_label_map,
    reading,
    upright_size,
)

FETCH = ("corrupt or truncated", "fetch it again")


@pytest.fixture
def both(monkeypatch):
    """Reads an image with simplejpeg and without: what they are, or None where it is refused."""

    def read(path, upright=False):
        found = []
        for decoder in (images.decode_jpeg, None):
            monkeypatch.setattr(images, "decode_jpeg", decoder)
            try:
                found.append(read_image(path, upright).numpy())
            except DataError as error:
                assert path.name in str(error) and "\n" not in str(error)
                found.append(None)
        monkeypatch.undo()
        return found

    return read


@pytest.fixture
def save(tmp_path):
    """Saves an array or a picture under a name; gives its path."""

    def save(content, name, **options):
        image = content if isinstance(content, Image.Image) else Image.fromarray(content)
        image.save(tmp_path / name, **options)
        return tmp_path / name

    return save


def inside_png(width, height, data=b""):
    """A PNG whose header promises a size, whatever its data."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)), (b"IDAT", zlib.compress(data))]
    packed = (
        struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d)) for t, d in [*chunks, (b"IEND", b"")]
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


# Images


def test_an_image_is_read_pixel_by_pixel_channels_first(save):
    pixels = picture(0, 40, 48)
    image = read_image(save(pixels, "image.png"))
    assert image.dtype == torch.uint8
    assert np.array_equal(image, pixels.transpose(2, 0, 1))


@pytest.mark.parametrize("name", ["grey.jpg", "grey.png"])
def test_a_grey_image_becomes_rgb(save, name):
    grey = Image.fromarray(picture(0, 40, 48)).convert("L")
    image = read_image(save(grey, name))
    assert image.shape == (3, 40, 48)
    assert torch.equal(image[0], image[1]) and torch.equal(image[0], image[2])
    assert np.abs(image[0].numpy().astype(int) - np.asarray(grey)).max() < 30


@pytest.mark.parametrize(("mode", "name"), [("CMYK", "image.jpg"), ("RGBA", "image.png"), ("P", "image.png")])
def test_other_modes_become_rgb_of_the_same_colors(save, mode, name):
    red = Image.new("RGB", (40, 48), (220, 40, 40))
    image = read_image(save(red.convert(mode), name))
    assert image.shape == (3, 48, 40)
    assert (image.float().mean((1, 2)) - torch.tensor([220.0, 40, 40])).abs().max() < 15


@pytest.mark.parametrize("size", [(1, 1), (1, 17), (7, 3), (16, 17), (33, 31)])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
def test_jpegs_of_any_size_and_kind_are_the_pixels_drawn(save, size, progressive, subsampling):
    pixels = np.broadcast_to(np.linspace(20, 230, size[1], dtype=np.uint8)[:, None], (*size, 3))
    path = save(np.ascontiguousarray(pixels), "a.jpg", quality=98, progressive=progressive, subsampling=subsampling)
    difference = read_image(path).numpy().astype(int) - pixels.transpose(2, 0, 1)
    assert np.abs(difference).max() <= 4


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"subsampling": 1}, {"quality": 5}])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_jpeg_is_the_same_without_simplejpeg(save, both, mode, options):
    exif = Image.Exif()
    exif[0x0112] = 6
    for number, size in enumerate([(1, 1), (7, 5), (33, 50), (64, 48)]):
        path = save(Image.fromarray(picture(number, *size)).convert(mode), "a.jpg", exif=exif, **options)
        for upright in (False, True):
            one, other = both(path, upright)
            assert one is not None and np.array_equal(one, other)


def test_a_damaged_jpeg_is_refused_or_the_same_without_simplejpeg(save, both):
    path = save(picture(3, 64, 48), "a.jpg")
    content, random = path.read_bytes(), np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(content)
        for place in random.integers(len(content), size=random.integers(1, 4)):
            damaged[place] ^= 1 << random.integers(8)
        path.write_bytes(damaged)
        one, other = both(path)
        assert (one is None and other is None) or np.array_equal(one, other)


@pytest.mark.parametrize("marker", [True, False])
def test_a_cmyk_jpeg_has_its_colors_with_adobes_marker_and_without(save, marker):
    """Photoshop stores the inverse, marked or not; whoever forgets it sees a negative."""
    path = save(Image.new("RGB", (16, 16), (30, 60, 200)).convert("CMYK"), "cmyk.jpg", quality=95)
    if not marker:
        data = path.read_bytes()
        start = data.index(b"\xff\xee")
        path.write_bytes(data[:start] + data[start + 2 + int.from_bytes(data[start + 2 : start + 4], "big") :])
        assert b"Adobe" not in path.read_bytes()
    assert (read_image(path).float().mean((1, 2)) - torch.tensor([30.0, 60, 200])).abs().max() < 10


def test_the_kind_of_file_is_told_by_its_content_and_not_its_name(save):
    pixels = picture(0, 40, 48)
    as_jpeg, as_png = save(pixels, "a.jpg", format="PNG"), save(pixels, "b.png", format="JPEG", quality=98)
    assert np.array_equal(read_image(as_jpeg), pixels.transpose(2, 0, 1))
    assert np.abs(read_image(as_png).numpy().astype(int) - pixels.transpose(2, 0, 1)).mean() < 3


def test_what_follows_a_jpeg_is_left_aside(save):
    path = save(picture(0, 40, 48), "a.jpg")
    expected = read_image(path)
    path.write_bytes(path.read_bytes() + b"\0" * 1000 + b"junk")
    assert torch.equal(read_image(path), expected)


TURNS = {
    1: lambda pixels: pixels,
    2: np.fliplr,
    3: lambda pixels: np.rot90(pixels, 2),
    4: np.flipud,
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: np.rot90(pixels, 2).swapaxes(0, 1),
    8: np.rot90,
    9: lambda pixels: pixels,  # no such orientation
}


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("name", ["a.png", "a.webp"])
def test_an_image_is_turned_as_viewers_show_it_where_that_is_wanted(save, orientation, name):
    """And not elsewhere: annotations of published sets count pixels as they are stored."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels, label = picture(0, 40, 48), np.arange(40 * 48, dtype=np.uint8).reshape(40, 48) % 21
    path = save(pixels, name, exif=exif, **({"lossless": True} if name == "a.webp" else {}))
    turned = TURNS[orientation](pixels)
    assert np.array_equal(read_image(path), pixels.transpose(2, 0, 1))
    assert np.array_equal(read_image(path, upright=True), turned.transpose(2, 0, 1))
    assert upright_size(path) == turned.shape[:2]
    label_path = save(label, "label.png", exif=exif)
    assert np.array_equal(read_label_map(label_path), label)
    assert np.array_equal(read_label_map(label_path, upright=True), TURNS[orientation](label))


def test_a_photograph_is_turned_too(save):
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = picture(0, 40, 48)
    path = save(pixels, "a.jpg", exif=exif, quality=98)
    assert read_image(path).shape == (3, 40, 48)
    difference = read_image(path, upright=True).numpy().astype(int) - TURNS[6](pixels).transpose(2, 0, 1)
    assert np.abs(difference).mean() < 3


def test_a_broken_tag_turns_nothing(save):
    path = save(picture(0, 40, 48), "a.jpg", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\xff broken")
    assert read_image(path, upright=True).shape == (3, 40, 48) and upright_size(path) == (40, 48)


@pytest.mark.parametrize("transparency", [3, bytes(range(256))])
def test_transparent_colors_of_a_palette_are_seen(save, transparency):
    image = Image.fromarray(picture(0, 40, 48)).quantize(16)
    path = save(image, "image.png", transparency=transparency)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow would rather have RGBA
        assert np.array_equal(read_image(path), np.asarray(image.convert("RGB")).transpose(2, 0, 1))


def test_an_image_of_one_bit_is_black_and_white(save):
    bits = picture(0, 40, 48)[..., 0] > 128
    assert np.array_equal(read_image(save(bits, "bits.png")), np.stack([bits * np.uint8(255)] * 3))


@pytest.mark.parametrize("mode", ["LA", "YCbCr", "LAB", "RGBX"])
def test_any_mode_of_8_bits_can_be_read(save, mode):
    assert read_image(save(Image.new(mode, (6, 4)), "image.tif")).shape == (3, 4, 6)


def test_an_image_of_16_bits_is_not_clipped_to_white(save):
    path = save(np.linspace(0, 65535, 1600).astype(np.uint16).reshape(40, 40), "deep.png")
    with pytest.raises(DataError, match=one_line("deep.png", "bit")):
        read_image(path)


def test_colours_of_16_bits_are_refused_too(tmp_path):
    """Pillow opens them as if they were of 8, and drops half of each number."""
    for color_type, channels in ((2, 3), (6, 4), (4, 2)):
        rows = b"".join(b"\0" + struct.pack(">H", 40_000) * 4 * channels for _ in range(3))
        chunks = [(b"IHDR", struct.pack(">IIBBBBB", 4, 3, 16, color_type, 0, 0, 0)), (b"IDAT", zlib.compress(rows))]
        content = b"\x89PNG\r\n\x1a\n"
        for kind, data in [*chunks, (b"IEND", b"")]:
            content += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        (tmp_path / "deep.png").write_bytes(content)
        with pytest.raises(DataError, match=one_line("deep.png", "more than 8 bits")):
            read_image(tmp_path / "deep.png")


def test_a_palette_with_transparency_is_read_without_a_word(save):
    image = Image.new("P", (6, 4), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    path = save(image, "icon.png", transparency=bytes([0, 128]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(path)[:, 0, 0].tolist() == [10, 20, 30]


def test_file_names_may_be_of_any_script_and_even_of_no_encoding(save):
    pixels = picture(0, 8, 8)
    for name in ("Grüße 世界 ☃.png", os.fsdecode(b"latin\xe4.png")):
        assert np.array_equal(read_image(save(pixels, name)), pixels.transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("cut.jpg", lambda data: data[: len(data) // 2]),
        ("cut.png", lambda data: data[: len(data) // 2]),
        ("header.png", lambda data: data[:20]),
        ("page.jpg", lambda data: b"<html>404</html>"),
        ("empty.jpg", lambda data: b""),
        ("start.jpg", lambda data: b"\xff\xd8"),
        ("void.jpg", lambda data: b"\xff\xd8\xff\xd9"),
        ("zeros.jpg", lambda data: bytes(len(data))),
        ("bomb.png", lambda data: inside_png(60000, 60000)),
        ("bomb.ppm", lambda data: b"P5 16000 16000 255 "),
        ("bomb.pbm", lambda data: b"P4 16000 16000 "),
        ("bomb.jpg", lambda data: data.replace(struct.pack(">HH", 60, 60), struct.pack(">HH", 16000, 16000))),
        ("nothing.png", lambda data: inside_png(0, 0)),
        ("short.png", lambda data: inside_png(40, 40, bytes(100))),
    ],
)
def test_a_damaged_image_is_named(save, name, damage):
    path = save(picture(0, 60, 60), name)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=one_line(name, *FETCH)):
        read_image(path)


@pytest.mark.parametrize(
    ("mode", "options"), [("RGB", {}), ("RGB", {"progressive": True}), ("RGB", {"subsampling": "4:4:4"}), ("L", {})]
)
def test_a_jpeg_is_refused_wherever_it_was_cut(save, mode, options):
    path = save(Image.fromarray(picture(0, 40, 48)).convert(mode), "cut.jpg", **options)
    data = path.read_bytes()
    for end in range(0, len(data) - 2, 11):
        path.write_bytes(data[:end])
        with pytest.raises(DataError, match=one_line("cut.jpg", *FETCH)):
            read_image(path)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.bmp", "a.gif", "a.tif", "a.webp", "a.qoi"])
def test_a_damaged_file_is_a_data_error_or_an_image_and_nothing_else(save, name):
    path = save(picture(0, 16, 16), name)
    data, random = path.read_bytes(), np.random.default_rng(0)
    for _ in range(100):
        damaged = bytearray(data)
        damaged[random.integers(min(len(data), 200))] = random.integers(256)
        path.write_bytes(damaged)
        try:
            assert read_image(path).dtype == torch.uint8
        except DataError as error:
            assert "\n" not in str(error)


def test_a_missing_image_is_named(tmp_path):
    with pytest.raises(DataError, match=one_line("absent.jpg", "no such image", "complete?")):
        read_image(tmp_path / "absent.jpg")


@pytest.mark.parametrize("read", [read_image, read_label_map])
@pytest.mark.parametrize("ending", ["jpg", "png", "mat"])
def test_a_link_to_nowhere_and_a_folder_are_named(tmp_path, read, ending):
    (tmp_path / f"link.{ending}").symlink_to(tmp_path / "nowhere")
    (tmp_path / f"folder.{ending}").mkdir()
    with pytest.raises(DataError, match=one_line(f"link.{ending}", "complete?")):
        read(tmp_path / f"link.{ending}")
    with pytest.raises(DataError, match=one_line(f"folder.{ending}", "fetch it again")):
        read(tmp_path / f"folder.{ending}")


def test_endings_are_those_of_images_that_can_be_read():
    assert {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".webp"} < image_endings()
    assert not {".pdf", ".txt", ".mat"} & image_endings()


# Label maps


@pytest.mark.parametrize("mode", ["L", "P"])
def test_a_label_map_is_read_as_stored(save, mode):
    stored = np.array([[0, 7, 255], [1, 20, 11]], dtype=np.uint8)
    image = Image.fromarray(stored)
    if mode == "P":
        image.putpalette([17, 3, 99] * 256)
    assert np.array_equal(read_label_map(save(image, "label.png")), stored)


def test_a_label_map_of_16_bits_keeps_large_values(save):
    stored = np.array([[0, 300], [65535, 5]], dtype=np.uint16)
    assert np.array_equal(read_label_map(save(stored, "label.png")), stored)


def bits_png(values, bits, color_type):
    """A PNG of few bits a pixel: grey (0) or indices of a palette (3)."""
    rows = b"".join(
        b"\0" + np.packbits(np.unpackbits(row[:, None], axis=1)[:, 8 - bits :].ravel()).tobytes()
        for row in values.astype(np.uint8)
    )
    height, width = values.shape
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color_type, 0, 0, 0))]
    chunks += [(b"PLTE", bytes(3 * 2**bits))] if color_type == 3 else []
    chunks += [(b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d)) for t, d in chunks
    )


@pytest.mark.parametrize("color_type", [0, 3])
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_values_of_few_bits_are_those_stored_and_not_those_shown(tmp_path, bits, color_type):
    values = np.arange(77).reshape(7, 11) % min(2**bits, 200)
    (tmp_path / "label.png").write_bytes(bits_png(values, bits, color_type))
    assert np.array_equal(read_label_map(tmp_path / "label.png"), values)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_an_image_of_few_bits_is_as_it_is_shown(tmp_path, bits):
    values = np.arange(77).reshape(7, 11) % 2**bits
    (tmp_path / "image.png").write_bytes(bits_png(values, bits, 0))
    assert np.array_equal(read_image(tmp_path / "image.png")[0], values * (255 // (2**bits - 1)))


@pytest.mark.parametrize("most", [1, 20, 255, 300, 65535])
def test_values_of_a_pgm_are_those_stored(tmp_path, most):
    values = np.arange(60).reshape(6, 10) % (most + 1)
    dtype = ">u2" if most > 255 else np.uint8
    (tmp_path / "label.pgm").write_bytes(f"P5 10 6 {most}\n".encode() + values.astype(dtype).tobytes())
    assert np.array_equal(read_label_map(tmp_path / "label.pgm"), values)


@pytest.mark.parametrize("name", ["label.png", "label.tif", "label.bmp", "label.webp"])
@pytest.mark.parametrize("mode", ["LA", "RGB", "RGBA", "1"])
def test_equal_channels_alpha_and_one_bit_are_read_without_a_detour(save, mode, name):
    label = np.arange(63, dtype=np.uint8).reshape(7, 9) % (2 if mode == "1" else 21)
    if mode == "1":
        image = Image.fromarray(label.astype(bool))
    else:
        alpha = [np.full_like(label, 255)] if mode.endswith("A") else []
        image = Image.fromarray(np.stack([label] * (1 if mode == "LA" else 3) + alpha, -1), mode)
    if (name, mode) in (("label.bmp", "LA"), ("label.webp", "1")):
        return  # Pillow does not write them, or spreads them over a byte
    path = save(image, name, **({"lossless": True} if name == "label.webp" else {}))
    assert np.array_equal(read_label_map(path), label)


def test_colours_are_numbers_of_24_bits_and_never_class_indices(save):
    colours = np.array([[[128, 0, 0], [0, 0, 0]], [[1, 2, 3], [255, 255, 255]]], dtype=np.uint8)
    numbers = [[128 << 16, 0], [1 << 16 | 2 << 8 | 3, 2**24 - 1]]
    path = save(colours, "label.png")
    assert read_label_map(path, colours=True).tolist() == numbers
    assert read_label_map(save(Image.fromarray(colours).quantize(4), "p.png"), colours=True).tolist() == numbers
    assert read_label_map(save(np.eye(2, dtype=bool), "bit.png"), colours=True).tolist() == [
        [2**24 - 1, 0],
        [0, 2**24 - 1],
    ]
    with pytest.raises(DataError, match=one_line("label.png", "128,0,0", "one channel of class indices", "values")):
        read_label_map(path)


@pytest.mark.parametrize("colours", [False, True])
def test_a_label_map_of_a_kind_that_changes_values_is_refused(save, colours):
    path = save(np.zeros((8, 8), dtype=np.uint8), "label.jpg")
    with pytest.raises(DataError, match=one_line("label.jpg", "JPEG", "save it as PNG")):
        read_label_map(path, colours)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, bool])
def test_a_label_map_may_be_an_array(tmp_path, dtype):
    label = np.arange(6).reshape(2, 3).astype(dtype)
    np.save(tmp_path / "label.npy", label)
    assert np.array_equal(read_label_map(tmp_path / "label.npy"), label)
    assert upright_size(tmp_path / "label.npy") == (2, 3)


@pytest.mark.parametrize(
    "content", [np.zeros((2, 3, 1), dtype=np.uint8), np.zeros((2, 3)), np.array([{"a": 1}], dtype=object), None]
)
def test_an_array_that_is_no_label_map_is_named(tmp_path, content):
    path = tmp_path / "label.npy"
    np.save(path, np.zeros((100, 100), dtype=np.uint8) if content is None else content)
    if content is None:
        path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(DataError, match=one_line("label.npy")):
        read_label_map(path)


@pytest.mark.parametrize("read", [read_image, read_label_map])
def test_more_pixels_than_are_allowed_are_told_from_the_header_and_can_be_allowed(save, monkeypatch, read):
    path = save(np.zeros((20, 30), dtype=np.uint8), "large.png")
    monkeypatch.setenv("SADDLE_MAX_PIXELS", "599")
    with pytest.raises(DataError, match=one_line("large.png", "30 x 20 pixels", "599", "SADDLE_MAX_PIXELS=600")):
        read(path)
    monkeypatch.setenv("SADDLE_MAX_PIXELS", "600")
    assert read(path).shape[-2:] == (20, 30)
    monkeypatch.setenv("SADDLE_MAX_PIXELS", "many")
    with pytest.raises(DataError, match=one_line("SADDLE_MAX_PIXELS=many", "whole number")):
        read(path)


@pytest.mark.parametrize("mode", ["1", "L", "RGB"])
def test_no_image_of_one_colour_holds_more_than_its_bytes_can(save, mode):
    """However well it is compressed."""
    for name in ("white.png", "white.jpg", "white.tif", "white.bmp", "white.ppm"):
        if not (mode == "1" and name == "white.jpg"):
            path = save(Image.new(mode, (3000, 2000), 1), name, **({"optimize": True} if name == "white.png" else {}))
            assert upright_size(path) == (2000, 3000)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(DataError, match=one_line("pipe.png", "no regular file")):
        read_image(tmp_path / "pipe.png")


def test_a_label_map_of_fractions_is_refused(save):
    path = save(np.full((4, 4), 0.5, dtype=np.float32), "label.tif")
    with pytest.raises(DataError, match=one_line("label.tif", "class indices")):
        read_label_map(path)


def test_a_damaged_label_map_is_refused_and_never_misread(save):
    """Of PNGs whose size is whole: a decoder that skips the checksums gives wrong labels."""
    stored = np.kron(np.arange(20, dtype=np.uint8).reshape(4, 5), np.ones((9, 9), dtype=np.uint8))
    path = save(stored, "label.png", compress_level=1)
    data, random, refused = path.read_bytes(), np.random.default_rng(0), 0
    for _ in range(300):
        damaged = bytearray(data)
        damaged[random.integers(8, len(data))] ^= 1 << random.integers(8)
        path.write_bytes(damaged)
        try:
            assert np.array_equal(read_label_map(path), stored)
        except DataError:
            refused += 1
    assert refused > 200


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float64])
def test_a_label_map_of_sbd_is_read_from_its_struct(tmp_path, dtype):
    """MATLAB stores whole numbers of any type in bytes."""
    stored = np.array([[0, 7, 20], [1, 0, 3]])
    savemat(tmp_path / "a.mat", {"GTcls": {"Segmentation": stored.astype(dtype), "CategoriesPresent": [1, 3, 7, 20]}})
    if dtype == np.float64:
        with pytest.raises(DataError, match=one_line("a.mat", "class indices", "float64")):
            read_label_map(tmp_path / "a.mat")
    else:
        assert np.array_equal(read_label_map(tmp_path / "a.mat"), stored)


@pytest.mark.parametrize(
    "content",
    [
        {"GTinst": {"Segmentation": np.zeros((4, 4), dtype=np.uint8)}},
        {"GTcls": {}},
        {"GTcls": 1},
        {"GTcls": {"Segmentation": "text"}},
        {"GTcls": {"Segmentation": np.zeros((4, 4, 3), dtype=np.uint8)}},
        {"GTcls": {"Segmentation": {"a": 1}}},
    ],
)
def test_a_mat_file_of_another_layout_is_named(tmp_path, content):
    savemat(tmp_path / "a.mat", content)
    with pytest.raises(DataError, match=one_line("a.mat")):
        read_label_map(tmp_path / "a.mat")


@pytest.mark.parametrize("end", [0, 1, 100, 130, 200])
def test_a_truncated_mat_file_is_named(tmp_path, end):
    path = tmp_path / "a.mat"
    savemat(path, {"GTcls": {"Segmentation": np.zeros((40, 40), dtype=np.uint8)}}, do_compression=True)
    path.write_bytes(path.read_bytes()[:end])
    with pytest.raises(DataError, match=one_line("a.mat", "fetch it again")):
        read_label_map(path)


@pytest.mark.parametrize("value", [12, 254, 256 + 3, 65535, -1])
def test_a_label_outside_the_classes_is_told(tmp_path, value):
    label = np.array([[0, 11, 255, value]], dtype=np.int32)
    with pytest.raises(DataError, match=one_line("image.png", f"label {value} ", "12 classes 0..11", "255 (void)")):
        check_labels(label, 12, tmp_path / "image.png")


def test_all_classes_and_void_are_labels(tmp_path):
    check_labels(np.array([[*range(12), 255]]), 12, tmp_path / "image.png")


# Files


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("first line\nsecond line"), ("list.txt", "first line", "fetch it again")),
        (RuntimeError(), ("list.txt", "RuntimeError", "fetch it again")),
        (RecursionError("too deep"), ("list.txt", "too deep", "fetch it again")),
        (FileNotFoundError(2, "No such file", "other.txt"), ("other.txt", "not found", "complete?")),
        (PermissionError(13, "Permission denied", "list.txt"), ("list.txt", "Permission denied")),
        (DataError("list.txt: as it was"), ("list.txt: as it was",)),
    ],
)
def test_whatever_goes_wrong_while_reading_names_the_file_in_one_line(error, told):
    with pytest.raises(DataError, match=one_line(*told)), reading(Path("list.txt")):
        raise error


def test_an_interrupt_while_reading_stays_one():
    with pytest.raises(KeyboardInterrupt), reading(Path("list.txt")):
        raise KeyboardInterrupt


@pytest.mark.parametrize("remedy", [None, "export it again"])
def test_a_pipe_which_may_never_end_is_told_and_not_read(tmp_path, remedy):
    os.mkfifo(tmp_path / "list.txt")
    told = pytest.raises(DataError, match=one_line(tmp_path / "list.txt", "pipe"))
    with told, reading(tmp_path / "list.txt", *([remedy] if remedy else [])):
        (tmp_path / "list.txt").read_bytes()


def test_reading_says_what_the_owner_of_a_file_may_do(tmp_path):
    told = pytest.raises(DataError, match=one_line("a.json", "broken", "7", "export it again"))
    with told, reading(tmp_path / "a.json", "export it again"):
        raise ValueError(7)


def test_a_photograph_is_turned_as_its_tag_says_if_asked(tmp_path):
    stored = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(stored).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(read_image(tmp_path / "a.png"), stored.transpose(2, 0, 1))
    turned = np.rot90(stored, -1).transpose(2, 0, 1)
    assert np.array_equal(read_image(tmp_path / "a.png", upright=True), turned)


@pytest.mark.parametrize("bits", [1, 8])
def test_a_bmp_of_two_colours_is_read_right_or_told(tmp_path, bits):
    """Pillow 13 takes 8 bits a pixel for one where the palette is black and white: all becomes black."""
    label = np.array([[0, 1, 1], [1, 0, 0]], dtype=np.uint8)
    image = Image.fromarray(label, "P") if bits == 8 else Image.fromarray(label.astype(bool))
    if bits == 8:
        image.putpalette([0, 0, 0, 255, 255, 255])
    path = tmp_path / "mask.bmp"
    image.save(path)
    if bits == 1:
        assert (read_label_map(path) == label).all()
        return
    for read in (read_label_map, read_image):
        with pytest.raises(DataError, match=one_line("mask.bmp", "save it as PNG")):
            read(path)

import os
import pickle
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

from datamodules.images import (
    DataError,
    Paths,
    check_labels,
    files_by_stem,
    image_endings,
    read_image,
    read_label_map,
    reading,
)

FETCH = ("corrupt or truncated", "fetch it again")


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


def test_a_camera_held_upright_does_not_turn_the_image_away_from_its_labels(save):
    """Annotations count pixels as they are stored."""
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation
    pixels = picture(0, 40, 48)
    assert np.array_equal(read_image(save(pixels, "a.png", exif=exif)), pixels.transpose(2, 0, 1))
    assert read_image(save(pixels, "a.jpg", exif=exif)).shape == (3, 40, 48)


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


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "1"])
def test_a_label_map_of_several_channels_or_one_bit_is_refused(save, mode):
    path = save(Image.new(mode, (4, 4)), "label.png")
    with pytest.raises(DataError, match=one_line("label.png", "one channel of class indices")):
        read_label_map(path)


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


def test_paths_are_a_sequence_of_files_below_their_folder():
    paths = Paths(Path("data"), ["a.jpg", "below/Grüße.png", "/elsewhere/c.mat", os.fsdecode(b"latin\xe4.png")])
    expected = [Path("data/a.jpg"), Path("data/below/Grüße.png"), Path("/elsewhere/c.mat")]
    assert len(paths) == 4 and list(paths)[:3] == expected == list(paths[:3])
    assert paths[-1] == Path("data", os.fsdecode(b"latin\xe4.png"))
    assert isinstance(paths[1:], Paths) and paths[1:][1] == expected[2]
    with pytest.raises(IndexError):
        paths[4]


def test_many_paths_are_one_array_and_no_list():
    paths = Paths(Path("data"), (f"{i:012}.jpg" for i in range(10_000)))
    assert paths.names.nbytes == 16 * 10_000
    assert len(pickle.dumps(paths)) < 16 * 10_000 + 1000
    assert pickle.loads(pickle.dumps(paths))[9999] == Path("data/000000009999.jpg")


def test_no_paths_at_all_are_empty_and_not_enough(tmp_path):
    assert list(Paths(tmp_path, [])) == []
    with pytest.raises(DataError, match=one_line(tmp_path.name, "no images to use", "unpack it")):
        Paths(tmp_path, []).require("unpack it")


def test_required_files_may_lie_in_several_folders_and_elsewhere(tmp_path):
    names = ["a.jpg", "one/b.jpg", "one/two/c.jpg", "Grüße.jpg", os.fsdecode(b"latin\xe4.png"), str(tmp_path / "d.jpg")]
    for name in names:
        (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / name).touch()
    paths = Paths(tmp_path / "root", names)
    assert paths.require("unpack it") is paths


@pytest.mark.parametrize("absent", [["b.jpg"], ["below/a.jpg", "b.jpg"], ["a.jpg/b.jpg"]])
def test_absent_files_are_counted_and_the_first_is_named(tmp_path, absent):
    (tmp_path / "a.jpg").touch()
    count = f"listed but absent ({len(absent)} of {1 + len(absent)} images)"
    with pytest.raises(DataError, match=one_line(tmp_path / absent[0], count, "unpack it")):
        Paths(tmp_path, ["a.jpg", *absent]).require("unpack it")


def test_files_are_found_by_stem_in_order_without_hidden_ones(tmp_path):
    for name in ("b.png", "a.jpg", ".DS_Store", "frame.10.png"):
        (tmp_path / name).touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "linked").symlink_to(tmp_path / "folder")
    (tmp_path / "bb.png").symlink_to(tmp_path / "nowhere")
    assert list(files_by_stem(tmp_path).items()) == [
        ("a", tmp_path / "a.jpg"),
        ("b", tmp_path / "b.png"),
        ("bb", tmp_path / "bb.png"),  # to be missed, not to be left out
        ("frame.10", tmp_path / "frame.10.png"),
    ]


def test_two_files_of_one_stem_are_told(tmp_path):
    """One of them would silently be left out."""
    for name in ("a.jpg", "a.png"):
        (tmp_path / name).touch()
    with pytest.raises(DataError, match=one_line("a.jpg", "a.png")):
        files_by_stem(tmp_path)


@pytest.mark.parametrize("folder", ["absent", "empty", "hidden"])
def test_a_folder_without_files_is_told(tmp_path, folder):
    (tmp_path / "empty").mkdir()
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / ".DS_Store").touch()
    with pytest.raises(DataError, match=one_line(folder, "no such folder, or no files in it")):
        files_by_stem(tmp_path / folder)


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

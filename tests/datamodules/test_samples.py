import pickle

import numpy as np
import pytest
import torch
from one_line import one_line
from PIL import Image
from tiny_data import picture, write_images

from datamodules.samples import (
    DataError,
    LabelFiles,
    LabelledImages,
    UnlabelledImages,
    check_labels,
    files_by_stem,
    read_image,
    read_label_map,
)
from datamodules.transforms import eval_transform


@pytest.fixture
def save(tmp_path):
    """Saves an array or a picture under a name; gives its path."""

    def save(content, name):
        image = content if isinstance(content, Image.Image) else Image.fromarray(content)
        image.save(tmp_path / name)
        return tmp_path / name

    return save


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


def test_an_image_of_16_bits_is_not_clipped_to_white(save):
    path = save(np.linspace(0, 65535, 1600).astype(np.uint16).reshape(40, 40), "deep.png")
    with pytest.raises(DataError, match=one_line("deep.png", "bit")):
        read_image(path)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("cut.jpg", lambda data: data[: len(data) // 2]),
        ("cut.png", lambda data: data[: len(data) // 2]),
        ("header.png", lambda data: data[:20]),
        ("page.jpg", lambda data: b"<html>404</html>"),
        ("empty.jpg", lambda data: b""),
    ],
)
def test_a_damaged_image_is_named(save, name, damage):
    path = save(picture(0, 60, 60), name)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=one_line(name, "corrupt or truncated", "fetch it again")):
        read_image(path)


def test_a_missing_image_is_named(tmp_path):
    with pytest.raises(DataError, match=one_line("absent.jpg", "no such image", "complete?")):
        read_image(tmp_path / "absent.jpg")


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


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_void_values_become_255_and_others_stay(save, dtype):
    stored = np.array([[0, 11], [12, 3]], dtype=dtype)
    read = LabelFiles([save(stored, "label.png")], void=[11, 12, 65535])
    assert read(0).tolist() == [[0, 255], [255, 3]]
    assert LabelFiles(read.paths)(0).tolist() == stored.tolist()


def test_a_void_value_may_be_larger_than_a_byte(save):
    stored = np.array([[0, 65535]], dtype=np.uint16)
    assert LabelFiles([save(stored, "label.png")], void=[65535])(0).tolist() == [[0, 255]]


@pytest.mark.parametrize("value", [12, 254, 256 + 3, 65535, -1])
def test_a_label_outside_the_classes_is_told(tmp_path, value):
    label = np.array([[0, 11, 255, value]], dtype=np.int32)
    with pytest.raises(DataError, match=one_line("image.png", f"label {value} ", "12 classes 0..11", "255 (void)")):
        check_labels(label, 12, tmp_path / "image.png")


def test_all_classes_and_void_are_labels(tmp_path):
    check_labels(np.array([[*range(12), 255]]), 12, tmp_path / "image.png")


@pytest.fixture
def labelled(save):
    """A data set of one image and the label map given."""

    def labelled(label, num_classes=12):
        image, read = save(picture(0, 40, 48), "image.png"), LabelFiles([save(label, "label.png")])
        return LabelledImages([image], read, num_classes, eval_transform(None))

    return labelled


def test_a_sample_holds_image_label_region_and_index(labelled):
    label = np.random.default_rng(0).integers(0, 12, (40, 48), dtype=np.uint8)
    label[:3] = 255
    sample = labelled(label)[0]
    assert {key: (value.dtype, tuple(value.shape)) for key, value in sample.items() if key != "index"} == {
        "image": (torch.float32, (3, 40, 48)),
        "label": (torch.int64, (40, 48)),
        "region": (torch.bool, (1, 40, 48)),
    }
    assert np.allclose(sample["image"], picture(0, 40, 48).transpose(2, 0, 1) / 255)
    assert np.array_equal(sample["label"], label)
    assert sample["region"].all(), "void pixels are part of the image"
    assert sample["index"] == 0


def test_a_label_map_of_another_size_is_told(labelled):
    with pytest.raises(DataError, match=one_line("image.png", "(40, 48)", "(48, 40)")):
        labelled(np.zeros((48, 40), dtype=np.uint8))[0]


@pytest.mark.parametrize("value", [12, 300])
def test_a_sample_with_a_label_outside_the_classes_is_told(labelled, value):
    with pytest.raises(DataError, match=one_line(".png", f"label {value} ")):
        labelled(np.full((40, 48), value, dtype=np.uint16))[0]


def test_images_to_predict_are_all_pictures_of_the_folder_in_order(tmp_path):
    paths = write_images(tmp_path / "pictures")
    images = pickle.loads(pickle.dumps(UnlabelledImages(tmp_path / "pictures", eval_transform((24, 32)))))
    samples = [images[index] for index in range(len(images))]
    assert [sample["path"] for sample in samples] == [str(path) for path in paths]
    assert [sample["index"] for sample in samples] == [0, 1, 2]
    assert [sample["size"] for sample in samples] == [Image.open(path).size[::-1] for path in paths]
    for sample in samples:
        assert sample["image"].shape == (3, 24, 32) and sample["image"].dtype == torch.float32
        assert sample["image"].min() >= 0 and sample["image"].max() <= 1


@pytest.mark.parametrize("name", ["._first.jpg", "paper.pdf"])
def test_files_that_are_no_pictures_are_not_predicted(tmp_path, name):
    """Such as what macOS leaves beside a file, and formats that Pillow writes but does not read."""
    paths = write_images(tmp_path)
    (tmp_path / name).write_bytes(b"no picture")
    assert UnlabelledImages(tmp_path, eval_transform(None)).images == paths


def test_a_folder_without_images_to_predict_is_told(tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "notes.txt").write_text("")
    for name in ("absent", "notes"):
        with pytest.raises(DataError, match=one_line(name, "no folder with images")):
            UnlabelledImages(tmp_path / name, eval_transform(None))


def test_files_are_found_by_stem_in_order_without_hidden_ones(tmp_path):
    for name in ("b.png", "a.jpg", ".DS_Store", "frame.10.png"):
        (tmp_path / name).touch()
    (tmp_path / "folder").mkdir()
    assert list(files_by_stem(tmp_path).items()) == [
        ("a", tmp_path / "a.jpg"),
        ("b", tmp_path / "b.png"),
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

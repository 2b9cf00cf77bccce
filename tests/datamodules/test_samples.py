import pickle

import numpy as np
import pytest
import torch
from one_line import one_line
from PIL import Image
from tiny_data import picture, write_images

from datamodules.label_values import LabelValues
from datamodules.samples import ClassifiedImages, DataError, LabelFiles, LabelledImages, UnlabelledImages
from datamodules.transforms import RandomScaleCrop, Resize


@pytest.fixture
def save(tmp_path):
    """Saves an array under a name; gives its path."""

    def save(content, name):
        Image.fromarray(content).save(tmp_path / name)
        return tmp_path / name

    return save


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_void_values_become_255_and_others_stay(save, dtype):
    stored = np.array([[0, 11], [12, 3]], dtype=dtype)
    read = LabelFiles([save(stored, "label.png")], LabelValues(list(map(str, range(11))), void=[11, 12, 65535]))
    assert read(0).tolist() == [[0, 255], [255, 3]]
    assert LabelFiles(read.paths)(0).tolist() == stored.tolist()


def test_a_void_value_may_be_larger_than_a_byte(save):
    stored = np.array([[0, 65535]], dtype=np.uint16)
    assert LabelFiles([save(stored, "label.png")], LabelValues(["a"], void=[65535]))(0).tolist() == [[0, 255]]


@pytest.fixture
def labelled(save):
    """A data set of one image and the label map given."""

    def labelled(label, num_classes=12, transform=None):
        image, read = save(picture(0, 40, 48), "image.png"), LabelFiles([save(label, "label.png")])
        return LabelledImages([image], read, num_classes, transform or Resize(None))

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


def test_a_sample_is_what_its_transform_makes_of_image_and_label(labelled):
    dataset = labelled(np.zeros((40, 48), dtype=np.uint8), transform=RandomScaleCrop(64, (20, 20), 0.0))
    sample = dataset[0]
    assert sample["image"].shape == (3, 64, 64) and sample["label"].shape == (64, 64)
    assert type(sample["image"]) is type(sample["label"]) is type(sample["region"]) is torch.Tensor
    assert sample["region"].shape == (1, 64, 64) and sample["region"].sum() == 20 * 24
    assert torch.equal(sample["region"][0], sample["label"] == 0)


def test_a_label_map_of_another_size_is_told(labelled):
    with pytest.raises(DataError, match=one_line("image.png", "(40, 48)", "label.png", "(48, 40)")):
        labelled(np.zeros((48, 40), dtype=np.uint8))[0]


@pytest.mark.parametrize("value", [12, 300])
def test_a_sample_with_a_label_outside_the_classes_is_told(labelled, value):
    with pytest.raises(DataError, match=one_line("label.png: ", f"label {value} ")):
        labelled(np.full((40, 48), value, dtype=np.uint16))[0]


def test_more_classes_than_a_label_map_can_hold_are_told(labelled):
    label = np.zeros((40, 48), dtype=np.uint8)
    assert len(labelled(label, 255)) == 1
    with pytest.raises(DataError, match=one_line("256 classes", "at most 255", "void")):
        labelled(label, 256)


def test_photographs_are_turned_with_their_label_maps_and_for_prediction(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "images").mkdir()
    path, label = tmp_path / "images" / "image.png", np.zeros((48, 40), dtype=np.uint8)
    Image.fromarray(picture(0, 40, 48)).save(path, exif=exif)
    Image.fromarray(label).save(tmp_path / "label.png")
    turned = np.rot90(picture(0, 40, 48), -1).transpose(2, 0, 1) / np.float32(255)
    read = LabelFiles([tmp_path / "label.png"], upright=True)
    assert np.allclose(LabelledImages([path], read, 12, Resize(None), upright=True)[0]["image"], turned)
    with pytest.raises(DataError, match=one_line("(40, 48)", "(48, 40)")):
        LabelledImages([path], read, 12, Resize(None))[0]
    assert ClassifiedImages([path], [0], identity, upright=True)[0]["image"].shape == (3, 48, 40)
    assert ClassifiedImages([path], [0], identity)[0]["image"].shape == (3, 40, 48)
    (sample,) = UnlabelledImages(tmp_path / "images", Resize(None).image)
    assert sample["size"] == (48, 40) and np.allclose(sample["image"], turned)


def identity(sample):
    return sample


def test_stored_images_are_classified_in_rgb():
    images = torch.arange(2 * 5 * 4, dtype=torch.uint8).view(2, 1, 5, 4)
    sample = ClassifiedImages(images, [7, 3], identity)[1]
    assert sample.keys() == {"image", "label", "index"} and (sample["label"], sample["index"]) == (3, 1)
    assert torch.equal(sample["image"], images[1].expand(3, -1, -1))


def test_a_box_is_changed_with_its_image(save):
    def mirror(sample):
        width = sample["image"].shape[-1]
        left, top, right, bottom = sample["box"][0]
        box = torch.stack([width - right, top, width - left, bottom])[None]
        return {"image": sample["image"].flip(-1), "box": box}

    path = save(picture(0, 40, 48), "image.png")
    sample = ClassifiedImages([path], [0], mirror, np.array([[3.5, 4, 20, 30]]))[0]
    assert sample["box"].tolist() == [28, 4, 44.5, 30] and sample["box"].dtype == torch.float32
    assert np.array_equal(sample["image"], picture(0, 40, 48).transpose(2, 0, 1)[:, :, ::-1])


def test_images_to_predict_are_all_pictures_of_the_folder_in_order(tmp_path):
    paths = write_images(tmp_path / "pictures")
    images = pickle.loads(pickle.dumps(UnlabelledImages(tmp_path / "pictures", Resize((24, 32)).image)))
    samples = [images[index] for index in range(len(images))]
    assert [sample["path"] for sample in samples] == [str(path) for path in paths]
    assert [sample["index"] for sample in samples] == [0, 1, 2]
    assert [sample["name"] for sample in samples] == ["below/third", "first", "second"]
    assert [sample["size"] for sample in samples] == [Image.open(path).size[::-1] for path in paths]
    for sample in samples:
        assert sample["image"].shape == (3, 24, 32) and sample["image"].dtype == torch.float32
        assert sample["image"].min() >= 0 and sample["image"].max() <= 1


@pytest.mark.parametrize("name", ["._first.jpg", "paper.pdf"])
def test_files_that_are_no_pictures_are_not_predicted(tmp_path, name):
    """Such as what macOS leaves beside a file, and formats that Pillow writes but does not read."""
    paths = write_images(tmp_path)
    (tmp_path / name).write_bytes(b"no picture")
    assert UnlabelledImages(tmp_path, Resize(None).image).images == paths


def test_a_folder_without_images_to_predict_is_told(tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "notes.txt").write_text("")
    for name in ("absent", "notes"):
        with pytest.raises(DataError, match=one_line(name, "no folder with images")):
            UnlabelledImages(tmp_path / name, Resize(None).image)

import numpy as np
import pytest
import tiny_classification as tiny
from classified import check_files, damage, pixels
from one_line import one_line
from PIL import Image
from scipy.io import savemat

from datamodules import DataError, StanfordDogs

SPLITS = [("train", "train"), ("val", "test"), ("test", "test")]


@pytest.fixture
def root(tmp_path):
    tiny.write_stanford_dogs(tmp_path)
    return tmp_path


def expected(file):
    return [(f"Images/{name}", label - 1) for name, label in tiny.STANFORD_DOGS_IMAGES[file]]


@pytest.mark.parametrize(("split", "file"), SPLITS)
def test_images_and_labels_are_those_of_the_lists(root, split, file):
    check_files(StanfordDogs(str(root)).make_set(split), root, expected(file))


def test_a_png_with_an_alpha_channel_is_read_as_a_picture(root):
    dataset = StanfordDogs(str(root), crop=32, resize=32).make_set("train")
    index = [name for name, _ in expected("train")].index(tiny.STANFORD_DOGS_PNG)
    with Image.open(root / tiny.STANFORD_DOGS_PNG) as image:
        assert (image.format, image.mode) == ("PNG", "RGBA")
    assert pixels(dataset[index]).shape == (32, 32, 3)


@pytest.mark.parametrize(
    ("split", "names"),
    [
        ("train", {0: "Chihuahua", 1: "Japanese_spaniel", 79: "Shetland_sheepdog", 119: "African_hunting_dog"}),
        ("test", {0: "Chihuahua", 1: "Japanese_spaniel", 79: "breed 80", 119: "African_hunting_dog"}),
    ],
)
def test_there_are_120_breeds_even_if_a_list_has_some_alone(root, split, names):
    data = StanfordDogs(str(root))
    data.make_set(split)
    assert len(data.classes) == 120
    assert {label: data.classes[label] for label in names} == names


def test_training_and_testing_have_as_many_classes(root):
    data = StanfordDogs(str(root), batch_size=2)
    data.setup("fit")
    assert len(data.classes) == 120
    assert data.classes[data.sets["train"].labels.max()] == "African_hunting_dog"


def test_a_list_of_one_image_is_read(root):
    name, label = tiny.STANFORD_DOGS_IMAGES["test"][1]
    savemat(root / "test_list.mat", {"file_list": tiny._cells([name]), "labels": np.array([[label]])})
    check_files(StanfordDogs(str(root)).make_set("test"), root, expected("test")[1:2])


@pytest.mark.parametrize(("split", "name"), [("train", "train_list.mat"), ("test", "test_list.mat")])
def test_a_missing_list_is_named(root, split, name):
    (root / name).unlink()
    with pytest.raises(DataError, match=one_line(root / name, "not found", "complete?")):
        StanfordDogs(str(root)).make_set(split)


@pytest.mark.parametrize("how", ["cut", "empty", "page"])
def test_a_damaged_list_is_named(root, how):
    damage(root / "train_list.mat", how)
    with pytest.raises(DataError, match=one_line(root / "train_list.mat", "broken", "fetch it again")):
        StanfordDogs(str(root)).make_set("train")


def test_another_mat_file_is_named(root):
    savemat(root / "train_list.mat", {"file_list": tiny._cells(["a/b.jpg"])})
    with pytest.raises(DataError, match=one_line(root / "train_list.mat", "another format", "labels")):
        StanfordDogs(str(root)).make_set("train")


@pytest.mark.parametrize("label", [0, 121])
def test_a_label_of_no_breed_is_told(root, label):
    names = [name for name, _ in tiny.STANFORD_DOGS_IMAGES["test"]]
    savemat(root / "test_list.mat", {"file_list": tiny._cells(names), "labels": np.full((3, 1), label)})
    with pytest.raises(DataError, match=one_line(root, f"label {label - 1} ", "120 classes")):
        StanfordDogs(str(root)).make_set("test")


def test_a_label_less_than_images_is_told(root):
    names = [name for name, _ in tiny.STANFORD_DOGS_IMAGES["test"]]
    savemat(root / "test_list.mat", {"file_list": tiny._cells(names), "labels": np.array([[1], [2]])})
    with pytest.raises(DataError, match=one_line(root / "test_list.mat", "broken", "fetch it again")):
        StanfordDogs(str(root)).make_set("test")


def test_an_image_outside_of_the_folder_is_refused(root):
    cells = np.empty((1, 1), dtype=object)
    cells[0, 0] = "../a.jpg"
    savemat(root / "test_list.mat", {"file_list": cells, "labels": np.array([[1]], dtype=np.uint8)})
    with pytest.raises(DataError, match=one_line("test_list.mat", "'../a.jpg'", "outside of the folder")):
        StanfordDogs(str(root)).make_set("test")

import json

import pytest
import tiny_classification as tiny
from classified import as_windows_saves, check_files, damage
from one_line import one_line

from datamodules import DataError, Food101

SPLITS = [("train", "train"), ("val", "test"), ("test", "test")]


@pytest.fixture
def root(tmp_path):
    tiny.write_food101(tmp_path)
    return tmp_path


def meta(root, name):
    return root / "food-101" / "meta" / name


def listed(file, *dishes):
    return [
        (f"food-101/images/{name}.jpg", tiny.FOOD101_CLASSES.index(dish))
        for dish, names in tiny.FOOD101_IMAGES[file].items()
        for name in names
        if not dishes or dish in dishes
    ]


@pytest.mark.parametrize(("split", "file"), SPLITS)
def test_images_and_labels_are_those_of_the_lists(root, split, file):
    data = Food101(str(root))
    check_files(data.make_set(split), root, listed(file))
    assert data.classes == tiny.FOOD101_CLASSES


@pytest.mark.parametrize("dishes", [["churros"], ["apple_pie", "churros"], ["baby_back_ribs"]])
def test_a_dish_keeps_its_label_when_others_are_absent(root, dishes):
    content = {dish: names for dish, names in tiny.FOOD101_IMAGES["test"].items() if dish in dishes}
    meta(root, "test.json").write_text(json.dumps(content))
    data = Food101(str(root))
    check_files(data.make_set("test"), root, listed("test", *dishes))
    assert data.classes == tiny.FOOD101_CLASSES


@pytest.mark.parametrize("name", ["test.json", "classes.txt"])
def test_a_missing_list_is_named(root, name):
    meta(root, name).unlink()
    with pytest.raises(DataError, match=one_line(meta(root, name), "not found", "complete?")):
        Food101(str(root)).make_set("test")


@pytest.mark.parametrize("how", ["cut", "empty", "page"])
def test_a_damaged_list_is_named(root, how):
    damage(meta(root, "train.json"), how)
    with pytest.raises(DataError, match=one_line(meta(root, "train.json"), "broken", "fetch it again")):
        Food101(str(root)).make_set("train")
    assert len(Food101(str(root)).make_set("test")) == 4


@pytest.mark.parametrize("how", ["cut", "empty", "page"])
def test_a_dish_that_is_in_no_list_of_classes_is_told(root, how):
    damage(meta(root, "classes.txt"), how)
    with pytest.raises(DataError, match=one_line(meta(root, "train.json"), "churros", "classes.txt", "unpack")):
        Food101(str(root)).make_set("train")


def test_a_list_of_no_images_is_told(root):
    meta(root, "test.json").write_text("{}")
    with pytest.raises(DataError, match=one_line("no images", "unpack")):
        Food101(str(root)).make_set("test")


@pytest.mark.parametrize("split", ["train", "test"])
def test_lists_are_read_whatever_editor_saved_them(root, split):
    expected = Food101(str(root)).make_set(split)
    for path in meta(root, "").iterdir():
        as_windows_saves(path)
    data = Food101(str(root))
    dataset = data.make_set(split)
    assert list(dataset.images) == list(expected.images) and dataset.labels.tolist() == expected.labels.tolist()
    assert data.classes == tiny.FOOD101_CLASSES


def test_an_image_outside_of_the_folder_is_refused(root):
    meta(root, "test.json").write_text(json.dumps({"churros": ["../../churros"]}))
    with pytest.raises(DataError, match=one_line("test.json", "'../../churros'", "outside of the folder")):
        Food101(str(root)).make_set("test")


@pytest.mark.parametrize("content", ["[]", "5", '{"churros": 5}', '{"churros": [5]}', "null", "[" * 100_000])
def test_a_list_of_another_form_is_told(root, content):
    meta(root, "test.json").write_text(content)
    with pytest.raises(DataError, match=one_line("test.json", "broken")):
        Food101(str(root)).make_set("test")

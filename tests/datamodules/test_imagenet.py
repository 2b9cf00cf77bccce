import shutil

import pytest
import tiny_classification as tiny
from classified import as_stored, check_files, names_of
from one_line import one_line
from PIL import Image
from tiny_data import picture

from datamodules import DataError, ImageNet, RestrictedImageNet
from datamodules.imagenet import SYNSETS

NAMES = {
    0: "tench", 30: "bullfrog", 33: "loggerhead", 84: "peacock", 118: "Dungeness crab", 151: "Chihuahua",
    281: "tabby", 300: "tiger beetle", 365: "orangutan", 390: "eel", 418: "ballpoint", 999: "toilet tissue",
}  # fmt: skip

PAPER = {
    "dog": (151, 268), "cat": (281, 285), "frog": (30, 32), "turtle": (33, 37), "bird": (80, 100),
    "primate": (365, 382), "fish": (389, 397), "crab": (118, 121), "insect": (300, 319),
}  # fmt: skip
"""Engstrom et al. 2019, Table 1: first and last class of each group."""

both = pytest.mark.parametrize("kind", [ImageNet, RestrictedImageNet])


@pytest.fixture
def root(tmp_path):
    tiny.write_imagenet(tmp_path)
    return tmp_path


def synset(name):
    return name.split("/")[1]


def by_number(names):
    return sorted((name, tiny.IMAGENET_INDICES[synset(name)]) for name in names)


def by_group(names):
    labels = {number: label for label, (first, last) in enumerate(PAPER.values()) for number in range(first, last + 1)}
    return [(name, labels[number]) for name, number in by_number(names) if number in labels]


def draw(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(0, 40, 40)).save(path, "JPEG")


def test_there_are_1000_synsets_in_the_order_of_their_numbers():
    assert len(SYNSETS) == len(set(SYNSETS)) == 1000 and list(SYNSETS) == sorted(SYNSETS)
    assert {wnid: SYNSETS.index(wnid) for wnid in tiny.IMAGENET_INDICES} == tiny.IMAGENET_INDICES
    assert (SYNSETS[0], SYNSETS[999]) == ("n01440764", "n15075141")


def test_the_names_are_those_of_the_synsets():
    assert len(ImageNet.classes) == 1000
    assert {number: ImageNet.classes[number] for number in NAMES} == NAMES


@pytest.mark.parametrize(
    ("split", "names"), [("train", tiny.IMAGENET_TRAIN), ("val", tiny.IMAGENET_VAL), ("test", tiny.IMAGENET_VAL)]
)
def test_images_of_any_kind_of_file_have_the_numbers_of_their_synsets(root, split, names):
    grey = [tiny.IMAGENET_GREY] if split == "train" else []
    check_files(ImageNet(str(root)).make_set(split), root, by_number(names), grey)


@pytest.mark.parametrize(
    ("split", "names"), [("train", tiny.IMAGENET_TRAIN), ("val", tiny.IMAGENET_VAL), ("test", tiny.IMAGENET_VAL)]
)
def test_restricted_imagenet_has_the_images_of_its_groups(root, split, names):
    grey = [tiny.IMAGENET_GREY] if split == "train" else []
    dataset = RestrictedImageNet(str(root)).make_set(split)
    check_files(dataset, root, by_group(names), grey)
    assert {synset(name) for name in names_of(dataset, root)} == {*tiny.IMAGENET_INDICES} - {
        *tiny.IMAGENET_OUTSIDE_RESTRICTED
    }
    assert set(dataset.labels) == set(range(9))


def test_the_groups_are_the_papers_and_every_other_class_is_left_out():
    data = RestrictedImageNet("somewhere")
    assert data.classes == tuple(PAPER)
    for number in range(1000):
        group = next((name for name, (first, last) in PAPER.items() if first <= number <= last), None)
        label = data.label(number)
        assert (None if label is None else data.classes[label]) == group, number
        assert ImageNet("somewhere").label(number) == number
    assert sum(data.label(number) is not None for number in range(1000)) == 203


@both
@pytest.mark.parametrize("kept", [["n02165105"], ["n02526121", "n02085620"], ["n01641577", "n02783161", "n02480495"]])
def test_a_class_keeps_its_number_whatever_folders_are_there(root, kind, kept):
    for folder in (root / "train").iterdir():
        if folder.name not in kept:
            shutil.rmtree(folder)
    names = [name for name in tiny.IMAGENET_TRAIN if synset(name) in kept]
    expected = by_number(names) if kind is ImageNet else by_group(names)
    check_files(kind(str(root)).make_set("train"), root, expected)
    assert len(kind(str(root)).make_set("val")) == (11 if kind is ImageNet else 9)


def test_the_folders_of_the_splits_can_be_named(root):
    (root / "val").rename(root / "imagenet-c")
    (root / "train").rename(root / "ILSVRC2012_train")
    data = ImageNet(str(root), train="ILSVRC2012_train", val="imagenet-c")
    assert [len(data.make_set(split)) for split in ("train", "val", "test")] == [22, 11, 11]
    assert names_of(data.make_set("test"), root)[0] == tiny.IMAGENET_VAL[0].replace("val/", "imagenet-c/")


@both
def test_hidden_and_empty_folders_and_loose_files_are_left_aside(root, kind):
    before = names_of(kind(str(root)).make_set("train"), root)
    draw(root / "train" / ".cache" / "n01440764" / "1.JPEG")
    draw(root / "train" / "n01440764" / "._n01440764_1.JPEG")
    draw(root / "train" / "n01440764_1.JPEG")
    (root / "train" / "n99999999").mkdir()
    (root / "train" / "LOC_train_solution.csv").touch()
    assert names_of(kind(str(root)).make_set("train"), root) == before


@both
def test_training_and_validation_on_the_same_folder_is_refused(root, kind):
    data = kind(str(root), val="train")
    with pytest.raises(DataError, match=one_line(root / "train", "on the same images", "--data.val")):
        data.make_set("train")
    assert len(data.make_set("val")) > 0, "one may evaluate on them"


@both
def test_a_folder_that_is_no_synset_is_told(root, kind):
    draw(root / "train" / "horse" / "1.JPEG")
    with pytest.raises(DataError, match=one_line(root / "train" / "horse", "no synset", "ImageFolder")):
        kind(str(root)).make_set("train")


@both
@pytest.mark.parametrize("damage", ["missing", "empty", "unsorted"])
def test_a_split_without_folders_of_images_is_told(root, kind, damage):
    shutil.rmtree(root / "val")
    if damage == "empty":
        (root / "val" / "n01440764").mkdir(parents=True)
    elif damage == "unsorted":
        draw(root / "val" / "ILSVRC2012_val_00000001.JPEG")
    for split in ("val", "test"):
        with pytest.raises(DataError, match=one_line(root / "val", "sort the images", "synset")):
            kind(str(root)).make_set(split)
    assert len(kind(str(root)).make_set("train"))


def test_folders_outside_restricted_imagenet_alone_are_told(root):
    for folder in (root / "train").iterdir():
        if folder.name not in tiny.IMAGENET_OUTSIDE_RESTRICTED:
            shutil.rmtree(folder)
    with pytest.raises(DataError, match=one_line(root / "train", "none of the 2 synsets", "RestrictedImageNet")):
        RestrictedImageNet(str(root)).make_set("train")
    assert len(as_stored(ImageNet(str(root)).make_set("train"))) == 4


@both
def test_side_files_are_passed_over(root, kind):
    expected = names_of(kind(str(root)).make_set("train"), root)
    for folder in ("train", "train/n01641577"):
        for name in ("Thumbs.db", ".DS_Store", "notes.txt", "._n01641577_1.JPEG"):
            (root / folder / name).write_bytes(b"no image")
    (root / "train" / "empty").mkdir()
    assert names_of(kind(str(root)).make_set("train"), root) == expected

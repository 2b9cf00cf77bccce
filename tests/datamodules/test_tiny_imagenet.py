import shutil

import pytest
import tiny_classification as tiny
from classified import as_windows_saves, check_files, names_of
from one_line import one_line

from datamodules import DataError, TinyImageNet

LABELS = {wnid: sorted(tiny.TINY_IMAGENET_WNIDS).index(wnid) for wnid in tiny.TINY_IMAGENET_NAMES}
FOLDER = "tiny-imagenet-200"
TRAIN = [
    (f"{FOLDER}/train/{wnid}/images/{wnid}_{number}.JPEG", LABELS[wnid])
    for wnid in sorted(tiny.TINY_IMAGENET_NAMES)
    for number in range(3)
]
VAL = [(f"{FOLDER}/val/images/{name}", LABELS[wnid]) for name, wnid in tiny.TINY_IMAGENET_VAL.items()]


@pytest.fixture
def root(tmp_path):
    tiny.write_tiny_imagenet(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("split", "expected"), [("train", TRAIN), ("val", VAL), ("test", VAL)])
def test_labels_are_the_places_of_the_synsets_in_alphabetical_order(root, split, expected):
    grey = [name for name in tiny.TINY_IMAGENET_GREY if any(name == file for file, _ in expected)]
    assert len(grey) == 1
    check_files(TinyImageNet(str(root)).make_set(split), root, expected, grey, tiny.TINY_IMAGENET_SIZE)


def test_the_tiny_set_can_tell_an_alphabetical_order_from_that_of_the_list():
    assert list(LABELS.values()) != [tiny.TINY_IMAGENET_WNIDS.index(wnid) for wnid in LABELS]


def test_the_images_are_shown_whole_by_default(root):
    sample = TinyImageNet(str(root)).make_set("val")[0]
    assert sample["image"].shape == (3, 64, 64)
    assert TinyImageNet(str(root), crop=32, resize=40).make_set("train")[0]["image"].shape == (3, 32, 32)


def test_classes_have_the_first_of_their_words(root):
    data = TinyImageNet(str(root))
    data.setup("validate")
    assert len(data.classes) == 200
    assert {wnid: data.classes[LABELS[wnid]] for wnid in LABELS} == {
        "n02123045": "tabby", "n01641577": "bullfrog", "n02085620": "Chihuahua",
    }  # fmt: skip


def test_without_words_the_synsets_are_the_names(root):
    (root / FOLDER / "words.txt").unlink()
    data = TinyImageNet(str(root))
    data.setup("validate")
    assert data.classes == tuple(sorted(tiny.TINY_IMAGENET_WNIDS))


def test_a_class_keeps_its_label_when_others_are_absent(root):
    shutil.rmtree(root / FOLDER / "train" / "n01641577")
    expected = [(name, label) for name, label in TRAIN if "n01641577" not in name]
    check_files(
        TinyImageNet(str(root)).make_set("train"), root, expected, tiny.TINY_IMAGENET_GREY[:1], tiny.TINY_IMAGENET_SIZE
    )


def test_annotations_may_be_of_a_few_images_and_have_no_boxes(root):
    (root / FOLDER / "val" / "val_annotations.txt").write_text("val_10.JPEG\tn02123045\r\nval_0.JPEG\tn02085620\n")
    dataset = TinyImageNet(str(root)).make_set("val")
    assert names_of(dataset, root / FOLDER / "val" / "images") == ["val_10.JPEG", "val_0.JPEG"]
    assert dataset.labels.tolist() == [LABELS["n02123045"], LABELS["n02085620"]]


def test_training_images_of_a_synset_not_in_the_list_are_told(root):
    folder = root / FOLDER / "train"
    (folder / "n02085620").rename(folder / "n00000001")
    with pytest.raises(DataError, match=one_line(folder / "n00000001", "not in wnids.txt")):
        TinyImageNet(str(root)).make_set("train")


@pytest.mark.parametrize("content", ["", "n02123045\nn01641577\n", "<html>404</html>\n"])
def test_a_list_that_lacks_synsets_is_told(root, content):
    (root / FOLDER / "wnids.txt").write_text(content)
    with pytest.raises(DataError, match=one_line("val_annotations.txt", "n02085620", "not in wnids.txt", "unpack")):
        TinyImageNet(str(root)).make_set("val")
    with pytest.raises(DataError, match=one_line("not in wnids.txt", "unpack")):
        TinyImageNet(str(root)).make_set("train")


@pytest.mark.parametrize("name", ["wnids.txt", "val/val_annotations.txt"])
def test_a_missing_list_is_named(root, name):
    (root / FOLDER / name).unlink()
    with pytest.raises(DataError, match=one_line(root / FOLDER / name, "not found", "complete?")):
        TinyImageNet(str(root)).make_set("val")


@pytest.mark.parametrize("name", ["words.txt", "val/val_annotations.txt"])
@pytest.mark.parametrize("content", [b"<html>404</html>\n", b"val_0.JPEG", b"\xff\xfe\x00\x81"])
def test_a_damaged_list_is_named(root, name, content):
    (root / FOLDER / name).write_bytes(content)
    with pytest.raises(DataError, match=one_line(root / FOLDER / name, "broken", "fetch it again")):
        TinyImageNet(str(root)).make_set("val")


def test_no_training_images_at_all_are_told(root):
    shutil.rmtree(root / FOLDER / "train")
    with pytest.raises(DataError, match=one_line(root / FOLDER / "train", "no such folder", "unpack")):
        TinyImageNet(str(root)).make_set("train")


def test_lists_are_read_whatever_editor_saved_them(root):
    before = TinyImageNet(str(root))
    expected = {split: before.make_set(split) for split in ("train", "val")}
    for name in ("wnids.txt", "words.txt", "val/val_annotations.txt"):
        as_windows_saves(root / FOLDER / name)
    data = TinyImageNet(str(root))
    for split, other in expected.items():
        dataset = data.make_set(split)
        assert list(dataset.images) == list(other.images) and dataset.labels.tolist() == other.labels.tolist()
    assert data.classes == before.classes


def test_side_files_are_passed_over(root):
    for folder in ("train", "train/n01641577", "train/n01641577/images", "val", "val/images"):
        for name in ("Thumbs.db", ".DS_Store", "desktop.ini", "._a.JPEG"):
            (root / FOLDER / folder / name).write_bytes(b"no image")
    for split, expected in (("train", TRAIN), ("val", VAL)):
        assert names_of(TinyImageNet(str(root)).make_set(split), root) == [name for name, _ in expected]


def test_an_image_outside_of_the_folder_is_refused(root):
    path = root / FOLDER / "val" / "val_annotations.txt"
    path.write_text(path.read_text().replace("val_0.JPEG", "../val_0.JPEG", 1))
    with pytest.raises(DataError, match=one_line(path, "'../val_0.JPEG'", "outside of the folder")):
        TinyImageNet(str(root)).make_set("val")

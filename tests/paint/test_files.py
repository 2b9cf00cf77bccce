import json
from pathlib import Path

import numpy as np
import pytest
import torch
from one_line import one_line
from PIL import Image
from tiny_data import picture, write_images

from datamodules.images import DataError
from paint.files import Picture, class_number, pictures_in, read_sample, why, with_classes, with_files, with_next

OUT = Path("nowhere")
NAMES = ["below/third", "first", "second"]


@pytest.fixture(autouse=True)
def photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_images(Path("photos"))
    return Path("photos")


def found(images="photos", out=OUT):
    return pictures_in(Path(images), Path(out))


def save(path, array):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def sample(picture, size=None, classes=(), outputs=3, seed=0):
    return read_sample(picture, size or picture.size, seed, list(classes), outputs)


def test_pictures_go_by_their_path_without_its_ending_and_have_their_upright_size(photos):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture(0, 40, 60)).save("photos/turned.jpg", exif=exif)
    pictures, skipped = found()
    assert [each.name for each in pictures] == [*NAMES, "turned"] and not skipped
    assert [each.size for each in pictures] == [(40, 40), (48, 64), (56, 40), (60, 40)]
    read = sample(pictures[-1])
    assert read.stored.shape == (3, 60, 40) and read.tensors["image"].shape == (3, 60, 40)


def test_what_is_no_picture_is_told_and_what_is_none_by_its_name_is_passed_over(photos):
    Path("photos/bad.png").write_text("no picture")
    Path("photos/alone.heic").write_text("")
    Path("photos/first.heic").write_text("")
    pictures, skipped = found()
    assert [each.name for each in pictures] == NAMES, "a picture that can be read stands for its twin"
    assert sorted(skipped) == ["alone", "bad"]
    assert skipped["bad"].startswith("photos/bad.png: corrupt or truncated image")


def test_two_pictures_of_one_name_are_told(photos):
    save("photos/first.png", picture(0, 8, 8))
    with pytest.raises(DataError, match=one_line("first.jpg and first.png: two files of one name")):
        found()


def test_the_folder_of_results_is_left_out_and_cannot_be_that_of_the_pictures(photos):
    save("photos/painted/first.png", picture(0, 8, 8))
    assert [each.name for each in found(out="photos/painted")[0]] == NAMES
    with pytest.raises(DataError, match=one_line("--out photos: these are the pictures")):
        found(out="photos")


def test_files_are_matched_by_name_or_one_does_for_all(photos):
    pictures, skipped = found()
    for name in NAMES[1:]:
        save(f"masks/{name}.png", np.zeros((8, 8), dtype=np.uint8))
    matched = with_files(pictures, skipped, "mask", Path("masks"))
    assert [(each.name, each.mask) for each in matched] == [(name, Path(f"masks/{name}.png")) for name in NAMES[1:]]
    assert skipped == {"below/third": "photos/below/third.JPG: no mask of its name in masks"}
    alone = with_files(pictures, skipped, "other", Path("masks/first.png"))
    assert {each.other for each in alone} == {Path("masks/first.png")} and len(alone) == 3


def test_classes_are_matched_by_path_by_name_or_by_file(photos):
    pictures, skipped = found()
    given = {str(photos.resolve() / "first.jpg"): "road", "./photos/second.png": 0, "below/third.JPG": "sky"}
    Path("classes.json").write_text(json.dumps(given))
    matched = with_classes(pictures, skipped, Path("classes.json"))
    assert [each.label for each in matched] == ["sky", "road", 0] and not skipped
    Path("classes.json").write_text('{"second": 1}')
    assert [each.name for each in with_classes(pictures, skipped, Path("classes.json"))] == ["second"]
    assert skipped["first"] == "photos/first.jpg: classes.json names no class for it"


def test_the_next_picture_is_the_other_and_the_last_ones_is_the_first(photos):
    pictures, _ = found()
    assert [each.other.name for each in with_next(pictures)] == ["first.jpg", "second.png", "third.JPG"]


def test_noise_depends_on_seed_and_name_alone(photos):
    pictures, _ = found()
    index = [int(sample(each).tensors["index"]) for each in pictures]
    assert len({*index}) == 3 and all(0 <= each < 2**63 for each in index)
    assert int(sample(pictures[1]).tensors["index"]) == index[1]
    assert int(sample(pictures[1], seed=1).tensors["index"]) != index[1]
    moved = Picture(pictures[1].name, pictures[0].path, pictures[0].size)
    assert int(sample(moved).tensors["index"]) == index[1]


def test_every_pixel_of_a_mask_is_painted_at_the_working_size(photos):
    mask = np.zeros((48, 64), dtype=np.uint8)
    mask[11, :] = 255  # a line of one pixel
    mask[40, 3] = 127
    save("mask.png", mask)
    first = Picture("first", photos / "first.jpg", (48, 64), mask=Path("mask.png"))
    read = sample(first, size=(12, 16))
    assert read.mask.shape == (1, 48, 64) and int(read.mask.sum()) == 64
    assert read.tensors["mask"].shape == (1, 12, 16)
    assert read.tensors["mask"][0, 2].all() and int(read.tensors["mask"].sum()) == 16
    assert sample(first, size=(96, 128)).tensors["mask"].sum() == 4 * 64


def test_a_label_map_lies_over_its_picture_and_255_is_void(photos):
    label = np.kron(np.array([[0, 1], [2, 255]], dtype=np.uint8), np.ones((24, 32), dtype=np.uint8))
    Image.fromarray(label).save("label.png")
    first = Picture("first", photos / "first.jpg", (48, 64), label=Path("label.png"))
    found = sample(first, size=(12, 16)).tensors["label"]
    assert found.dtype == torch.int64 and found[[0, 0, -1, -1], [0, -1, 0, -1]].tolist() == [0, 1, 2, 255]
    with pytest.raises(DataError, match=one_line("label.png: the label map has label 2 outside the 2 classes")):
        sample(first, outputs=2)


def test_another_picture_covers_the_size_and_its_middle_is_taken(photos):
    other = np.zeros((20, 60, 3), dtype=np.uint8)
    other[:, 20:40] = 255
    save("other.png", other)
    square = Picture("third", photos / "below/third.JPG", (40, 40), other=Path("other.png"))
    found = sample(square, size=(10, 10)).tensors["other"]
    assert found.shape == (3, 10, 10) and found.mean() > 0.95


@pytest.mark.parametrize("kind", ["mask", "label"])
def test_what_is_of_another_size_than_its_picture_is_told(kind, photos):
    save("other.png", np.full((40, 48), 255, dtype=np.uint8))
    first = Picture("first", photos / "first.jpg", (48, 64), **{kind: Path("other.png")})
    with pytest.raises(DataError, match=one_line("other.png: the", "is 40 x 48 pixels, and its picture", "48 x 64")):
        sample(first)


def test_an_empty_mask_is_told(photos):
    save("mask.png", np.full((48, 64), 100, dtype=np.uint8))
    with pytest.raises(ValueError, match=one_line("mask.png: the mask has no pixel inside")):
        sample(Picture("first", photos / "first.jpg", (48, 64), mask=Path("mask.png")))


@pytest.mark.parametrize(
    ("label", "classes", "line"),
    [("raod", ["road"], "no class 'raod'; did you mean road?"),
     ("x", ["road"], "no class 'x'; there are road"),
     ("road", [], "the names of this network's classes are not known: give numbers"),
     (3, [], "no class 3; they are 0")],
)  # fmt: skip
def test_a_class_that_is_none_is_told(label, classes, line):
    assert class_number("road", ["sky", "road"], 2) == 1 and class_number(2, [], 3) == 2
    with pytest.raises(DataError, match=one_line("--labels: ", line)):
        class_number(label, classes, 3)


def test_an_error_is_said_on_one_line_with_the_files_name():
    assert why(FileNotFoundError(2, "No such file", "a.png")) == "a.png: No such file"
    assert why(ValueError("two\nlines")) == "two lines"


def test_what_paintings_depend_on_is_what_the_files_hold(photos):
    one = Picture("first", photos / "first.jpg", (48, 64), label="sky").sources()
    assert set(one) == {"image", "label"} and one["label"] == "sky" and len(one["image"]) == 64
    Path("copy.jpg").write_bytes((photos / "first.jpg").read_bytes())
    assert Picture("copy", Path("copy.jpg"), (48, 64), label="sky").sources() == one

import numpy as np
import pytest
import tiny_classification as tiny
import torch
from classified import as_stored, as_windows_saves, check_files, pixels
from one_line import one_line
from PIL import Image

from datamodules import CUB200, DataError

LISTS = ["images", "image_class_labels", "train_test_split", "bounding_boxes", "classes"]
SPLITS = [("train", True), ("val", False), ("test", False)]


@pytest.fixture
def root(tmp_path):
    tiny.write_cub200(tmp_path)
    return tmp_path


def table(root, name):
    return root / "CUB_200_2011" / f"{name}.txt"


def chosen(training):
    return [(name, label - 1) for name, label, train in tiny.CUB200_IMAGES if train == training]


def corners(name):
    left, top, width, height = tiny.cub200_box(name)
    return left, top, left + width, top + height


@pytest.mark.parametrize(("split", "training"), SPLITS)
def test_images_labels_and_boxes_are_those_of_the_lists(root, split, training):
    dataset = CUB200(str(root)).make_set(split)
    expected = [(f"CUB_200_2011/images/{name}", label) for name, label in chosen(training)]
    check_files(dataset, root, expected, [tiny.CUB200_GREY] if training else [])
    for sample, (name, _) in zip(dataset, chosen(training), strict=True):
        assert sample["box"].shape == (4,) and sample["box"].dtype == torch.float32
        assert sample["box"].tolist() == list(corners(name))


def test_the_classes_have_their_names_without_numbers(root):
    data = CUB200(str(root))
    data.make_set("val")
    assert data.classes == ("Black_footed_Albatross", "Laysan_Albatross", "Sooty_Albatross")


def test_the_lists_may_be_in_different_orders(root):
    before = CUB200(str(root)).make_set("train")
    for name in LISTS[1:4]:
        lines = table(root, name).read_text().splitlines()
        table(root, name).write_text("\n".join(lines[::-1]) + "\n\n")
    after = CUB200(str(root)).make_set("train")
    assert list(after.images) == list(before.images) and np.array_equal(after.labels, before.labels)
    assert np.array_equal(after.boxes, before.boxes)


def test_the_lists_may_name_more_images_than_are_used(root):
    """As a copy whose `images.txt` alone was filtered."""
    lines = table(root, "images").read_text().splitlines()
    table(root, "images").write_text("\n".join(lines[2:5]))
    assert CUB200(str(root)).make_set("train").labels.tolist() == [0, 1]
    assert CUB200(str(root)).make_set("val").labels.tolist() == [1]


def test_boxes_may_have_fractions(root):
    lines = table(root, "bounding_boxes").read_text().splitlines()
    table(root, "bounding_boxes").write_text("\n".join(["1 1.5 2.25 10.5 20.0", *lines[1:]]))
    assert as_stored(CUB200(str(root)).make_set("val"))[0]["box"].tolist() == [1.5, 2.25, 12, 22.25]


# Boxes follow their birds


@pytest.fixture
def lit(root):
    """The root of a set whose images are black, and white where the boxes are."""
    for name, _, _ in tiny.CUB200_IMAGES:
        path = root / "CUB_200_2011" / "images" / name
        image = np.zeros(tiny.drawing(f"CUB_200_2011/images/{name}").shape, dtype=np.uint8)
        left, top, right, bottom = map(int, corners(name))
        image[top:bottom, left:right] = 255
        Image.fromarray(image).save(path, "PNG")
    return root


def check_box(sample):
    """The box encloses what is white, as closely as pixels allow, and lies in the image; gives its area."""
    light, (left, top, right, bottom) = pixels(sample).mean(-1) > 127, sample["box"].tolist()
    height, width = light.shape
    assert 0 <= left <= right <= width and 0 <= top <= bottom <= height
    if light.any():
        rows, columns = np.flatnonzero(light.any(1)), np.flatnonzero(light.any(0))
        seen = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
        assert np.abs(np.subtract(seen, (left, top, right, bottom))).max() <= 1.5
    else:
        assert min(right - left, bottom - top) <= 1.5
    return (right - left) * (bottom - top)


@pytest.mark.parametrize(("resize", "crop"), [(32, 32), (48, 32), (64, 24), (80, 80), ((48, 40), 32), ((30, 90), 28)])
def test_the_box_encloses_the_bird_in_evaluation(lit, resize, crop):
    dataset = CUB200(str(lit), resize=resize, crop=crop).make_set("val")
    areas = [check_box(sample) for sample in dataset]
    assert min(areas) > 20


@pytest.mark.parametrize("flip", [0, 0.5, 1])
@pytest.mark.parametrize("scale", [(0.08, 1.0), (0.5, 0.5), None])
def test_the_box_encloses_the_bird_in_training(lit, flip, scale):
    torch.manual_seed(0)
    dataset = CUB200(str(lit), resize=(64, 56), crop=40, flip=flip, scale=scale).make_set("train")
    areas = [check_box(dataset[index]) for index in range(len(dataset)) for _ in range(30)]
    assert np.median(areas) > 100 and len({round(area) for area in areas}) > 30


def test_a_bird_that_was_cut_away_has_an_empty_box_at_the_border(lit):
    torch.manual_seed(0)
    dataset = CUB200(str(lit), crop=40, scale=(0.05, 0.05)).make_set("train")
    empty = [
        sample["box"]
        for sample in (dataset[0] for _ in range(60))
        if check_box(sample) == 0 and not sample["image"].std() > 0.1
    ]
    assert empty
    for left, top, right, bottom in (box.tolist() for box in empty):
        assert (left == right and left in (0, 40)) or (top == bottom and top in (0, 40))


def test_a_box_beyond_its_image_is_clamped(lit):
    lines = table(lit, "bounding_boxes").read_text().splitlines()
    table(lit, "bounding_boxes").write_text("\n".join(["1 -5.0 -7.0 400.0 500.0", *lines[1:]]))
    assert CUB200(str(lit), resize=48, crop=32).make_set("val")[0]["box"].tolist() == [0, 0, 32, 32]


def test_a_batch_has_its_boxes_beside_its_images(lit):
    data = CUB200(str(lit), crop=40, resize=48, batch_size=5, eval_batch_size=3, num_workers=0)
    data.setup("fit")
    for loader, samples in ((data.train_dataloader(), 5), (data.val_dataloader(), 3)):
        batch = next(iter(loader))
        assert type(batch["box"]) is torch.Tensor
        assert batch["box"].shape == (samples, 4) and batch["box"].dtype == torch.float32
        for image, box in zip(batch["image"], batch["box"], strict=True):
            check_box({"image": image, "box": box})


# Lists that are not whole


@pytest.mark.parametrize("name", LISTS)
def test_a_missing_list_is_named(root, name):
    table(root, name).unlink()
    with pytest.raises(DataError, match=one_line(table(root, name), "not found", "complete?")):
        CUB200(str(root)).make_set("train")


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("content", [b"<html>404</html>\n", b"1\n", b"1 \xff\xfe\n"])
def test_a_damaged_list_is_named(root, name, content):
    table(root, name).write_bytes(content)
    with pytest.raises(DataError, match=one_line(table(root, name), ";", "again")):
        CUB200(str(root)).make_set("train")


@pytest.mark.parametrize("name", LISTS[1:4])
def test_a_list_that_breaks_off_is_named(root, name):
    lines = table(root, name).read_text().splitlines()
    table(root, name).write_text("\n".join(lines[:5]))
    with pytest.raises(DataError, match=one_line(table(root, name), "image 6 of images.txt is absent", "again")):
        CUB200(str(root)).make_set("train")


def test_a_box_of_three_numbers_is_told(root):
    lines = table(root, "bounding_boxes").read_text().splitlines()
    table(root, "bounding_boxes").write_text("\n".join([*lines[:-1], "8 9.0 12.0 24.0"]))
    with pytest.raises(DataError, match=one_line(table(root, "bounding_boxes"), "8 9.0 12.0 24.0", "again")):
        CUB200(str(root)).make_set("val")


@pytest.mark.parametrize(("name", "row"), [("bounding_boxes", "2 a b c d"), ("image_class_labels", "2 one")])
def test_words_in_place_of_numbers_are_told(root, name, row):
    lines = table(root, name).read_text().splitlines()
    table(root, name).write_text("\n".join([lines[0], row, *lines[2:]]))
    with pytest.raises(DataError, match=one_line(table(root, name), "broken", "again")):
        CUB200(str(root)).make_set("train")


@pytest.mark.parametrize("label", [0, 4])
def test_a_label_of_no_class_is_told(root, label):
    lines = table(root, "image_class_labels").read_text().splitlines()
    table(root, "image_class_labels").write_text("\n".join([lines[0], f"2 {label}", *lines[2:]]))
    with pytest.raises(DataError, match=one_line(root, f"label {label - 1} ", "3 classes")):
        CUB200(str(root)).make_set("train")


def test_a_split_of_no_images_is_told(root):
    lines = table(root, "train_test_split").read_text().splitlines()
    table(root, "train_test_split").write_text("\n".join(f"{line.split()[0]} 1" for line in lines))
    with pytest.raises(DataError, match=one_line("no images", "again")):
        CUB200(str(root)).make_set("val")
    assert len(CUB200(str(root)).make_set("train")) == 8


def test_lists_are_read_whatever_editor_saved_them(root):
    expected = {split: CUB200(str(root)).make_set(split) for split in ("train", "val")}
    for name in LISTS:
        as_windows_saves(table(root, name))
    for split, before in expected.items():
        data = CUB200(str(root))
        dataset = data.make_set(split)
        assert list(dataset.images) == list(before.images) and dataset.labels.tolist() == before.labels.tolist()
        assert np.array_equal(dataset.boxes, before.boxes) and "\r" not in "".join(data.classes)


@pytest.mark.parametrize("value", ["2", "yes", "-1"])
def test_a_split_that_is_neither_is_told(root, value):
    path = table(root, "train_test_split")
    path.write_text(path.read_text().replace("3 1", f"3 {value}"))
    with pytest.raises(DataError, match=one_line(path, "image 3 ", value, "neither 0 nor 1")):
        CUB200(str(root)).make_set("val")


def test_an_image_outside_of_the_folder_is_refused(root):
    path = table(root, "images")
    path.write_text(path.read_text().replace("001.Black_footed_Albatross/", "../", 1))
    with pytest.raises(DataError, match=one_line(path, "'../", "outside of the folder")):
        CUB200(str(root)).make_set("val")

import gc
import json
import os
import pickle
import shutil
from types import ModuleType

import numpy as np
import pytest
import torch
from coco_reference import VOC_NAMES_IN_COCO, reference_label_map
from one_line import one_line
from PIL import Image
from pycocotools import mask
from tiny_data import COCO_CATEGORIES, COCO_GREY, COCO_IMAGES, COCO_TRAINABLE, picture, write_coco

from datamodules import COCO, DataError
from datamodules.coco import CATEGORIES
from datamodules.coco_annotations import Annotations
from datamodules.images import read_label_map


@pytest.fixture
def root(tmp_path):
    write_coco(tmp_path)
    return tmp_path


def make(root, **options):
    return COCO(str(root), num_workers=0, **{"eval_size": None, **options})


def annotations_file(root, folder):
    return root / "annotations" / f"instances_{folder}.json"


def change(root, folder, change):
    """Rewrite a split's annotations by `change`, which gets the JSON's content."""
    content = json.loads(annotations_file(root, folder).read_text())
    change(content)
    annotations_file(root, folder).write_text(json.dumps(content))


def ids(dataset):
    return [int(path.stem) for path in dataset.images]


def maps(dataset):
    """The label map of each image id."""
    return {image_id: dataset.read_label(index) for index, image_id in enumerate(ids(dataset))}


def same(one, other):
    """Whether two results of `maps` agree."""
    return one.keys() == other.keys() and all(np.array_equal(one[image_id], other[image_id]) for image_id in one)


def all_annotated(root):
    """Let images pass the filter of training: large stored areas, which label maps do not depend on."""

    def enlarge(content):
        for annotation in content["annotations"]:
            annotation["area"] = 5000.0

    change(root, "train2017", enlarge)


# Labels


@pytest.mark.parametrize("split", ["train", "val"])
def test_label_maps_equal_those_built_another_way(root, split):
    all_annotated(root)
    content = json.loads(annotations_file(root, f"{split}2017").read_text())
    for _ in ("drawn", "kept"):
        labels = maps(make(root).make_set(split))
        assert len(labels) == {"train": 11, "val": 4}[split]
        for image_id, label in labels.items():
            assert label.dtype == np.uint8
            assert np.array_equal(label, reference_label_map(content, image_id)), image_id


def drawn(height, width, *boxes):
    """A label map drawn by hand: (value, top, bottom, left, right), later ones on top."""
    label = np.zeros((height, width), dtype=np.uint8)
    for value, top, bottom, left, right in boxes:
        label[top:bottom, left:right] = value
    return label


@pytest.mark.parametrize(
    ("image_id", "expected"),
    [
        (391895, drawn(48, 64, (15, 4, 40, 4, 40), (7, 20, 44, 30, 60), (255, 20, 40, 30, 40))),
        (522418, drawn(64, 48, (15, 2, 40, 2, 30), (15, 10, 60, 20, 46), (255, 10, 40, 20, 30))),
        (318219, drawn(56, 56, (8, 2, 50, 2, 26), (8, 6, 54, 32, 54))),
        (222564, drawn(48, 64, (10, 10, 46, 20, 60))),
        (184613, drawn(48, 64, (15, 0, 12, 0, 30), (15, 0, 30, 34, 64), (2, 8, 46, 8, 48), (255, 8, 12, 8, 30),
                       (255, 8, 30, 34, 48))),
    ],
    ids=["overlap", "overlap of one class", "two pieces", "overlap with no VOC class", "crowd"],
)  # fmt: skip
def test_label_maps_drawn_by_hand(root, image_id, expected):
    assert np.array_equal(maps(make(root).make_set("train"))[image_id], expected)


def test_an_image_without_annotations_is_background_and_not_void(root):
    assert not maps(make(root).make_set("val"))[37777].any()


def test_run_lengths_may_be_compressed(root):
    painted = drawn(40, 56, (1, 5, 20, 8, 30))
    encoded = mask.encode(np.asfortranarray(painted))
    record = {"image_id": 37777, "category_id": 20, "area": 1.0, "id": 1}
    record["segmentation"] = {"size": encoded["size"], "counts": encoded["counts"].decode()}
    change(root, "val2017", lambda content: content["annotations"].append(record))
    assert np.array_equal(maps(make(root).make_set("val"))[37777], 17 * painted)


def test_many_overlapping_instances_are_void(root):
    """More than a byte counts."""
    record = {"segmentation": [[4, 4, 20, 4, 20, 20, 4, 20]], "area": 256.0, "iscrowd": 0, "image_id": 37777}
    records = [{**record, "category_id": 1, "bbox": [4, 4, 16, 16], "id": number} for number in range(1, 258)]
    change(root, "val2017", lambda content: content["annotations"].extend(records))
    assert np.array_equal(maps(make(root).make_set("val"))[37777], drawn(40, 56, (255, 4, 20, 4, 20)))


@pytest.mark.parametrize("split", ["val", "train"])
def test_the_samples_label_is_the_label_map(root, split):
    data = make(root)
    dataset = data.make_set(split)
    dataset.transform = data.transform("val")
    for index, label in enumerate(maps(dataset).values()):
        assert np.array_equal(dataset[index]["label"], label)


def test_a_label_map_does_not_depend_on_the_order_of_records(root):
    expected = maps(make(root).make_set("train"))
    for kind in ("annotations", "images", "categories"):
        change(root, "train2017", lambda content, kind=kind: content[kind].reverse())
        assert same(maps(make(root).make_set("train")), expected)


def test_categories_are_in_the_order_of_vocs_classes():
    assert len(CATEGORIES) == len(COCO.classes) - 1 == 20
    assert list(VOC_NAMES_IN_COCO) == list(CATEGORIES)
    assert set(CATEGORIES) < set(COCO_CATEGORIES.values())
    other_names = {"aeroplane": "airplane", "diningtable": "dining table", "motorbike": "motorcycle"}
    other_names |= {"pottedplant": "potted plant", "sofa": "couch", "tvmonitor": "tv"}
    assert [other_names.get(name, name) for name in COCO.classes[1:]] == list(VOC_NAMES_IN_COCO)


def test_categories_are_known_by_their_names_whatever_their_ids(root):
    """Files that were converted to and fro count categories anew."""
    expected = maps(make(root).make_set("val"))

    def renumber(content):
        for category in content["categories"]:
            category["id"] += 1000
        for annotation in content["annotations"]:
            annotation["category_id"] += 1000

    change(root, "val2017", renumber)
    assert same(maps(make(root).make_set("val")), expected)


# Images


def test_training_leaves_out_images_of_1000_annotated_pixels_or_less(root):
    assert ids(make(root).make_set("train")) == list(COCO_TRAINABLE)


@pytest.mark.parametrize(("area", "kept"), [(1000, False), (1000.5, True), (1001, True)])
def test_the_filter_goes_by_the_stored_area(root, area, kept):
    def resize(content):
        for annotation in content["annotations"]:
            if annotation["image_id"] == 5802:
                annotation["area"] = area

    change(root, "train2017", resize)
    assert (5802 in ids(make(root).make_set("train"))) == kept


@pytest.mark.parametrize("split", ["val", "test"])
def test_validation_and_test_are_all_images_of_val2017(root, split):
    assert ids(make(root).make_set(split)) == sorted(image_id for image_id, *_ in COCO_IMAGES["val2017"])


def test_a_grey_jpeg_becomes_rgb(root):
    dataset = make(root, crop=48, scale=(48, 48)).make_set("train")
    image = dataset[ids(dataset).index(COCO_GREY)]["image"]
    assert image.shape == (3, 48, 48)
    assert np.array_equal(image[0], image[2])


def test_file_names_may_be_of_any_script_and_in_folders(root):
    names = ["Grüße 世界.jpg", "below/a b.jpg"]
    (root / "val2017" / "below").mkdir()
    for number, name in enumerate(names):
        (root / "val2017" / f"{(37777, 87038)[number]:012}.jpg").rename(root / "val2017" / name)

    def rename(content):
        for image in content["images"]:
            if image["id"] in (37777, 87038):
                image["file_name"] = names[image["id"] == 87038]

    change(root, "val2017", rename)
    dataset = make(root).make_set("val")
    assert [path.relative_to(root / "val2017").as_posix() for path in dataset.images][:2] == names
    assert dataset[0]["image"].shape == (3, 40, 56)


def test_reading_prints_nothing(root, capfd):
    make(root).make_set("val")
    assert capfd.readouterr() == ("", "")


# Errors


def test_a_missing_root_is_told(tmp_path):
    with pytest.raises(DataError, match=one_line("instances_train2017.json", "not found", "annotations/, train2017/")):
        make(tmp_path / "absent").make_set("train")


def test_a_folder_in_place_of_the_annotation_file_is_told(root):
    annotations_file(root, "val2017").unlink()
    annotations_file(root, "val2017").mkdir()
    with pytest.raises(DataError, match=one_line("instances_val2017.json", "not found")):
        make(root).make_set("val")


def test_an_annotation_file_that_cannot_be_read_is_told(root, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("datamodules.coco.digest", refuse)
    with pytest.raises(DataError, match=one_line("instances_val2017.json", "Permission denied")):
        make(root).make_set("val")


def test_a_missing_folder_of_images_is_told(root):
    (root / "val2017").rename(root / "val2014")
    with pytest.raises(DataError, match=one_line("val2017", "000000037777.jpg", "4 of 4 images", "unpack val2017.zip")):
        make(root).make_set("val")


def test_an_annotated_image_that_is_absent_is_told_before_training(root):
    (root / "train2017" / "000000118113.jpg").unlink()
    with pytest.raises(DataError, match=one_line("000000118113.jpg", "absent", "1 of 10 images", "train2017.zip")):
        make(root).make_set("train")


def test_a_half_extracted_archive_is_told_before_training(root):
    for path in sorted((root / "train2017").iterdir())[5:]:
        path.unlink()
    with pytest.raises(DataError, match=one_line("train2017/", "absent", "of 10 images", "unpack train2017.zip")):
        make(root).make_set("train")


def test_an_absent_image_that_training_leaves_out_is_not_missed(root):
    (root / "train2017" / "000000574769.jpg").unlink()
    assert len(make(root).make_set("train")) == len(COCO_TRAINABLE)


@pytest.mark.parametrize(
    "content",
    [b'{"images": [{"id": 1,', b"", b"[]", b"\x1f\x8b\x08\x00\xff\xfe", b'{"annotations": [{"id": 1}], "images": []}'],
    ids=["truncated", "empty", "list", "binary", "record without its image"],
)
@pytest.mark.parametrize("split", ["train", "val"])
def test_a_broken_annotation_file_is_told(root, split, content):
    annotations_file(root, f"{split}2017").write_bytes(content)
    with pytest.raises(DataError, match=one_line(f"instances_{split}2017.json", "fetch it again")):
        make(root).make_set(split)


@pytest.mark.parametrize(
    ("kind", "key"), [("images", "file_name"), ("annotations", "category_id"), ("annotations", "area")]
)
def test_records_of_another_layout_are_told(root, kind, key):
    change(root, "train2017", lambda content: [record.pop(key) for record in content[kind]])
    with pytest.raises(DataError, match=one_line("instances_train2017.json", key)):
        make(root).make_set("train")


def test_a_training_set_without_voc_classes_is_told(root):
    change(root, "train2017", lambda content: content.update(annotations=[]))
    with pytest.raises(DataError, match=one_line(root.name, "train2017", "VOC classes")):
        make(root).make_set("train")


def test_an_image_of_another_size_than_its_record_is_told(root):
    change(root, "val2017", lambda content: content["images"][1].update(height=41))
    with pytest.raises(DataError, match=one_line("000000037777.jpg", "(40, 56)", "(41, 56)")):
        make(root).make_set("val")[0]


def test_a_truncated_image_is_told(root):
    path = root / "val2017" / "000000037777.jpg"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=one_line(path.name, "corrupt or truncated")):
        make(root).make_set("val")[0]


# Exports of annotation tools

OWN = ["background", "cat", "dog"]


def write_export(root, split_file, folder, numbers, size=(40, 56), **changes):
    """An export of images with a cat, and a dog over a corner of it; sizes grow with the images' numbers."""
    (root / folder).mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    for number in numbers:
        height, width = size[0] + number, size[1]
        Image.fromarray(picture(number, height, width)).save(root / folder / f"{number}.jpg")
        images.append({"id": number, "file_name": f"{number}.jpg", "height": height, "width": width})
        for category, (left, right) in enumerate(((4, 24), (14, 34))):
            polygon = [left, 4, right, 4, right, 24, left, 24]
            annotations.append({"image_id": number, "category_id": category, "segmentation": [polygon], **changes})
    categories = [{"id": number, "name": name} for number, name in enumerate(OWN[1:])]
    (root / split_file).parent.mkdir(parents=True, exist_ok=True)
    (root / split_file).write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories}), encoding="utf-8-sig"
    )


LAYOUTS = {
    "COCO's": ({}, ("train2017", "val2017", "val2017"), "annotations/instances_{}.json", "{}"),
    "Roboflow": (
        {"annotations": "{split}/_annotations.coco.json", "images": "{split}", "val": "valid", "test": "test"},
        ("train", "valid", "test"), "{}/_annotations.coco.json", "{}",
    ),
    "CVAT": (
        {"annotations": "annotations/instances_{split}.json", "images": "images/{split}", "train": "Train"},
        ("Train", "val", "val"), "annotations/instances_{}.json", "images/{}",
    ),
    "labelme2coco": (
        {"annotations": "{split}.json", "images": ".", "test": "val"}, ("train", "val", "val"), "{}.json", ".",
    ),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_exports_of_any_layout_are_read(tmp_path, layout):
    options, names, file, folder = LAYOUTS[layout]
    numbers = {"train": [1, 2, 3], "val": [4, 5], "test": [4, 5]}
    if names[2] != names[1]:
        numbers["test"] = [6]
    for split, name in zip(numbers, names, strict=True):
        write_export(tmp_path, file.format(name), folder.format(name), numbers[split])
    data = make(tmp_path, classes=OWN, **options)
    assert data.classes == tuple(OWN)
    for split, expected in numbers.items():
        dataset = data.make_set(split)
        assert ids(dataset) == expected
        dataset.transform = data.transform("val")
        for sample, number in zip(dataset, expected, strict=True):
            boxes = (1, 4, 24, 4, 24), (2, 4, 24, 14, 34), (255, 4, 24, 14, 24)
            assert np.array_equal(sample["label"], drawn(40 + number, 56, *boxes))


@pytest.fixture
def export(tmp_path):
    """An export of one file with ten images, beside the pictures; what makes a data module of it."""
    write_export(tmp_path, "result.json", "images", range(10))
    options = {"classes": OWN, "annotations": "result.json", "images": "images", "holdout": 0.3}
    return lambda **changes: make(tmp_path, **{**options, **changes})


def test_an_export_without_splits_is_split_evenly(export):
    train, val, test = (ids(export().make_set(split)) for split in ("train", "val", "test"))
    assert len(val) == 3 and val == test and sorted(train + val) == [*range(10)]


def test_training_and_validation_on_the_same_images_is_refused(export):
    with pytest.raises(DataError, match=one_line("result.json", "same images", "--data.holdout")):
        export(holdout=0).make_set("train")
    assert len(export(holdout=0).make_set("val")) == 10


def test_training_on_images_of_the_validation_set_is_refused(tmp_path, export):
    write_export(tmp_path, "other.json", "images", [8, 9, 10])
    with pytest.raises(DataError, match=one_line("images/8.jpg", "2 of 10", "other.json")):
        export(holdout=0, annotations="{split}.json", train="result", val="other").make_set("train")


def test_exports_keep_all_images_unless_an_area_is_asked_for(tmp_path, export):
    """Each has 400 + 400 pixels: the reference's 1000 would leave none."""
    assert len(export().make_set("train")) == 7
    assert len(export(min_area=799.5).make_set("train")) == 7
    with pytest.raises(DataError, match=one_line("result.json", "more than 800 pixels", "lower --data.min_area")):
        export(min_area=800).make_set("train")
    assert len(export(min_area=800).make_set("val")) == 3, "of training alone"


def test_the_reference_area_can_be_changed(root):
    everything = len(COCO_IMAGES["train2017"])
    assert len(make(root, min_area=0).make_set("train")) == everything - 2, "without the two that have no VOC class"
    with pytest.raises(DataError, match=one_line("instances_train2017.json", "VOC classes", "--data.min_area")):
        make(root, min_area=1e6).make_set("train")


@pytest.mark.parametrize(("overlaps", "there"), [("void", 255), ("last", 2)])
def test_overlaps_are_void_or_of_the_last(export, overlaps, there):
    for _ in ("drawn", "kept"):
        for label in maps(export(overlaps=overlaps).make_set("val")).values():
            assert (label[4:24, 14:24] == there).all() and (label[4:24, 4:14] == 1).all()


def test_other_classes_and_boxes_have_caches_of_their_own(export):
    first = maps(export().make_set("val"))
    turned = maps(export(classes=["background", "dog", "cat"]).make_set("val"))
    alone = maps(export(classes=["_background_", "dog"]).make_set("val"))
    for number, label in first.items():
        assert np.array_equal(turned[number], np.select([label == 1, label == 2, label == 255], [2, 1, 255]))
        assert np.array_equal(alone[number], (label == 2) | (label == 255))
    assert same(maps(export().make_set("val")), first)


def test_boxes_are_refused_painted_or_skipped(tmp_path, export):
    write_export(tmp_path, "result.json", "images", range(10), segmentation=[], bbox=[4, 4, 20, 20])
    with pytest.raises(DataError, match=one_line("result.json", "20 of its annotations", "--data.boxes")):
        export().make_set("train")
    for _ in ("drawn", "kept"):
        painted = maps(export(boxes="paint", overlaps="last").make_set("val"))
        assert all((label[4:24, 4:24] == 2).all() for label in painted.values())
        assert not any(label.any() for label in maps(export(boxes="skip").make_set("val")).values())


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"classes": []}, ("--data.classes", "background")),
        ({"classes": ["cat", "dog"]}, ("--data.classes", "must begin with background")),
        ({"classes": ["background"]}, ("--data.classes", "one category or more")),
        ({"classes": ["background", "cat", "cat"]}, ("--data.classes", "each once")),
        ({"classes": ["background", *map(str, range(255))]}, ("256 classes", "255")),
        ({"holdout": 0.6}, ("holdout",)),
        ({"min_area": -1}, ("min_area",)),
        ({"classes": None, "boxes": "paint"}, ("--data.boxes", "--data.classes")),
    ],
)
def test_options_that_cannot_be_are_told(export, options, parts):
    with pytest.raises(DataError, match=one_line(*parts)):
        export(**options)


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"annotations": "results.json"}, ("results.json", "not found", "--data.annotations")),
        ({"images": "pictures"}, ("pictures/", "absent", "--data.images")),
        ({"classes": ["background", "cow"]}, ("result.json", "'cow'", "it has 'cat', 'dog'")),
        ({"holdout": 0.01}, ("result.json", "10 images", "holdout")),
    ],
)
def test_an_export_that_is_not_as_the_options_say_is_told(export, options, parts):
    with pytest.raises(DataError, match=one_line(*parts)):
        export(**options).make_set("val")


def test_a_pipe_in_place_of_a_file_is_told(tmp_path, export):
    (tmp_path / "result.json").unlink()
    os.mkfifo(tmp_path / "result.json")
    with pytest.raises(DataError, match=one_line("result.json", "not found")):
        export().make_set("val")


def test_an_image_of_another_size_is_told_before_anything_is_drawn(tmp_path, export, draws):
    dataset = export().make_set("val")
    Image.new("RGB", (60, 60)).save(dataset.images[0])
    with pytest.raises(DataError, match=one_line(dataset.images[0], "(60, 60)", "(43, 56)", "annotation file")):
        dataset[0]
    assert not draws and not kept_labels(tmp_path)
    assert dataset[1]["label"].unique().tolist() == [0, 1, 2, 255]


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_photographs_are_turned_as_they_were_annotated(tmp_path, export, orientation):
    shown = np.zeros((43, 56, 3), dtype=np.uint8)
    shown[4:24, 4:34] = 255
    turns = {1: 0, 3: 2, 6: 1, 8: 3}[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.rot90(shown, turns)).save(tmp_path / "images" / "3.jpg", quality=95, exif=exif)
    dataset = export().make_set("val")
    sample = dataset[ids(dataset).index(3)]
    assert torch.equal(sample["image"][0] > 0.5, sample["label"] != 0)


def test_published_photographs_are_as_stored(root):
    """COCO's annotations count stored pixels."""
    exif = Image.Exif()
    exif[0x0112] = 3
    path = root / "val2017" / "000000037777.jpg"
    stored = Image.fromarray(picture(37777, 40, 56))
    stored.save(path, quality=95, exif=exif)
    image = make(root).make_set("val")[0]["image"]
    assert np.abs(image.permute(1, 2, 0).numpy() * 255 - np.asarray(stored)).mean() < 6


def test_an_export_trains(export):
    data = export(crop=32, scale=(32, 40), batch_size=2)
    data.setup("fit")
    batches = list(data.train_dataloader())
    assert len(batches) == 3 and batches[0]["image"].shape == (2, 3, 32, 32)
    assert {*torch.stack([batch["label"] for batch in batches]).unique().tolist()} <= {0, 1, 2, 255}


def test_images_of_one_size_make_batches(tmp_path, export):
    for name in tmp_path.glob("images/*"):
        name.unlink()
    write_export(tmp_path, "result.json", "images", [0])
    data = export(holdout=0, eval_batch_size=2)
    data.setup("validate")
    assert next(iter(data.val_dataloader()))["image"].shape == (1, 3, 40, 56)


# The cache


@pytest.fixture
def draws(monkeypatch):
    """Grows by one for each label map that is drawn."""
    done, draw = [], Annotations.label_map
    monkeypatch.setattr(Annotations, "label_map", lambda self, i, **how: (done.append(i), draw(self, i, **how))[1])
    return done


def kept_labels(folder):
    """The label maps in a cache, by name."""
    return {path.name: path for path in sorted(folder.rglob("labels/*.png"))}


def test_a_label_map_is_drawn_once_and_kept_as_a_picture(root, draws):
    for _ in range(3):
        labels = maps(make(root).make_set("val"))
    assert len(draws) == 4
    kept = kept_labels(root / ".saddle")
    assert list(kept) == [f"{image_id:012}.png" for image_id in labels]
    for label, path in zip(labels.values(), kept.values(), strict=True):
        assert np.array_equal(np.asarray(Image.open(path)), label)


def test_a_label_map_is_drawn_when_it_is_asked_for_and_not_before(root, draws):
    dataset = make(root).make_set("train")
    assert not draws and not kept_labels(root)
    dataset[3]
    assert len(draws) == 1 and list(kept_labels(root)) == [f"{ids(dataset)[3]:012}.png"]


def test_a_cache_belongs_to_the_content_of_its_annotation_file(root, draws):
    """A changed file never reads it; the same content does, whatever its folder and date."""
    original = annotations_file(root, "val2017").read_bytes()
    first = maps(make(root).make_set("val"))
    change(root, "val2017", lambda content: content["annotations"].clear())
    assert not any(label.any() for label in maps(make(root).make_set("val")).values())
    assert len(draws) == 8
    annotations_file(root, "val2017").write_bytes(original)
    assert same(maps(make(root).make_set("val")), first)
    assert len(draws) == 8, "the first content's cache is still there"


def test_training_and_validation_do_not_share_label_maps(root):
    """Were both of one content, images of one id would still be images of two folders."""
    for folder in ("train2017", "val2017"):
        annotations_file(root, folder).write_bytes(annotations_file(root, "train2017").read_bytes())
    for path in (root / "train2017").iterdir():
        shutil.copy(path, root / "val2017")
    maps(make(root).make_set("train"))
    maps(make(root).make_set("val"))
    assert len({path.parent for path in (root / ".saddle").rglob("labels/*.png")}) == 2


def test_the_cache_may_be_chosen(root, tmp_path, draws):
    for _ in range(2):
        maps(make(root, cache=str(tmp_path / "mine")).make_set("val"))
    assert len(draws) == len(kept_labels(tmp_path / "mine")) == 4
    assert not (root / ".saddle").exists()


def test_data_that_cannot_be_written_have_their_cache_in_the_users_folder(root, tmp_path, monkeypatch, draws):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    for _ in range(2):
        maps(make(root).make_set("val"))
    assert len(draws) == len(kept_labels(tmp_path / "home" / "saddle")) == 4
    assert not (root / ".saddle").exists()


def saved_as(image):
    return lambda path: image.save(path)


DAMAGES = {
    "absent": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-30]),
    "a byte": lambda path: path.write_bytes(path.read_bytes()[:-25] + b"\xaa" + path.read_bytes()[-24:]),
    "text": lambda path: path.write_bytes(b"no picture"),
    "folder": lambda path: (path.unlink(), path.mkdir()),
    "size": saved_as(Image.new("L", (57, 40), 7)),
    "turned": saved_as(Image.new("L", (40, 56), 7)),
    "colors": saved_as(Image.new("RGB", (56, 40), (7, 0, 0))),
    "jpeg": lambda path: Image.new("RGB", (56, 40)).save(path, "JPEG"),
    "16 bits": saved_as(Image.fromarray(np.full((40, 56), 300, dtype=np.uint16))),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_label_map_is_drawn_again(root, damage):
    record = {"image_id": 37777, "category_id": 20, "area": 1.0, "id": 1}
    record["segmentation"] = [[4, 4, 20, 4, 20, 20, 4, 20]]
    change(root, "val2017", lambda content: content["annotations"].append(record))
    expected = maps(make(root).make_set("val"))
    kept = kept_labels(root)["000000037777.png"]
    DAMAGES[damage](kept)
    dataset = make(root).make_set("val")
    assert same(maps(dataset), expected)
    assert dataset[0]["label"].unique().tolist() == [0, 17]
    assert damage == "folder" or np.array_equal(read_label_map(kept), expected[37777]), "whole again"


def test_a_cache_may_be_deleted_at_any_time(root):
    dataset = make(root).make_set("val")
    expected = maps(dataset)
    for _ in range(2):
        shutil.rmtree(root / ".saddle")
        assert same(maps(dataset), expected)
    assert len(kept_labels(root)) == 4, "it fills again"
    sent = pickle.dumps(dataset)
    shutil.rmtree(root / ".saddle" / "labels", ignore_errors=True)
    assert same(maps(pickle.loads(sent)), expected)


@pytest.mark.parametrize("what", ["pathlib.Path.write_bytes", "os.replace", "pathlib.Path.mkdir", "os.open"])
def test_a_cache_that_cannot_be_written_is_done_without(root, monkeypatch, what, draws):
    """A full disk, and a folder that only seems to be writable."""
    expected = maps(make(root, cache=str(root / "elsewhere")).make_set("val"))

    def refuse(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(what, refuse)
    dataset = make(root).make_set("val")
    for _ in range(2):
        assert same(maps(dataset), expected)
    monkeypatch.undo()
    assert what == "os.open" or not list((root / ".saddle").rglob("*.png*")), "no rest of a file"


@pytest.mark.parametrize("name", [".saddle", "labels"])
def test_a_file_in_place_of_the_cache_is_no_obstacle(root, name):
    expected = maps(make(root, cache=str(root / "elsewhere")).make_set("val"))
    folder = root / ".saddle"
    if name == "labels":
        make(root).make_set("val")
        (folder,) = (path / "labels" for path in (root / ".saddle").iterdir())
    folder.write_text("no folder")
    dataset = make(root).make_set("val")
    assert same(maps(dataset), expected) and same(maps(dataset), expected)
    assert folder.read_text() == "no folder"


def test_workers_fill_the_cache_together(root):
    data = make(root, eval_batch_size=1)
    data.num_workers = 2
    for _ in range(2):
        data.sets.clear()
        data.setup("validate")
        batches = list(data.val_dataloader())
        content = json.loads(annotations_file(root, "val2017").read_text())
        for image_id, batch in zip(ids(data.sets["val"]), batches, strict=True):
            assert np.array_equal(batch["label"][0], reference_label_map(content, image_id))
        assert len(kept_labels(root)) == 4
    assert not list((root / ".saddle").rglob(".*.png*")), "no rest of a file"


# Memory


def write_many(root, number, instances):
    """Annotations of empty files: enough to open the data set."""
    (root / "val2017").mkdir(parents=True)
    (root / "annotations").mkdir()
    names = [f"{image_id:012}.jpg" for image_id in range(number)]
    for name in names:
        (root / "val2017" / name).touch()
    images = [{"id": i, "file_name": name, "height": 480, "width": 640} for i, name in enumerate(names)]
    square = [4.5, 4.5, 20.5, 4.5, 20.5, 20.5, 4.5, 20.5] * 5
    annotations = [
        {"id": i, "image_id": i % number, "category_id": 1, "area": 9.5, "segmentation": [square]}
        for i in range(instances)
    ]
    categories = [{"id": i, "name": name} for i, name in COCO_CATEGORIES.items()]
    content = {"images": images, "annotations": annotations, "categories": categories}
    annotations_file(root, "val2017").write_text(json.dumps(content))
    return root


def objects_of(thing):
    """How many objects a thing holds, classes and what modules hold aside."""
    seen, waiting = {}, [thing]
    while waiting:
        one = waiting.pop()
        if (
            id(one) not in seen
            and not isinstance(one, type | ModuleType)
            and not callable(getattr(one, "__get__", None))
        ):
            seen[id(one)] = one
            waiting.extend(gc.get_referents(one))
    return len(seen)


def test_a_data_set_holds_no_object_per_image_or_annotation(tmp_path):
    """Each would be copied, bit by bit, in each worker."""
    few, many = (write_many(tmp_path / str(number), number, 4 * number) for number in (10, 500))
    few, many = make(few).make_set("val"), make(many).make_set("val")
    assert len(few) == 10 and len(many) == 500
    assert objects_of(many) == objects_of(few)


def test_little_is_sent_to_a_worker(tmp_path):
    """Names and places of images, and where the annotations lie."""
    dataset = make(write_many(tmp_path, 300, 3000)).make_set("val")
    assert dataset.read_label.annotations.numbers.nbytes > 900_000
    sent = pickle.dumps(dataset)
    assert len(sent) < 300 * 24 + 5000
    assert np.array_equal(pickle.loads(sent).read_label(7), dataset.read_label(7))

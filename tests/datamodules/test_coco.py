import json

import numpy as np
import pytest
from coco_reference import VOC_NAMES_IN_COCO, reference_label_map
from one_line import one_line
from pycocotools import mask
from tiny_data import COCO_CATEGORIES, COCO_GREY, COCO_IMAGES, COCO_TRAINABLE, write_coco

from datamodules import COCO, DataError
from datamodules.coco import CATEGORIES, label_map


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


def all_annotated(root):
    """Let images pass the filter of training: large stored areas, which label maps do not depend on."""

    def enlarge(content):
        for annotation in content["annotations"]:
            annotation["area"] = 5000.0

    change(root, "train2017", enlarge)


@pytest.mark.parametrize("split", ["train", "val"])
def test_label_maps_equal_those_built_another_way(root, split):
    all_annotated(root)
    content = json.loads(annotations_file(root, f"{split}2017").read_text())
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
    record = {"image_id": 37777, "category_id": 20, "iscrowd": 1, "area": 1.0, "bbox": [0, 0, 1, 1], "id": 1}
    record["segmentation"] = {"size": encoded["size"], "counts": encoded["counts"].decode()}
    change(root, "val2017", lambda content: content["annotations"].append(record))
    assert np.array_equal(maps(make(root).make_set("val"))[37777], 17 * painted)


def test_many_overlapping_instances_are_void(root):
    """More than a byte counts."""
    record = {"segmentation": [[4, 4, 20, 4, 20, 20, 4, 20]], "area": 256.0, "iscrowd": 0, "image_id": 37777}
    records = [{**record, "category_id": 1, "bbox": [4, 4, 16, 16], "id": number} for number in range(1, 258)]
    change(root, "val2017", lambda content: content["annotations"].extend(records))
    assert np.array_equal(maps(make(root).make_set("val"))[37777], drawn(40, 56, (255, 4, 20, 4, 20)))


def test_the_samples_label_is_the_label_map(root):
    dataset = make(root).make_set("val")
    for index in range(len(dataset)):
        assert np.array_equal(dataset[index]["label"], dataset.read_label(index))


def test_categories_are_in_the_order_of_vocs_classes():
    assert len(CATEGORIES) == len(COCO.classes) == 21
    assert [COCO_CATEGORIES[category] for category in CATEGORIES[1:]] == list(VOC_NAMES_IN_COCO)
    other_names = {"aeroplane": "airplane", "diningtable": "dining table", "motorbike": "motorcycle"}
    other_names |= {"pottedplant": "potted plant", "sofa": "couch", "tvmonitor": "tv"}
    assert [other_names.get(name, name) for name in COCO.classes[1:]] == list(VOC_NAMES_IN_COCO)


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


def test_reading_prints_nothing(root, capsys):
    make(root).make_set("val")
    assert capsys.readouterr() == ("", "")


def test_a_missing_root_is_told(tmp_path):
    with pytest.raises(DataError, match=one_line("instances_train2017.json", "not found", "annotations/, train2017/")):
        make(tmp_path / "absent").make_set("train")


def test_a_missing_folder_of_images_is_told(root):
    (root / "val2017").rename(root / "val2014")
    with pytest.raises(DataError, match=one_line("val2017", "000000037777.jpg", "4 of 4 images", "unpack val2017.zip")):
        make(root).make_set("val")


def test_an_annotated_image_that_is_absent_is_told_before_training(root):
    (root / "train2017" / "000000118113.jpg").unlink()
    with pytest.raises(DataError, match=one_line("000000118113.jpg", "absent", "1 of 10 images", "train2017.zip")):
        make(root).make_set("train")


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


def test_a_label_map_does_not_depend_on_the_order_of_instances(root):
    annotations = make(root).make_set("train").read_label.args[0]
    for image_id in COCO_TRAINABLE:
        label = label_map(annotations, image_id)
        annotations.imgToAnns[image_id].reverse()
        assert np.array_equal(label_map(annotations, image_id), label)

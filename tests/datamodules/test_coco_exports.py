import copy
import json

import numpy as np
import pytest
from coco_content import SIZE, SQUARE, record
from one_line import one_line
from PIL import Image
from pycocotools import mask

from datamodules.coco_annotations import Annotations
from datamodules.coco_exports import export, image_size
from datamodules.coco_records import read_records
from datamodules.coco_segmentations import RecordError
from datamodules.images import DataError

LABELS = {"cat": 1, "dog": 2}
OTHER = [10, 2, 15, 2, 15, 9, 10, 9]


def drawn(*boxes):
    """A label map drawn by hand: (value, top, bottom, left, right), later ones on top."""
    label = np.zeros(SIZE, dtype=np.uint8)
    for value, top, bottom, left, right in boxes:
        label[top:bottom, left:right] = value
    return label


CAT, DOG = (1, 2, 9, 2, 9), (2, 2, 9, 10, 15)


@pytest.fixture
def content():
    """A cat and a dog on image 7, nothing on image 8."""
    return {
        "images": [{"id": i, "file_name": f"{i}.jpg", "height": SIZE[0], "width": SIZE[1]} for i in (8, 7)],
        "annotations": [record([SQUARE], id=1, category_id=0), record([OTHER], id=2, category_id=1)],
        "categories": [{"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}, {"id": 2, "name": "bird"}],
    }


@pytest.fixture
def read(tmp_path):
    """Reads content as an export, the images' folder being the temporary one."""

    def read(content, boxes=None):
        path = tmp_path / "export.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return Annotations(**read_records(path, LABELS, export(LABELS, tmp_path, boxes)))

    return read


def label_of(annotations, name="7.jpg"):
    return annotations.label_map(annotations.names.tolist().index(name.encode()))


def told(*parts):
    return pytest.raises(DataError, match=one_line("export.json", *parts, "export it again"))


def test_a_plain_export_is_read(read, content):
    annotations = read(content)
    assert annotations.ids.tolist() == [7, 8] and annotations.areas.tolist() == [80, 0]
    assert np.array_equal(label_of(annotations), drawn(CAT, DOG))
    assert not label_of(annotations, "8.jpg").any()


# What is unusual and has one meaning


def every(content, kinds, change):
    """Changes the ids of records, and what refers to them, by a function of kind and id."""
    for kind in kinds:
        for one in content[kind]:
            one["id"] = change(kind, one["id"])
    for one in content["annotations"]:
        for kind, key in (("images", "image_id"), ("categories", "category_id")):
            if kind in kinds:
                one[key] = change(kind, one[key])


@pytest.mark.parametrize(
    "change",
    [
        lambda kind, key: float(key),
        lambda kind, key: str(key),
        lambda kind, key: f"{key}.0",
        lambda kind, key: f"{kind}-{key}",
        lambda kind, key: f"{key:031x}z",
        lambda kind, key: key + 10**12,
        lambda kind, key: key - 5,
    ],
    ids=["floats", "texts", "floats as texts", "words", "hexadecimal", "large", "negative"],
)
@pytest.mark.parametrize("kinds", [["images", "categories", "annotations"], ["images"], ["categories"]])
def test_ids_may_be_of_any_type(read, content, change, kinds):
    every(
        content, kinds, lambda kind, key: change(kind, key) if not (kind == "images" and key == 8) else change(kind, 3)
    )
    assert np.array_equal(label_of(read(content)), drawn(CAT, DOG))


def test_ids_may_be_of_one_type_here_and_of_another_there(read, content):
    for one in content["annotations"]:
        one |= {"image_id": "7", "category_id": float(one["category_id"])}
    assert np.array_equal(label_of(read(content)), drawn(CAT, DOG))


@pytest.mark.parametrize("ids", [[None, None], [5, None], [5, 5], ["a", "b"], [[], {}]])
def test_annotations_need_no_ids_of_their_own(read, content, ids):
    """Where files were joined, some occur twice."""
    for one, key in zip(content["annotations"], ids, strict=True):
        one["id"] = key
        if key is None:
            del one["id"]
    assert np.array_equal(label_of(read(content)), drawn(CAT, DOG))


@pytest.mark.parametrize("area", [None, "", "unknown", [], float("nan")])
def test_a_missing_area_is_that_of_the_pixels(read, content, area):
    for one in content["annotations"]:
        one["area"] = area
    assert read(content).areas.tolist() == [49 + 35, 0]
    for one in content["annotations"]:
        del one["area"]
    assert read(content).areas.tolist() == [49 + 35, 0]
    content["annotations"][0]["area"] = "12.5"
    assert read(content).areas.tolist() == [12.5 + 35, 0]


def test_annotations_of_removed_images_are_passed_over(read, content):
    content["annotations"].append(record([OTHER], image_id=9, category_id=0))
    assert np.array_equal(label_of(read(content)), drawn(CAT, DOG))


@pytest.mark.parametrize(
    "segmentation",
    [
        SQUARE,
        [[[2, 2], [9, 2], [9, 9], [2, 9]]],
        [[2, 2], [9, 2], [9, 9], [2, 9]],
        [str(number) for number in SQUARE],
        [[str(number) for number in SQUARE]],
        [SQUARE, []],
        [SQUARE, [3, 3, 4, 4]],
    ],
    ids=["flat", "points", "points of one polygon", "texts", "texts in a list", "empty", "line"],
)
def test_a_polygon_may_be_written_otherwise(read, content, segmentation):
    content["annotations"] = [record(segmentation, category_id=0)]
    assert np.array_equal(label_of(read(content)), drawn(CAT))


def test_run_lengths_are_read(read, content):
    painted = drawn(CAT)
    encoded = mask.encode(np.asfortranarray(painted))
    segmentation = {"size": encoded["size"], "counts": encoded["counts"].decode()}
    content["annotations"] = [record(segmentation, category_id=0, area=None)]
    annotations = read(content)
    assert np.array_equal(label_of(annotations), painted) and annotations.areas[0] == 49


def test_a_category_without_a_name_goes_by_its_supercategory(read, content):
    content["categories"][0] = {"id": 0, "supercategory": "cat"}
    content["categories"][1] |= {"supercategory": "animal"}
    content["categories"][2]["name"] = None
    content["categories"][2]["supercategory"] = ""
    del content["categories"][2]
    assert np.array_equal(label_of(read(content)), drawn(CAT, DOG))


def test_categories_of_one_name_are_one(read, content):
    content["categories"][2]["name"] = "cat"
    content["annotations"][1]["category_id"] = 2
    assert np.array_equal(label_of(read(content)), drawn(CAT, (1, *DOG[1:])))


def test_file_names_of_windows_have_folders_too(read, content):
    content["images"][1]["file_name"] = "some\\below\\7.jpg"
    assert read(content).names.tolist() == [b"some/below/7.jpg", b"8.jpg"]


@pytest.mark.parametrize("size", [{}, {"height": None, "width": None}, {"height": 0, "width": 0}])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_missing_size_is_that_of_the_file_as_viewers_show_it(read, content, tmp_path, size, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = SIZE if orientation > 4 else SIZE[::-1]
    Image.new("RGB", stored).save(tmp_path / "7.jpg", exif=exif)
    del content["images"][1]["height"], content["images"][1]["width"]
    content["images"][1] |= size
    annotations = read(content)
    assert annotations.sizes[0].tolist() == list(SIZE) and np.array_equal(label_of(annotations), drawn(CAT, DOG))
    assert image_size(tmp_path / "7.jpg", upright=False) == stored[::-1]


@pytest.mark.parametrize("size", [(12.0, 16.0), ("12", "16"), ("12.0", 16)])
def test_sizes_may_be_of_any_type(read, content, size):
    content["images"][1] |= dict(zip(("height", "width"), size, strict=True))
    assert np.array_equal(label_of(read(content)), drawn(CAT, DOG))


# Boxes

BOXES = [None, "absent", [], [[]], [[3, 3, 4, 4]], {}, [2, 2, 9, 9]]


@pytest.fixture(params=BOXES, ids=str)
def boxed(request, content):
    """The dog is a box without a segmentation."""
    content["annotations"][1] |= {"segmentation": request.param, "bbox": [10, 2, 5, 7], "area": None}
    if request.param == "absent":
        del content["annotations"][1]["segmentation"]
    return content


def test_a_box_is_no_label_map(read, boxed):
    with told("1 of its annotations, such as 2,", "no segmentation", "--data.boxes"):
        read(boxed)


def test_a_box_may_be_painted(read, boxed):
    annotations = read(boxed, "paint")
    assert np.array_equal(label_of(annotations), drawn(CAT, DOG)) and annotations.areas[0] == 40 + 35


def test_a_box_may_be_skipped(read, boxed):
    annotations = read(boxed, "skip")
    assert np.array_equal(label_of(annotations), drawn(CAT)) and annotations.areas[0] == 40


def test_a_box_of_another_category_or_image_is_not_looked_at(read, content):
    content["annotations"].append(record(None, category_id=2))
    content["annotations"].append(record(None, image_id=99, category_id=1))
    assert np.array_equal(label_of(read(content)), drawn(CAT, DOG))


@pytest.mark.parametrize(
    "box", [None, [], [1, 2, 3], [1, 2, 0, 5], [1, 2, 3, -1], ["a"] * 4, "1 2 3 4", [1, 2, 3, None]]
)
def test_a_box_that_encloses_nothing_cannot_be_painted(read, content, box):
    content["annotations"][1] |= {"segmentation": [], "bbox": box}
    with told("annotation 2 ", "the box"):
        read(content, "paint")


def test_a_turned_box_is_not_painted_upright(read, content):
    content["annotations"][1] |= {"segmentation": [], "bbox": [10, 2, 5, 7], "attributes": {"rotation": 30.0}}
    with told("annotation 2 ", "turned box", "polygon"):
        read(content, "paint")
    content["annotations"][1]["attributes"]["rotation"] = 0.0
    assert np.array_equal(label_of(read(content, "paint")), drawn(CAT, DOG))


# What contradicts itself


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (lambda c: c["categories"].pop(0), ("annotation 1 ", "category_id 0")),
        (lambda c: c["annotations"][0].update(category_id=None), ("annotation 1 ", "category_id None")),
        (lambda c: c["annotations"][0].update(image_id=[7]), ("annotation 1 ", "image_id [7]")),
        (lambda c: c["annotations"][0].pop("image_id"), ("annotation 1 ", "image_id None")),
        (lambda c: [one.update(image_id=99) for one in c["annotations"]], ("none of its annotations",)),
        (lambda c: c["images"].append({**c["images"][0], "file_name": "x.jpg"}), ("two of its images have the id 8",)),
        (lambda c: c["images"].append({**c["images"][0], "id": 8.0}), ("two of its images have the id 8",)),
        (lambda c: c["images"].append({**c["images"][0], "id": 9}), ("two of its images are '8.jpg'",)),
        (lambda c: c["categories"].append({"id": "1", "name": "x"}), ("two of its categories have the id 1",)),
        (lambda c: c["images"][0].update(id=7.5), ("record 1 of images has the id 7.5",)),
        (lambda c: c["images"][0].update(id=None), ("record 1 of images has the id None",)),
        (lambda c: c["images"][0].update(id=True), ("record 1 of images has the id True",)),
        (lambda c: c["images"][0].pop("file_name"), ("image 8 ", "no file_name")),
        (lambda c: c["images"][0].update(file_name=5), ("image 8 ", "file_name 5")),
        (lambda c: c["images"][0].update(height=None), ("image 8 ", "None x 16")),
        (lambda c: c["images"][0].update(height="tall"), ("image 8 ", "tall")),
        (lambda c: c["images"][0].update(height=-3), ("image 8 ", "-3 x 16")),
        (lambda c: c["images"][0].update(height=2**30), ("image 8 ", 2**30)),
        (lambda c: c["images"][0].update(height=None, width=None), ("8.jpg", "no size")),
        (lambda c: c["images"].append(5), ("record 3 of images is 5",)),
        (lambda c: c["annotations"].append([]), ("record 3 of annotations is []",)),
        (lambda c: c["categories"].append(None), ("record 4 of categories is None",)),
        (lambda c: c["categories"].append({"id": 9}), ("of categories has", "name")),
        (lambda c: c["categories"].pop(1) and c["annotations"].pop(), ("'dog'", "it has 'bird', 'cat'")),
        (lambda c: c["annotations"][0].update(segmentation=5), ("of annotations has the segmentation 5",)),
        (lambda c: c["annotations"][0].update(segmentation=[[*SQUARE, 1]]), ("annotation 1 ", "polygon")),
        (lambda c: c["annotations"][0].update(segmentation=[[*SQUARE, 1, 10**6]]), ("annotation 1 ", "far outside")),
        (lambda c: c["annotations"][0].update(segmentation=[[*SQUARE, 1, 10**6]], area=None), ("annotation 1 ",)),
        (
            lambda c: c["annotations"][0].update(segmentation={"size": [16, 12], "counts": "a"}),
            ("annotation 1 ", "size"),
        ),
        (lambda c: c.pop("categories"), ("no lists of",)),
    ],
)
def test_what_contradicts_itself_is_told(read, content, change, parts):
    change(content)
    with told(*parts):
        read(content)


@pytest.mark.parametrize(
    "name", ["../8.jpg", "/8.jpg", "a/../../8.jpg", "..\\8.jpg", "C:\\8.jpg", "\\8.jpg", "..", "//host/a"]
)
def test_an_image_outside_of_its_folder_is_refused(read, content, name):
    content["images"][0]["file_name"] = name
    with told("image 8 ", "outside of the folder"):
        read(content)
    content["images"][0] |= {"height": None, "width": None}
    with pytest.raises(DataError, match=one_line("export.json")):
        read(content)


@pytest.mark.parametrize(
    "text", ['{"images": [], "images": [], "annotations": [], "categories": []}', '{"a": {"b": 1, "b": 1}}']
)
def test_a_key_that_is_there_twice_is_told(read, text):
    with told("two values of"):
        read(text)


@pytest.mark.parametrize("text", ["", "{}", "[" * 100_000, '{"a":' * 100_000, '{"images": [{"id": 1'])
def test_a_file_of_another_format_is_told(read, text):
    with told("broken"):
        read(text)


def test_records_are_left_as_they_were(read, content):
    before = copy.deepcopy(content)
    export(LABELS, None, None).translate(content)
    assert content == before


@pytest.mark.parametrize(
    "make", [lambda path: None, lambda path: path.mkdir(), lambda path: path.write_text("no image")]
)
def test_a_size_that_no_file_tells_is_an_error(tmp_path, make):
    make(tmp_path / "a.jpg")
    with pytest.raises(RecordError, match=one_line("a.jpg", "no size")):
        image_size(tmp_path / "a.jpg", upright=True)


@pytest.mark.parametrize("boxes", [None, "paint"])
def test_shares_of_the_images_size_are_no_pixels(read, content, boxes):
    cat, dog = content["annotations"]
    for one in (cat, dog):
        one["segmentation"] = [[number / 16 for number in one["segmentation"][0]]]
        one["area"] = 0.1
    if boxes:
        dog |= {"segmentation": [], "bbox": [0.6, 0.1, 0.4, 0.9]}
    with told("all its polygons and boxes lie between 0 and 1, as shares", "export pixels"):
        read(content, boxes)
    dog["segmentation"] = [OTHER]
    assert np.array_equal(label_of(read(content, boxes))[2:], drawn(DOG)[2:]), "one in pixels, and all may be"


def test_an_image_of_one_pixel_may_be_covered(read, content):
    content["images"] = [one | {"height": 1, "width": 1} for one in content["images"]]
    content["annotations"] = [record([[0, 0, 1, 0, 1, 1, 0, 1]], id=1, category_id=0)]
    assert label_of(read(content)).item() == 1

import numpy as np
import pytest
from one_line import one_line
from PIL import Image
from tiny_data import VOC_NAMES, voc_label, write_voc

from datamodules import VOC, DataError


@pytest.fixture
def root(tmp_path):
    write_voc(tmp_path)
    return tmp_path


def make(root, **options):
    return VOC(str(root), num_workers=0, **{"eval_size": None, **options})


def in_voc(root, *parts):
    return root.joinpath("VOCdevkit", "VOC2012", *parts)


@pytest.mark.parametrize(("split", "names"), [("train", "train"), ("val", "val"), ("test", "val")])
def test_a_split_is_the_images_of_its_list_in_order(root, split, names):
    dataset = make(root).make_set(split)
    assert dataset.images == [in_voc(root, "JPEGImages", f"{name}.jpg") for name in VOC_NAMES[names]]
    assert [path.stem for path in dataset.read_label.paths] == VOC_NAMES[names]


def test_labels_are_the_palettes_indices_with_a_void_border(root):
    dataset = make(root).make_set("val")
    for index in range(3):
        label = dataset[index]["label"].numpy()
        number = len(VOC_NAMES["train"]) + index
        assert np.array_equal(label, voc_label(number, *label.shape))
        assert (label == 255).any()


def test_there_are_20_classes_and_background():
    assert len(VOC.classes) == 21
    assert (VOC.classes[0], VOC.classes[1], VOC.classes[15], VOC.classes[20]) == (
        "background", "aeroplane", "person", "tvmonitor",
    )  # fmt: skip
    assert sorted(VOC.classes[1:]) == list(VOC.classes[1:]), "VOC's classes are in alphabetic order"


@pytest.mark.parametrize("folder", ["absent", "VOCdevkit"])
def test_a_root_of_another_layout_is_told(root, folder):
    with pytest.raises(DataError, match=one_line("train.txt", "not found", folder, "VOCdevkit/VOC2012")):
        make(root / folder).make_set("train")


@pytest.mark.parametrize(("folder", "ending"), [("JPEGImages", "jpg"), ("SegmentationClass", "png")])
def test_a_missing_file_is_told(root, folder, ending):
    in_voc(root, folder, f"2007_000042.{ending}").unlink()
    with pytest.raises(DataError, match=one_line(f"2007_000042.{ending}", "missing", "val.txt")):
        make(root).make_set("val")


def test_an_empty_list_is_told(root):
    in_voc(root, "ImageSets", "Segmentation", "val.txt").write_text("\n")
    with pytest.raises(DataError, match=one_line("val.txt", "empty")):
        make(root).make_set("val")


def test_a_colored_label_map_is_told(root):
    path = in_voc(root, "SegmentationClass", "2007_000033.png")
    Image.open(path).convert("RGB").save(path)
    with pytest.raises(DataError, match=one_line("2007_000033.png", "one channel")):
        make(root).make_set("val")[0]


def test_a_label_outside_the_classes_is_told(root):
    path = in_voc(root, "SegmentationClass", "2007_000033.png")
    Image.fromarray(np.full(Image.open(path).size[::-1], 21, dtype=np.uint8)).save(path)
    with pytest.raises(DataError, match=one_line("2007_000033", "label 21 ", "0..20")):
        make(root).make_set("val")[0]


def test_a_label_map_of_another_size_is_told(root):
    Image.new("P", (9, 8)).save(in_voc(root, "SegmentationClass", "2007_000033.png"))
    with pytest.raises(DataError, match=one_line("2007_000033", "(8, 9)")):
        make(root).make_set("val")[0]

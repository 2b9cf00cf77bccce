import os

import numpy as np
import pytest
from classified import as_windows_saves
from one_line import one_line
from PIL import Image
from tiny_classification import SBD_NAMES, sbd_label, write_sbd
from tiny_data import VOC_NAMES, picture, voc_label, write_voc

from datamodules import VOC, DataError


@pytest.fixture
def root(tmp_path):
    write_voc(tmp_path)
    return tmp_path


def make(root, **options):
    return VOC(str(root), num_workers=0, **{"eval_size": None, **options})


def in_voc(root, *parts):
    return root.joinpath("VOCdevkit", "VOC2012", *parts)


def stems(paths):
    return [path.stem for path in paths]


def voc_label_of(name, label):
    """VOC's mask of an image, of the size of another of it."""
    return voc_label([*VOC_NAMES["train"], *VOC_NAMES["val"]].index(name), *label.shape)


@pytest.mark.parametrize(("split", "names"), [("train", "train"), ("val", "val"), ("test", "val")])
def test_a_split_is_the_images_of_its_list_in_order(root, split, names):
    dataset = make(root).make_set(split)
    assert list(dataset.images) == [in_voc(root, "JPEGImages", f"{name}.jpg") for name in VOC_NAMES[names]]
    assert stems(dataset.read_label.paths) == VOC_NAMES[names]


def test_labels_are_the_palettes_indices_with_a_void_border(root):
    dataset = make(root).make_set("val")
    for name, sample in zip(VOC_NAMES["val"], (dataset[index] for index in range(3)), strict=True):
        label = sample["label"].numpy()
        assert np.array_equal(label, voc_label_of(name, label))
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
    name = f"{folder}/2007_000042.{ending}"
    with pytest.raises(DataError, match=one_line(name, "absent (1 of 3 images)", "unpack VOC's archive")):
        make(root).make_set("val")


@pytest.mark.parametrize("content", [b"\n", b""])
def test_an_empty_list_is_told(root, content):
    in_voc(root, "ImageSets", "Segmentation", "val.txt").write_bytes(content)
    with pytest.raises(DataError, match=one_line("val.txt", "empty")):
        make(root).make_set("val")


def test_a_list_that_is_no_text_is_told(root):
    in_voc(root, "ImageSets", "Segmentation", "val.txt").write_bytes(b"\x1f\x8b\xff\xfe")
    with pytest.raises(DataError, match=one_line("val.txt", "fetch it again")):
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


# With the Semantic Boundaries Dataset

OF_SBD = [*SBD_NAMES["train"], *SBD_NAMES["val"]]
ADDED = sorted(set(OF_SBD) - set(VOC_NAMES["train"]) - set(VOC_NAMES["val"]))
"""Images that SBD has labelled and VOC has not."""


@pytest.fixture(params=["mat", "png"])
def sbd(request, root):
    """Folder of SBD's masks, as published or as the palette PNGs that go around, with void borders."""
    write_sbd(root / "sbd")
    folder = root / "sbd" / "benchmark_RELEASE" / "dataset"
    for name in OF_SBD:  # VOC's archive holds the images of SBD, too
        target = in_voc(root, "JPEGImages", f"{name}.jpg")
        if not target.exists():
            target.write_bytes((folder / "img" / f"{name}.jpg").read_bytes())
    if request.param == "mat":
        return folder / "cls"
    masks = root / "SegmentationClassAug"
    masks.mkdir()
    for name in (*OF_SBD, *VOC_NAMES["val"]):
        label = sbd_label(name)
        label[0] = 255
        image = Image.fromarray(label, "P")
        image.putpalette([17, 3, 99] * 256)
        image.save(masks / f"{name}.png")
    return masks


def test_the_stand_in_of_sbd_holds_images_of_vocs_validation_set():
    """In its folder and in both of its lists: what would leak, were its training list used (or its folder whole)."""
    assert set(SBD_NAMES["train"]) & set(VOC_NAMES["val"]) and set(SBD_NAMES["val"]) & set(VOC_NAMES["val"])
    assert set(OF_SBD) & set(VOC_NAMES["train"]) and len(ADDED) == 3


def test_training_with_sbd_has_no_image_of_vocs_validation_set_and_all_others(root, sbd):
    dataset = make(root, sbd=str(sbd)).make_set("train")
    names = stems(dataset.images)
    assert not set(names) & set(VOC_NAMES["val"])
    assert sorted(names) == sorted([*VOC_NAMES["train"], *ADDED])
    assert stems(dataset.read_label.paths) == names
    assert all(path.parent == in_voc(root, "JPEGImages") for path in dataset.images)


@pytest.mark.parametrize("with_sbd", [False, True])
def test_a_training_list_with_images_of_the_validation_set_is_refused(root, sbd, with_sbd):
    """As when trainval.txt, or a list of SBD's, was put in its place."""
    lists = in_voc(root, "ImageSets", "Segmentation")
    (lists / "train.txt").write_text("\n".join([*VOC_NAMES["train"], VOC_NAMES["val"][0]]))
    with pytest.raises(DataError, match=one_line("train.txt", "1 of its images", VOC_NAMES["val"][0], "val.txt")):
        make(root, sbd=str(sbd) if with_sbd else None).make_set("train")
    make(root).make_set("val")


def test_vocs_own_masks_win_over_sbds(root, sbd):
    data = make(root, sbd=str(sbd))
    dataset = data.make_set("train")
    dataset.transform = data.transform("val")
    for index, path in enumerate(dataset.images):
        label = dataset[index]["label"].numpy()
        if path.stem in VOC_NAMES["train"]:
            assert np.array_equal(label, voc_label_of(path.stem, label))
            assert dataset.read_label.paths[index].parent.name == "SegmentationClass"
        else:
            expected = sbd_label(path.stem)
            if sbd.name != "cls":
                expected[0] = 255
            assert np.array_equal(label, expected)


@pytest.mark.parametrize("split", ["val", "test"])
def test_sbd_changes_training_alone(root, sbd, split):
    with_sbd, without = make(root, sbd=str(sbd)).make_set(split), make(root).make_set(split)
    assert list(with_sbd.images) == list(without.images)
    assert list(with_sbd.read_label.paths) == list(without.read_label.paths)


def test_the_folder_of_sbd_may_be_relative_or_a_folder_of_links(root, sbd, monkeypatch):
    """Links as those of git-annex, whose targets have names and endings of their own."""
    expected = [make(root, sbd=str(sbd)).make_set("train").read_label(index) for index in range(7)]
    (root / "blobs").mkdir()
    for number, path in enumerate(sorted(sbd.iterdir())):
        path.rename(root / "blobs" / f"{number}")
        path.symlink_to(root / "blobs" / f"{number}")
    monkeypatch.chdir(sbd.parent)
    dataset = make(root, sbd=sbd.name).make_set("train")
    monkeypatch.chdir(root)
    for index in range(7):
        assert np.array_equal(dataset.read_label(index), expected[index])


def test_without_vocs_validation_list_sbd_is_not_used(root, sbd):
    """Nothing would keep its images out of training."""
    in_voc(root, "ImageSets", "Segmentation", "val.txt").unlink()
    with pytest.raises(DataError, match=one_line("val.txt", "not found")):
        make(root, sbd=str(sbd)).make_set("train")
    assert len(make(root).make_set("train")) == 4, "VOC alone does not need it"


@pytest.mark.parametrize("folder", ["absent", "empty"])
def test_a_folder_without_masks_is_told(root, sbd, folder):
    (root / "empty").mkdir()
    with pytest.raises(DataError, match=one_line(folder, "no masks of SBD")):
        make(root, sbd=str(root / folder)).make_set("train")


def test_an_image_of_sbd_that_is_absent_is_told_before_training(root, sbd):
    in_voc(root, "JPEGImages", f"{ADDED[0]}.jpg").unlink()
    name = f"JPEGImages/{ADDED[0]}.jpg"
    with pytest.raises(DataError, match=one_line(name, "absent (1 of 7 images)", "unpack VOC's archive")):
        make(root, sbd=str(sbd)).make_set("train")


def test_a_link_of_sbd_to_nowhere_is_told(root, sbd):
    path = next(path for path in sbd.iterdir() if path.stem == ADDED[0])
    path.unlink()
    path.symlink_to(root / "nowhere")
    dataset = make(root, sbd=str(sbd)).make_set("train")
    assert len(dataset) == 7, "it is not left out"
    with pytest.raises(DataError, match=one_line(path.name, "complete?")):
        dataset[stems(dataset.images).index(ADDED[0])]


def test_two_masks_of_one_image_are_told(root, sbd):
    path = next(path for path in sbd.iterdir() if path.stem == ADDED[0])
    path.with_suffix(".mat" if path.suffix == ".png" else ".png").touch()
    path.with_suffix(".txt").touch()  # a side file
    with pytest.raises(DataError, match=one_line(ADDED[0], "two files of one name")):
        make(root, sbd=str(sbd)).make_set("train")


def test_a_broken_mask_of_sbd_is_told(root, sbd):
    path = next(path for path in sbd.iterdir() if path.stem == ADDED[0])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    dataset = make(root, sbd=str(sbd)).make_set("train")
    with pytest.raises(DataError, match=one_line(path.name, "fetch it again")):
        dataset[stems(dataset.images).index(ADDED[0])]


def test_an_image_of_another_size_than_its_mask_of_sbd_is_told(root, sbd):
    Image.fromarray(picture(0, 30, 40)).save(in_voc(root, "JPEGImages", f"{ADDED[0]}.jpg"))
    dataset = make(root, sbd=str(sbd)).make_set("train")
    with pytest.raises(DataError, match=one_line(f"{ADDED[0]}.jpg", "(30, 40)", "(48, 64)")):
        dataset[stems(dataset.images).index(ADDED[0])]


def test_hidden_files_beside_the_masks_are_left_aside(root, sbd):
    for name in (".DS_Store", f"._{ADDED[0]}.mat"):
        (sbd / name).write_bytes(os.urandom(8))
    assert len(make(root, sbd=str(sbd)).make_set("train")) == 7


def test_lists_are_read_whatever_editor_saved_them(root):
    for split in ("train", "val"):
        as_windows_saves(in_voc(root, "ImageSets", "Segmentation", f"{split}.txt"))
    for split in ("train", "val"):
        assert stems(make(root).make_set(split).images) == VOC_NAMES[split]

from pathlib import Path

import pytest
from one_line import one_line

from datamodules import CIFAR10, COCO, VOC, DataError, ImageFolder
from datamodules.cache import cache_folder
from datamodules.files import by_name, files_below, pairs, path_of


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_the_home_folder_may_be_written_short(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert path_of("~/data/voc") == tmp_path / "data" / "voc"
    assert path_of("data/~") == Path("data/~") and path_of("~nobody_here/a") == Path("~nobody_here/a")
    for make in (VOC, CIFAR10, ImageFolder):
        assert make("~/data").root == tmp_path / "data"
    assert VOC("~/voc", sbd="~/sbd").sbd == tmp_path / "sbd"
    assert cache_folder(tmp_path, "labels", "~/kept") == tmp_path / "kept" / "labels"
    data = COCO("~/coco", predict_images="~/photos")
    with pytest.raises(DataError, match=one_line(tmp_path / "photos")):
        data.setup("predict")


def names(root, *patterns):
    """The pairs as paths below the root."""
    return [tuple(str(path.relative_to(root)) for path in pair) for pair in pairs(root, *patterns)]


def test_files_are_found_in_order_without_hidden_ones_and_side_files(tmp_path):
    touch(tmp_path, "b.PNG", "a.jpg", "frame.10.png", "below/deep/c.webp", ".DS_Store", "._a.jpg", ".cache/d.png")
    touch(tmp_path, "Thumbs.db", "a.json", "notes", "features.h5", "drawing.eps", "@eaDir/a.jpg", "__MACOSX/a.jpg")
    (tmp_path / "nowhere.png").symlink_to(tmp_path / "absent")
    assert files_below(tmp_path) == ["a.jpg", "b.PNG", "below/deep/c.webp", "frame.10.png", "nowhere.png"]
    assert files_below(tmp_path, [".json"]) == ["a.json"]
    assert files_below(tmp_path / "absent") == []


def test_linked_folders_are_read_once_and_without_end(tmp_path):
    touch(tmp_path, "root/a.png", "elsewhere/b.png")
    (tmp_path / "root" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root" / "self").symlink_to(tmp_path / "root")
    assert files_below(tmp_path / "root") == ["a.png", "link/b.png"]


def test_a_photograph_that_cannot_be_read_is_told_and_not_passed_over(tmp_path):
    touch(tmp_path, "a.jpg", "a.heic", "b.png", "b.DNG")
    assert files_below(tmp_path) == ["a.jpg", "b.png"]
    touch(tmp_path, "below/IMG_1.HEIC")
    with pytest.raises(DataError, match=one_line("below/IMG_1.HEIC", "cannot be read", "save it as JPEG")):
        files_below(tmp_path)


def test_two_files_of_one_name_are_told(tmp_path):
    """One of them would silently be left out."""
    touch(tmp_path, "a.jpg", "a.png", "b.png", "b.txt")
    with pytest.raises(DataError, match=one_line("a.jpg", "a.png", "two files of one name", "keep one")):
        by_name(tmp_path, "", {".jpg", ".png"})
    assert by_name(tmp_path, "", {".png"}) == {"a": tmp_path / "a.png", "b": tmp_path / "b.png"}


@pytest.mark.parametrize("suffix", ["", "_mask", "_gt", "_gtFine_labelIds", "-1", ".jpg"])
@pytest.mark.parametrize("ending", [".png", ".PNG", ".tif", ".npy"])
def test_label_maps_have_the_name_of_their_image_and_perhaps_more(tmp_path, suffix, ending):
    stems = ("1", "10", "below/1", "a.b", "Bild 1 ä")
    touch(tmp_path, *(f"images/{stem}.jpg" for stem in stems), *(f"labels/{stem}{suffix}{ending}" for stem in stems))
    touch(tmp_path, "images/1.json", "images/Thumbs.db", "labels/1.xml", f"labels/of_no_image{suffix}{ending}")
    expected = [(f"images/{stem}.jpg", f"labels/{stem}{suffix}{ending}") for stem in sorted(stems)]
    assert names(tmp_path, "images", "labels") == expected


def test_the_name_itself_goes_before_a_longer_one(tmp_path):
    touch(tmp_path, "images/1.jpg", "images/2.jpg", "labels/1.png", "labels/1_color.png", "labels/2.png")
    assert names(tmp_path, "images", "labels") == [("images/1.jpg", "labels/1.png"), ("images/2.jpg", "labels/2.png")]


def test_two_kinds_of_label_maps_are_told_and_a_pattern_chooses(tmp_path):
    touch(tmp_path, *(f"{place}.png" for i in "12" for place in (f"i/{i}", f"l/{i}_ids", f"l/{i}_color")))
    with pytest.raises(DataError, match=one_line("l: ", "_color and _ids", "--data.labels 'FOLDER/*_color.png'")):
        pairs(tmp_path, "i", "l")
    assert names(tmp_path, "i", "l/*_ids.png") == [("i/1.png", "l/1_ids.png"), ("i/2.png", "l/2_ids.png")]
    assert names(tmp_path, "i", "l/*_ids") == names(tmp_path, "i/*", "l/*_ids.png")


def test_cityscapes_own_tree(tmp_path):
    for city in ("aachen", "bochum"):
        stem = f"{city}/{city}_000000_000019"
        touch(tmp_path, f"leftImg8bit/train/{stem}_leftImg8bit.png")
        kinds = ("color.png", "instanceIds.png", "labelIds.png", "polygons.json")
        touch(tmp_path, *(f"gtFine/train/{stem}_gtFine_{kind}" for kind in kinds))
    found = names(tmp_path, "leftImg8bit/train/*_leftImg8bit.png", "gtFine/train/*_gtFine_labelIds.png")
    stems = ("aachen/aachen_000000_000019", "bochum/bochum_000000_000019")
    assert found == [
        (f"leftImg8bit/train/{stem}_leftImg8bit.png", f"gtFine/train/{stem}_gtFine_labelIds.png") for stem in stems
    ]


def test_several_stars_stand_for_folders_and_names(tmp_path):
    touch(tmp_path, "a/images/img_1.jpg", "b/images/img_1.jpg", "a/masks/mask_1.png", "b/masks/mask_1.png")
    found = names(tmp_path, "*/images/img_*", "*/masks/mask_*.png")
    assert found == [(f"{place}/images/img_1.jpg", f"{place}/masks/mask_1.png") for place in "ab"]


def test_images_and_label_maps_may_lie_in_one_folder(tmp_path):
    touch(tmp_path, "1.png", "2.png", "1_mask.png", "2_mask.png", "masks/1.png")
    expected = [("1.png", "1_mask.png"), ("2.png", "2_mask.png")]
    (tmp_path / "masks" / "1.png").unlink()
    assert names(tmp_path, "", "*_mask.png") == expected
    touch(tmp_path, "flat/1.png", "flat/masks/1.png")
    assert names(tmp_path, "flat", "flat/masks") == [("flat/1.png", "flat/masks/1.png")]


@pytest.mark.parametrize(("suffix", "told"), [("", "of that name"), ("_mask", "called 3_mask")])
def test_an_image_without_label_map_is_told(tmp_path, suffix, told):
    touch(tmp_path, *(f"images/{i}.jpg" for i in "123"), *(f"labels/{i}{suffix}.png" for i in "12"))
    with pytest.raises(DataError, match=one_line("images/3.jpg", "no label map", told, "labels", "--data.labels")):
        pairs(tmp_path, "images", "labels")


@pytest.mark.parametrize("folder", ["images", "labels"])
@pytest.mark.parametrize("content", [None, ".DS_Store", "notes.txt"])
def test_a_folder_without_images_is_told(tmp_path, folder, content):
    touch(tmp_path, *(f"{place}/1.png" for place in ("images", "labels") if place != folder))
    if content:
        touch(tmp_path, f"{folder}/{content}")
    with pytest.raises(DataError, match=one_line(tmp_path / folder, "no such folder, or no files in it")):
        pairs(tmp_path, "images", "labels")


def test_images_and_label_maps_in_one_folder_are_told_apart_by_a_pattern(tmp_path):
    for name in ("1.png", "1_mask.png", "2.png", "2_mask.png"):
        (tmp_path / "train").mkdir(exist_ok=True)
        (tmp_path / "train" / name).touch()
    with pytest.raises(DataError, match=one_line("train: images and label maps in one folder", "*_mask.png")):
        pairs(tmp_path, "train", "train")
    found = [(image.name, label.name) for image, label in pairs(tmp_path, "train", "train/*_mask.png")]
    assert found == [("1.png", "1_mask.png"), ("2.png", "2_mask.png")]

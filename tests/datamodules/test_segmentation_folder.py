import numpy as np
import pytest
from one_line import one_line
from PIL import Image
from tiny_data import CAMVID_CLASSES, CAMVID_SIZE, camvid_label, picture, write_camvid

from datamodules import DataError, SegmentationFolder


@pytest.fixture
def root(tmp_path):
    write_camvid(tmp_path)
    return tmp_path


def make(root, classes=CAMVID_CLASSES, void=(11,), **options):
    folders = {"images": "{split}", "labels": "{split}annot"}
    return SegmentationFolder(
        str(root), list(classes), void=list(void), num_workers=0, **{**folders, "eval_size": None, **options}
    )


def first(folder):
    return min(folder.iterdir())


def replace_label(root, label):
    """Another label map for the first image of `val`; gives its path."""
    path = first(root / "valannot")
    Image.fromarray(label).save(path)
    return path


@pytest.mark.parametrize(("split", "length"), [("train", 8), ("val", 4), ("test", 3)])
def test_a_split_is_the_pairs_of_its_folders_in_order(root, split, length):
    dataset = make(root).make_set(split)
    assert dataset.images == sorted((root / split).iterdir())
    assert dataset.read_label.paths == sorted((root / f"{split}annot").iterdir())
    assert len(dataset) == length


def test_labels_are_the_files_with_void_values_at_255(root):
    dataset = make(root).make_set("val")
    for index, path in enumerate(dataset.images):
        expected = camvid_label(sum(path.name.encode()))
        assert (expected == 11).any()
        expected[expected == 11] = 255
        assert np.array_equal(dataset[index]["label"], expected)


def test_without_void_values_all_labels_stay(root):
    dataset = make(root, classes=[*CAMVID_CLASSES, "other"], void=()).make_set("val")
    assert dataset[0]["label"].unique().tolist() == list(range(12))


def test_pairs_may_differ_in_their_ending_and_their_order_on_disk(tmp_path):
    for folder in ("images/train", "labels/train"):
        (tmp_path / folder).mkdir(parents=True)
    for seed, name in enumerate(("b", "a", "c.1")):
        Image.fromarray(picture(seed, 40, 48)).save(tmp_path / f"images/train/{name}.jpg")
        Image.fromarray(np.full((40, 48), seed, dtype=np.uint8)).save(tmp_path / f"labels/train/{name}.png")
    Image.new("L", (48, 40)).save(tmp_path / "labels/train/aa.png")
    (tmp_path / "images/train/.DS_Store").touch()
    dataset = SegmentationFolder(str(tmp_path), ["x", "y", "z"], eval_size=None).make_set("train")
    assert [path.name for path in dataset.images] == ["a.jpg", "b.jpg", "c.1.jpg"]
    assert [int(dataset.read_label(index).max()) for index in range(3)] == [1, 0, 2]


def test_a_missing_root_is_told(tmp_path):
    with pytest.raises(DataError, match=one_line("absent", "no such folder", "--data.root")):
        make(tmp_path / "absent").make_set("train")


@pytest.mark.parametrize("folder", ["val", "valannot"])
def test_a_missing_folder_is_told(root, folder):
    (root / folder).rename(root / "elsewhere")
    with pytest.raises(DataError, match=one_line(folder, "no such folder")):
        make(root).make_set("val")


def test_a_missing_label_map_is_told(root):
    path = first(root / "valannot")
    path.unlink()
    with pytest.raises(DataError, match=one_line(path.name, "no label map of that name", "valannot")):
        make(root).make_set("val")


def test_a_label_map_of_another_size_is_told_before_training(root):
    path = replace_label(root, np.zeros((20, 30), dtype=np.uint8))
    with pytest.raises(DataError, match=one_line(f"val/{path.name}", f"valannot/{path.name}", "(20, 30)")):
        make(root).make_set("val")


@pytest.mark.parametrize("folder", ["val", "valannot"])
def test_a_corrupt_file_is_told_before_training(root, folder):
    path = first(root / folder)
    path.write_bytes(b"\x89PNG, but not quite")
    with pytest.raises(DataError, match=one_line(f"{folder}/{path.name}", "fetch it again, or remove it")):
        make(root).make_set("val")


@pytest.mark.parametrize("folder", ["val", "valannot"])
def test_a_link_to_nowhere_is_told_before_training(root, folder):
    """And not left out, image and label map alike."""
    path = first(root / folder)
    path.unlink()
    path.symlink_to(root / "nowhere")
    with pytest.raises(DataError, match=one_line(f"{folder}/{path.name}", "no such image", "complete?")):
        make(root).make_set("val")


@pytest.mark.parametrize("folder", ["val", "valannot"])
def test_a_header_of_an_impossible_size_is_told_before_training(root, folder):
    path = first(root / folder)
    path.write_bytes(b"P5 60000 60000 255 ")
    with pytest.raises(DataError, match=one_line(f"{folder}/{path.name}", "claims 60000 x 60000 pixels")):
        make(root).make_set("val")


@pytest.mark.parametrize("folder", ["val", "valannot"])
def test_a_truncated_file_is_told(root, folder):
    path = first(root / folder)
    path.write_bytes(path.read_bytes()[:80])
    with pytest.raises(DataError, match=one_line(f"{folder}/{path.name}", "truncated")):
        make(root).make_set("val")[0]


@pytest.mark.parametrize(("value", "dtype"), [(11, np.uint8), (200, np.uint8), (257, np.uint16), (65535, np.uint16)])
def test_a_label_outside_the_classes_is_told(root, value, dtype):
    path = replace_label(root, np.full(CAMVID_SIZE, value, dtype=dtype))
    with pytest.raises(DataError, match=one_line(path.name, f"label {value} ", "11 classes 0..10", "255 (void)")):
        make(root, void=()).make_set("val")[0]


def test_an_rgb_label_map_is_told(root):
    path = replace_label(root, np.full((*CAMVID_SIZE, 3), (128, 0, 0), dtype=np.uint8))
    with pytest.raises(DataError, match=one_line(f"valannot/{path.name}", "one channel of class indices")):
        make(root).make_set("val")[0]


@pytest.mark.parametrize("value", [255, 280])
def test_a_class_is_never_taken_for_void_or_for_another(root, value):
    """Label maps hold bytes, and 255 is void: so many classes cannot be told apart."""
    replace_label(root, np.full(CAMVID_SIZE, value, dtype=np.uint16))
    with pytest.raises(DataError, match=one_line("300 classes")):
        make(root, classes=map(str, range(300)), void=()).make_set("val")[0]


# What people have


def write(root, split, labels, label_name="labels/{split}/{i}.png", exif=None):
    """Images `i.jpg` and their label maps."""
    for i, label in enumerate(labels):
        for path, content in ((f"images/{split}/{i}.jpg", picture(i, *label.shape[:2])), (label_name, label)):
            path = root / path.format(split=split, i=i)
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(content).save(path, **({"exif": exif} if exif and path.suffix == ".jpg" else {}))


def binary(number=3):
    return [(np.random.default_rng(i).random((20, 30)) < 0.3).astype(np.uint8) for i in range(number)]


def labels_of(dataset):
    return [sample["label"].numpy() for sample in dataset]


OBJECT = ["background", "object"]


def test_masks_of_0_and_255_are_told_and_mapped(tmp_path):
    write(tmp_path, "val", [mask * 255 for mask in binary()])
    with pytest.raises(DataError, match=one_line("labels/val", "object", "255: object")):
        SegmentationFolder(str(tmp_path), OBJECT, eval_size=None).make_set("val")
    values = {0: "background", 255: "object"}
    for classes in (OBJECT, None):
        data = SegmentationFolder(str(tmp_path), classes, values=values, eval_size=None)
        assert data.classes == tuple(OBJECT)
        assert all(map(np.array_equal, labels_of(data.make_set("val")), binary()))


def test_ids_from_1_and_trimaps_are_mapped(tmp_path):
    write(tmp_path, "val", [mask + 1 for mask in binary()])
    values = {1: "object", 2: "background", 3: None}
    data = SegmentationFolder(str(tmp_path), OBJECT, values=values, eval_size=None)
    assert all(map(np.array_equal, labels_of(data.make_set("val")), [1 - mask for mask in binary()]))


@pytest.mark.parametrize("palette", [False, True])
def test_colours_are_mapped(tmp_path, palette):
    write(tmp_path, "val", binary())
    for path in (tmp_path / "labels" / "val").iterdir():
        mask = np.asarray(Image.open(path))
        if palette:
            image = Image.fromarray(mask, "P")
            image.putpalette([0, 0, 0, 128, 0, 64])
        else:
            image = Image.fromarray(mask[..., None] * np.array([128, 0, 64], dtype=np.uint8))
        image.save(path)
    values = {"0,0,0": "background", "128,0,64": "object"}
    data = SegmentationFolder(str(tmp_path), values=values, eval_size=None)
    assert all(map(np.array_equal, labels_of(data.make_set("val")), binary()))
    if palette:  # its indices are class indices
        data = SegmentationFolder(str(tmp_path), OBJECT, eval_size=None)
        assert all(map(np.array_equal, labels_of(data.make_set("val")), binary()))


def test_cityscapes_and_ade20k_are_read_from_their_own_trees(tmp_path):
    cities = "{split}/*_gtFine_labelIds.png"
    write(tmp_path, "val/aachen", [7 + mask for mask in binary()], "gtFine/{split}/{i}_gtFine_labelIds.png")
    write(tmp_path, "validation", binary(), "annotations/{split}/{i}.png")
    values = {7: "background", 8: "object", "other": None}
    data = SegmentationFolder(
        str(tmp_path), images="images/{split}", labels=f"gtFine/{cities}", values=values, eval_size=None
    )
    assert all(map(np.array_equal, labels_of(data.make_set("val")), binary()))
    splits = {"train": "training", "val": "validation", "test": "validation"}
    data = SegmentationFolder(str(tmp_path), OBJECT, labels="annotations/{split}", eval_size=None, **splits)
    for split in ("val", "test"):
        assert all(map(np.array_equal, labels_of(data.make_set(split)), binary()))
    with pytest.raises(DataError, match=one_line("images/training", "no such folder")):
        data.make_set("train")


def test_photographs_lie_under_the_label_maps_drawn_on_them(tmp_path):
    """Labels of the size of the picture as it is shown, which is stored on its side."""
    exif = Image.Exif()
    exif[0x0112] = 6
    write(tmp_path, "val", binary(), exif=exif)
    for path in (tmp_path / "labels" / "val").iterdir():
        Image.open(path).transpose(Image.Transpose.ROTATE_270).save(path)
    dataset = SegmentationFolder(str(tmp_path), OBJECT, eval_size=None).make_set("val")
    for sample, mask in zip(dataset, binary(), strict=True):
        assert sample["image"].shape[1:] == sample["label"].shape == (30, 20)
        assert np.array_equal(sample["label"], np.rot90(mask, -1))
    (tmp_path / "labels" / "val" / "1.png").unlink()
    Image.fromarray(binary()[1]).save(tmp_path / "labels" / "val" / "1.png")
    with pytest.raises(DataError, match=one_line("1.jpg is (30, 20)", "1.png (20, 30)")):
        SegmentationFolder(str(tmp_path), OBJECT, eval_size=None).make_set("val")


@pytest.mark.parametrize("options", [{"images": "images/train", "labels": "labels/train"}, {"val": "train"}])
def test_training_on_images_of_the_validation_is_told(tmp_path, options):
    write(tmp_path, "train", binary())
    with pytest.raises(DataError, match=one_line("0.jpg", "training and validation on the same images (3 of 3)")):
        SegmentationFolder(str(tmp_path), OBJECT, **options).make_set("train")


def test_a_link_to_a_training_image_is_told(tmp_path):
    write(tmp_path, "train", binary())
    write(tmp_path, "val", binary())
    assert len(SegmentationFolder(str(tmp_path), OBJECT).make_set("train")) == 3
    path = tmp_path / "images" / "val" / "2.jpg"
    path.unlink()
    path.symlink_to(tmp_path / "images" / "train" / "1.jpg")
    with pytest.raises(DataError, match=one_line("train/1.jpg", "same images (1 of 3)")):
        SegmentationFolder(str(tmp_path), OBJECT).make_set("train")


def test_classes_are_named_somewhere(tmp_path):
    with pytest.raises(DataError, match=one_line("--data.classes", "--data.values")):
        SegmentationFolder(str(tmp_path))


@pytest.mark.parametrize("name", ["images", "labels", "train", "val", "test"])
def test_a_split_or_place_of_null_is_told(tmp_path, name):
    with pytest.raises(DataError, match=one_line(f"--data.{name} null", "names nothing")):
        SegmentationFolder(str(tmp_path), OBJECT, **{name: None})

import shutil

import numpy as np
import pytest
import tiny_classification as tiny
from classified import as_stored, check_files, names_of
from one_line import one_line
from PIL import Image
from tiny_data import picture

from datamodules import DataError, ImageFolder

DOMAINS = {"horse": "{split}A", "zebra": "{split}B"}


@pytest.fixture
def root(tmp_path):
    tiny.write_image_folder(tmp_path)
    return tmp_path


@pytest.fixture
def domains(tmp_path):
    tiny.write_two_domains(tmp_path)
    return tmp_path


def draw(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(seed, 40, 40)).save(path)


def in_split(split):
    names = sorted(name for name in tiny.IMAGE_FOLDER_IMAGES if name.startswith(f"{split}/"))
    return [(name, tiny.IMAGE_FOLDER_CLASSES.index(name.split("/")[1])) for name in names]


def in_domains(split):
    return [
        (f"{split}{letter}/{file}", label)
        for label, letter in enumerate("AB")
        for file in sorted(tiny.TWO_DOMAINS[f"{split}{letter}"])
    ]


# A folder for each class


@pytest.mark.parametrize("split", ["train", "val"])
def test_every_folder_is_a_class_with_what_is_in_it_and_below(root, split):
    data = ImageFolder(str(root))
    check_files(data.make_set(split), root, in_split(split), [tiny.IMAGE_FOLDER_GREY] if split == "train" else [])
    assert data.classes == tiny.IMAGE_FOLDER_CLASSES


def test_the_test_set_is_the_validation_set_unless_named(root):
    assert names_of(ImageFolder(str(root)).make_set("test"), root) == [name for name, _ in in_split("val")]
    for name in tiny.IMAGE_FOLDER_CLASSES:
        draw(root / "held_out" / name / "1.png")
    expected = [f"held_out/{name}/1.png" for name in tiny.IMAGE_FOLDER_CLASSES]
    assert names_of(ImageFolder(str(root), test="held_out").make_set("test"), root) == expected


def test_the_splits_can_be_named_and_root_itself_can_be_one(root):
    data = ImageFolder(str(root), train="val", val="train")
    assert [len(data.make_set(split)) for split in ("train", "val", "test")] == [3, 7, 7]
    flat = ImageFolder(str(root / "train"), train=".", holdout=0.5)
    assert len(flat.make_set("train")) + len(flat.make_set("val")) == 7
    assert flat.classes == tiny.IMAGE_FOLDER_CLASSES


def test_hidden_files_and_folders_are_no_images(root):
    before = names_of(ImageFolder(str(root)).make_set("train"), root)
    for name in ("boat/.hidden.jpg", "boat/._sunset.jpg", "boat/.thumbnails/1.jpg", ".trash/1.jpg"):
        draw(root / "train" / name)
    assert names_of(ImageFolder(str(root)).make_set("train"), root) == before


def test_a_class_missing_in_validation_leaves_the_labels_of_the_others(root):
    shutil.rmtree(root / "val" / "boat")
    expected = [(name, label) for name, label in in_split("val") if label]
    for order in (["val"], ["train", "val"]):
        data = ImageFolder(str(root))
        dataset = [data.make_set(split) for split in order][-1]
        check_files(dataset, root, expected)
        assert data.classes == tiny.IMAGE_FOLDER_CLASSES


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_class_without_images_is_told(root, split):
    """It would shift the labels of those after it; an archive that is half extracted looks like that."""
    for path in (root / split / "boat").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=one_line(root / split / "boat", "no images in it", "remove it everywhere")):
        ImageFolder(str(root)).make_set(split)


def test_the_same_folder_for_training_and_validation_is_refused(root):
    with pytest.raises(DataError, match=one_line(root, "on the same images", "--data.val")):
        ImageFolder(str(root), val="train").make_set("train")
    assert len(ImageFolder(str(root), val="train").make_set("val")) == 7, "one may evaluate on them"


@pytest.mark.parametrize(("holdout", "held"), [(0.5, 15), (0.4, 12), (0.3, 9), (0.2, 6), (0.1, 3), (0.15, 4)])
def test_the_share_held_out_is_the_one_asked_for(tmp_path, holdout, held):
    for number in range(30):
        draw(tmp_path / "train" / "only" / f"{number:02}.jpg")
    data = ImageFolder(str(tmp_path), holdout=holdout)
    train, val = data.make_set("train"), data.make_set("val")
    assert (len(train), len(val)) == (30 - held, held)
    assert not {str(path) for path in train.images} & {str(path) for path in val.images}


def test_a_class_of_validation_that_is_not_in_training_is_told(root):
    draw(root / "val" / "zeppelin" / "1.jpg")
    with pytest.raises(DataError, match=one_line(root / "val" / "zeppelin", "no class of that name in training")):
        ImageFolder(str(root)).make_set("val")
    assert len(ImageFolder(str(root)).make_set("train")) == 7


def test_the_training_images_need_not_be_there_to_evaluate(root):
    shutil.rmtree(root / "train")
    data = ImageFolder(str(root))
    check_files(data.make_set("val"), root, in_split("val"))
    assert data.classes == tiny.IMAGE_FOLDER_CLASSES


@pytest.mark.parametrize(("split", "folder"), [("train", "train"), ("val", "val"), ("test", "val")])
def test_a_missing_split_is_named(root, split, folder):
    shutil.rmtree(root / folder)
    with pytest.raises(DataError, match=one_line(root / folder, "no such folder", "a folder of images for each class")):
        ImageFolder(str(root)).make_set(split)


def test_a_grey_image_and_one_with_an_alpha_channel_are_pictures_of_three_channels(root):
    images = {path.name: sample["image"] for path, sample in pairs(ImageFolder(str(root)).make_set("train"))}
    assert {tuple(image.shape[:1]) for image in images.values()} == {(3,)}
    desk = images["desk.jpeg"].numpy()
    assert np.array_equal(desk[0], desk[1]) and np.array_equal(desk[0], desk[2])


def pairs(dataset):
    return zip(dataset.images, as_stored(dataset), strict=True)


# Classes whose folders are named


@pytest.mark.parametrize(
    ("split", "options", "where"),
    [("train", {}, "train"), ("val", {"val": "test"}, "test"), ("test", {"val": "test"}, "test")],
)
def test_two_domains_are_two_classes(domains, split, options, where):
    data = ImageFolder(str(domains), classes=DOMAINS, **options)
    dataset = data.make_set(split)
    assert names_of(dataset, domains) == [name for name, _ in in_domains(where)]
    assert dataset.labels.tolist() == [label for _, label in in_domains(where)]
    for (name, _), sample in zip(in_domains(where), as_stored(dataset), strict=True):
        drawn = tiny.drawing(name, *tiny.TWO_DOMAINS_SIZE).transpose(2, 0, 1)
        assert np.abs(sample["image"].numpy().astype(float) - drawn).mean() < 6
    assert data.classes == ("horse", "zebra")


def test_the_order_of_named_classes_is_that_of_their_labels(domains):
    data = ImageFolder(str(domains), classes={"zebra": "{split}B", "horse": "{split}A"}, val="test")
    assert data.make_set("val").labels.tolist() == [0, 1, 1] and data.classes == ("zebra", "horse")


def test_a_named_folder_may_lie_deep_and_hold_folders(root):
    data = ImageFolder(str(root), classes={"flying": "{split}/kite", "light": "{split}/lamp"})
    expected = ["train/kite/beach.jpg", "train/kite/below/meadow.jpg", "train/lamp/desk.jpeg", "train/lamp/street.png"]
    assert names_of(data.make_set("train"), root) == expected
    assert data.make_set("train").labels.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("classes", "place"),
    [
        ({**DOMAINS, "okapi": "{split}C"}, "trainC"),
        ({**DOMAINS, "okapi": "{spilt}C"}, "{spilt}C"),
        ({**DOMAINS, "okapi": "{C"}, "{C"),
        ({**DOMAINS, "okapi": "{0}"}, "{0}"),
    ],
)
def test_a_named_folder_that_is_not_there_is_told(domains, classes, place):
    with pytest.raises(DataError, match=one_line(domains / place, "no such folder", "class okapi")):
        ImageFolder(str(domains), classes=classes).make_set("train")


def test_a_named_folder_without_images_is_told(domains):
    for path in (domains / "testB").iterdir():
        path.rename(path.with_suffix(".txt"))
    with pytest.raises(DataError, match=one_line(domains / "testB", "no images in it", "class zebra")):
        ImageFolder(str(domains), classes=DOMAINS, val="test").make_set("val")


# A share held out


@pytest.fixture
def many(tmp_path):
    for name, number in (("a", 12), ("b", 7), ("c", 1)):
        for i in range(number):
            (tmp_path / "train" / name).mkdir(parents=True, exist_ok=True)
            (tmp_path / "train" / name / f"{i:02}.png").touch()
    return tmp_path


@pytest.mark.parametrize(("holdout", "held"), [(0.5, [6, 3, 0]), (0.25, [3, 1, 0]), (0.2, [2, 1, 0]), (0.1, [1, 0, 0])])
def test_a_share_of_each_class_is_held_out_and_nothing_is_lost(many, holdout, held):
    data = ImageFolder(str(many), holdout=holdout)
    sets = {split: data.make_set(split) for split in ("train", "val", "test")}
    assert np.bincount(sets["val"].labels, minlength=3).tolist() == held
    train, val, test = (names_of(dataset, many) for dataset in sets.values())
    assert val == test and set(train).isdisjoint(val)
    assert sorted(train + val) == sorted(path.relative_to(many).as_posix() for path in many.rglob("*.png"))
    for dataset in sets.values():
        assert [data.classes[label] for label in dataset.labels] == [path.parent.name for path in dataset.images]


def test_what_is_held_out_is_the_same_every_time_and_spread_over_the_class(many):
    held = [names_of(ImageFolder(str(many), holdout=0.25).make_set("val"), many) for _ in range(2)]
    assert held[0] == held[1] == ["train/a/03.png", "train/a/07.png", "train/a/11.png", "train/b/03.png"]


def test_domains_without_a_split_hold_out_a_share(domains):
    data = ImageFolder(str(domains), classes={"horse": "trainA", "zebra": "{split}B"}, holdout=0.34)
    assert names_of(data.make_set("val"), domains) == [in_domains("train")[2][0], in_domains("train")[5][0]]
    assert data.make_set("val").labels.tolist() == [0, 1] and len(data.make_set("train")) == 5


@pytest.mark.parametrize("holdout", [-0.1, 0.51, 1, 20, float("nan")])
def test_a_share_that_is_none_is_told(many, holdout):
    with pytest.raises(DataError, match=one_line(f"holdout={holdout}", "between 0 and 0.5")):
        ImageFolder(str(many), holdout=holdout)


def test_a_share_too_small_for_every_class_is_told(many):
    data = ImageFolder(str(many), holdout=0.05)
    with pytest.raises(DataError, match=one_line(many, "holdout=0.05 of each class is no image", "raise it")):
        data.make_set("val")


def test_training_and_validation_on_the_same_images_is_refused(domains):
    data = ImageFolder(str(domains), {"horse": "trainA", "zebra": "trainB"})
    with pytest.raises(DataError, match=one_line(domains, "one folder for all splits", "{split}", "holdout")):
        data.make_set("train")
    assert len(data.make_set("val")) > 0, "one may evaluate on them"


@pytest.mark.parametrize("val", ["./train", "train/../train", "linked"])
def test_the_same_folder_by_another_path_is_refused_too(root, val):
    (root / "linked").symlink_to(root / "train")
    with pytest.raises(DataError, match=one_line(root, "on the same images", "--data.val")):
        ImageFolder(str(root), val=val).make_set("train")


@pytest.mark.parametrize("options", [{"train": None}, {"val": None}, {"classes": {"horse": None}}])
def test_a_split_or_folder_of_null_is_told(root, options):
    with pytest.raises(DataError, match=one_line("null", "names nothing")):
        ImageFolder(str(root), **options)


def test_photographs_are_turned_as_viewers_show_them(root):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = sorted((root / "train").rglob("*.*"))[0]
    pixels = np.full((40, 40, 3), 255, dtype=np.uint8)
    pixels[:20] = 0  # the left half is black once it is turned, or the right one
    Image.fromarray(pixels).save(path, "PNG", exif=exif)
    dataset = ImageFolder(str(root), crop=40, resize=40).make_set("train")
    dataset.transform = ImageFolder(str(root), crop=40, resize=40).predict_transform()
    index = [str(image) for image in dataset.images].index(str(path))
    image = dataset[index]["image"]
    assert image[:, :, :20].max() == 1 and image[:, :, :18].min() == 1 and image[:, :, 22:].max() == 0

import pickle
import shutil
from itertools import chain

import numpy as np
import pytest
import tiny_classification as tiny
import torch
from classified import as_stored, check_batch, damage, middle, names_of, pixels
from one_line import one_line
from PIL import Image
from tiny_data import picture, write_images

from datamodules import (
    CUB200,
    DataError,
    Flowers102,
    Food101,
    ImageFolder,
    ImageNet,
    Photographs,
    RestrictedImageNet,
    StanfordDogs,
    TinyImageNet,
)
from datamodules.files import files_below
from datamodules.paths import Paths
from datamodules.photographs import Listing, by_folder, listing

SETS = {
    ImageNet: tiny.write_imagenet,
    RestrictedImageNet: tiny.write_imagenet,
    TinyImageNet: tiny.write_tiny_imagenet,
    CUB200: tiny.write_cub200,
    Food101: tiny.write_food101,
    Flowers102: tiny.write_flowers102,
    StanfordDogs: tiny.write_stanford_dogs,
    ImageFolder: tiny.write_image_folder,
}
SMALL = {"crop": 32, "resize": 40, "batch_size": 2, "eval_batch_size": 2, "num_workers": 0}
PLAIN = {"scale": (1, 1), "flip": 0, "jitter": 0, "lighting": 0}
"""Training that leaves a square image as it is."""

every_set = pytest.mark.parametrize("kind", SETS, ids=lambda kind: kind.__name__)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    for kind, write in SETS.items():
        write(root / kind.__name__)
    return root


def make(kind, root, **options):
    return kind(str(root / kind.__name__), **{**SMALL, **options})


@pytest.fixture
def given(tmp_path):
    """A data module over pictures, each of a class of its own unless labels are given."""

    class Given(Photographs):
        classes = ("a", "b", "c")

        def files(self, split):
            return Listing(Paths(self.root, self.names), self.labels)

    def given(*pictures, labels=None, **options):
        data = Given(str(tmp_path), **{**SMALL, "crop": 64, "resize": 64, **options})
        data.names = [f"{number}.png" for number in range(len(pictures))]
        data.labels = range(len(pictures)) if labels is None else labels
        for name, drawn in zip(data.names, pictures, strict=True):
            Image.fromarray(drawn).save(tmp_path / name)
        return data

    return given


@every_set
def test_training_batches_keep_the_contract(root, kind):
    data = make(kind, root)
    data.setup("fit")
    batches = list(data.train_dataloader())
    assert len(batches) == len(data.sets["train"]) // 2 > 0
    for batch in batches:
        check_batch(batch, 2, 32, len(data.classes))
        assert ("box" in batch) == (kind is CUB200)
    indices = torch.cat([batch["index"] for batch in batches]).tolist()
    assert len(set(indices)) == len(indices)


@every_set
@pytest.mark.parametrize("stage", ["validate", "test"])
def test_evaluation_batches_keep_the_contract_and_the_order(root, kind, stage):
    data = make(kind, root)
    data.setup(stage)
    batches = list(data.val_dataloader() if stage == "validate" else data.test_dataloader())
    for batch in batches:
        check_batch(batch, len(batch["index"]), 32, len(data.classes))
        assert ("box" in batch) == (kind is CUB200)
    assert torch.cat([batch["index"] for batch in batches]).tolist() == [
        *range(len(data.make_set("test" if stage == "test" else "val")))
    ]


@every_set
def test_the_index_is_the_place_in_the_set(root, kind):
    torch.manual_seed(0)
    data = make(kind, root)
    data.setup("fit")
    data.sets["train"].transform = data.predict_transform()  # without augmentation, so that samples can be compared
    places = []
    for batch in chain(*(data.train_dataloader() for _ in range(3))):
        for image, label, index in zip(batch["image"], batch["label"], batch["index"].tolist(), strict=True):
            sample = data.sets["train"][index]
            assert torch.equal(image, sample["image"]) and label == sample["label"] and index == sample["index"]
            places.append(index)
    assert places != sorted(places)


@every_set
def test_no_image_is_in_two_splits_but_validation_and_test_are_one(root, kind):
    train, val, test = (names_of(make(kind, root).make_set(split), root) for split in ("train", "val", "test"))
    assert set(train).isdisjoint(val) and set(train).isdisjoint(test)
    assert set(val).isdisjoint(test) if kind is Flowers102 else val == test


@every_set
def test_evaluation_shows_the_middle_after_the_short_side_was_resized(root, kind):
    dataset = make(kind, root).make_set("val")
    for path, sample in zip(dataset.images, dataset, strict=True):
        expected = middle(np.asarray(Image.open(path).convert("RGB")), 40, 32)
        assert np.abs(pixels(sample) - expected).max() <= 1.01


@every_set
def test_training_augments_and_evaluation_does_not(root, kind):
    for split, varied in (("train", True), ("val", False), ("test", False)):
        dataset = make(kind, root).make_set(split)
        draws = [dataset[0]["image"] for _ in range(4)]
        assert all(torch.equal(draws[0], draw) != varied for draw in draws[1:])


@every_set
@pytest.mark.parametrize("split", ["train", "val"])
def test_sets_can_be_sent_to_workers(root, kind, split):
    """A spawned worker gets the set pickled."""
    original = make(kind, root).make_set(split)
    copy = pickle.loads(pickle.dumps(original))
    assert len(copy) == len(original)
    for index in range(len(original)):
        torch.manual_seed(index)
        expected = original[index]
        torch.manual_seed(index)
        sample = copy[index]
        assert sample.keys() == expected.keys()
        assert all(torch.equal(torch.as_tensor(sample[key]), torch.as_tensor(expected[key])) for key in expected)


@every_set
def test_an_image_to_predict_is_seen_as_in_evaluation(root, tmp_path, kind):
    paths = write_images(tmp_path, [(37, 61), (83, 29), (7, 50)])
    data = make(kind, root, predict_images=str(tmp_path))
    data.setup("predict")
    batches = list(data.predict_dataloader())
    assert [batch["path"] for batch in batches] == [[str(path)] for path in paths]
    for path, batch in zip(paths, batches, strict=True):
        assert batch["image"].shape == (1, 3, 32, 32) and batch["image"].dtype == torch.float32
        expected = middle(np.asarray(Image.open(path).convert("RGB")), 40, 32)
        assert np.abs(pixels({"image": batch["image"][0]}) - expected).max() <= 1.01


@every_set
def test_a_prediction_knows_the_classes(root, tmp_path, kind):
    write_images(tmp_path)
    trained, predicting = (make(kind, root, predict_images=str(tmp_path)) for _ in range(2))
    trained.setup("fit")
    predicting.setup("predict")
    assert len(predicting.classes) == len(trained.classes) > 1


@every_set
def test_a_prediction_can_do_without_the_data_set(tmp_path, kind):
    write_images(tmp_path)
    data = make(kind, tmp_path / "absent", predict_images=str(tmp_path))
    data.setup("predict")
    assert len(list(data.predict_dataloader())) == 3


@every_set
@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_root_that_is_not_there_is_told(tmp_path, kind, split):
    with pytest.raises(DataError, match=one_line(tmp_path / "absent", "no such folder", "--data.root")):
        kind(str(tmp_path / "absent")).make_set(split)


@every_set
@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_root_of_another_layout_is_told(tmp_path, kind, split):
    (tmp_path / "holiday").mkdir()
    Image.fromarray(picture(0, 40, 40)).save(tmp_path / "holiday" / "beach.jpg")
    with pytest.raises(DataError, match=one_line(tmp_path, ";")):
        kind(str(tmp_path)).make_set(split)


@every_set
def test_nothing_is_fetched_or_written(tmp_path, kind):
    SETS[kind](tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    data = kind(str(tmp_path), **SMALL)
    data.setup("fit")
    next(iter(data.train_dataloader()))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize("how", ["cut", "empty", "page"])
@every_set
def test_a_damaged_image_is_named_when_its_turn_comes(tmp_path, kind, how):
    SETS[kind](tmp_path)
    data = kind(str(tmp_path), **SMALL)
    data.setup("validate")
    path = data.sets["val"].images[1]
    damage(path, how)
    assert data.sets["val"][0]["index"] == 0
    with pytest.raises(DataError, match=one_line(path, "corrupt or truncated", "fetch it again")):
        next(iter(data.val_dataloader()))


@pytest.mark.parametrize(
    ("kind", "split"),
    [
        (TinyImageNet, "val"),  # its training images are in no list
        *((kind, split) for kind in (CUB200, Food101, Flowers102, StanfordDogs) for split in ("train", "val", "test")),
    ],
)
def test_listed_images_that_were_not_unpacked_are_told(tmp_path, kind, split):
    SETS[kind](tmp_path)
    dataset = kind(str(tmp_path)).make_set(split)
    absent, number = dataset.images[len(dataset) - 1], len(dataset)
    absent.unlink()
    with pytest.raises(DataError, match=one_line(absent, "listed but absent", f"1 of {number} images", "unpack")):
        kind(str(tmp_path)).make_set(split)
    for path in dataset.images[: number - 1]:
        path.unlink()
    with pytest.raises(DataError, match=one_line(dataset.images[0], "listed but absent", f"{number} of {number}")):
        kind(str(tmp_path)).make_set(split)
    folder = next(folder for folder in absent.parents if folder.name in ("images", "jpg", "Images"))
    shutil.rmtree(folder)
    with pytest.raises(DataError, match=one_line(folder, ";")):
        kind(str(tmp_path)).make_set(split)


@every_set
def test_a_crop_that_evaluation_would_have_to_pad_is_told(root, kind):
    with pytest.raises(DataError, match=one_line("crop=41", "resized to 40", "--data.resize")):
        make(kind, root, crop=41)
    assert make(kind, root, crop=40).make_set("val")[0]["image"].shape == (3, 40, 40)


@pytest.mark.parametrize("split", ["val", "test"])
def test_evaluation_may_resize_to_a_height_and_width_whatever_the_aspect(given, split):
    drawn = picture(0, 60, 130)
    dataset = given(drawn, crop=40, resize=(44, 56)).make_set(split)
    resized = Image.fromarray(drawn).resize((56, 44), Image.Resampling.BILINEAR).crop((8, 2, 48, 42))
    assert np.abs(pixels(dataset[0]) - np.asarray(resized, dtype=float)).max() <= 1.01


def test_a_crop_beyond_the_shorter_of_two_sides_is_told(given):
    with pytest.raises(DataError, match=one_line("crop=45", "(44, 56)", "--data.resize")):
        given(picture(0, 60, 130), crop=45, resize=(44, 56))


# How photographs are augmented


def test_the_defaults_are_those_of_the_robustness_library():
    data = ImageNet("somewhere")
    assert (data.crop, data.resize, data.scale, data.flip) == (224, 256, (0.08, 1.0), 0.5)
    assert (data.jitter, data.lighting) == (0.1, 0.05)


def test_training_without_augmentation_leaves_a_square_image_as_it_is(given):
    drawn = picture(0, 64, 64)
    for split in ("train", "val"):
        assert np.allclose(pixels(given(drawn, **PLAIN).make_set(split)[0]), drawn, atol=0.01)


@pytest.mark.parametrize(("flip", "mirrored"), [(0, {False}), (0.5, {False, True}), (1, {True})])
def test_training_images_are_mirrored_with_a_probability(given, flip, mirrored):
    drawn = picture(0, 64, 64)
    dataset = given(drawn, **PLAIN | {"flip": flip}).make_set("train")
    torch.manual_seed(0)
    draws = [pixels(dataset[0]) for _ in range(20)]
    assert {np.allclose(draw, drawn[:, ::-1], atol=0.01) for draw in draws} == mirrored
    assert {np.allclose(draw, drawn, atol=0.01) for draw in draws} == {not way for way in mirrored}


@pytest.mark.parametrize("share", [0.1, 0.25, 0.6])
def test_training_images_show_a_share_of_the_area(given, share):
    across = np.broadcast_to(np.linspace(0, 255, 200).round().astype(np.uint8), (200, 200))
    drawn = np.stack([across, across.T, np.zeros_like(across)], axis=-1)  # its colours are places
    dataset = given(drawn, **PLAIN | {"scale": (share, share)}).make_set("train")
    torch.manual_seed(0)
    places = set()
    for _ in range(20):
        image = pixels(dataset[0])
        width, height = np.ptp(image[:, :, 0]), np.ptp(image[:, :, 1])
        assert width * height / 255**2 == pytest.approx(share, rel=0.15)
        assert 0.7 < width / height < 1.4
        places.add((image[0, 0, 0].round(), image[0, 0, 1].round()))
    assert len(places) > 10


@pytest.mark.parametrize("resize", [50, (50, 50), (60, 50)])
def test_without_a_scale_the_crop_is_cut_out_of_the_resized_image(given, resize):
    """As large as in evaluation, somewhere in it."""
    across = np.broadcast_to(np.linspace(0, 255, 200).round().astype(np.uint8), (200, 200))
    drawn = np.stack([across, across.T, np.zeros_like(across)], axis=-1)  # its colours are places
    dataset = given(drawn, **PLAIN | {"scale": None}, crop=40, resize=resize).make_set("train")
    height, width = (resize, resize) if isinstance(resize, int) else resize
    torch.manual_seed(0)
    places = set()
    for _ in range(40):
        image = pixels(dataset[0])
        assert image.shape == (40, 40, 3)
        assert np.ptp(image[:, :, 0]) / 255 == pytest.approx(39 / width, abs=0.02)
        assert np.ptp(image[:, :, 1]) / 255 == pytest.approx(39 / height, abs=0.02)
        places.add((image[0, 0, 0].round(), image[0, 0, 1].round()))
    assert len(places) > 20


@pytest.mark.parametrize("jitter", [0, 0.1, 0.4])
def test_jitter_changes_brightness_within_its_range(given, jitter):
    grey = np.full((64, 64, 3), 120, dtype=np.uint8)  # of one colour: contrast and saturation do nothing
    dataset = given(grey, **PLAIN | {"jitter": jitter}).make_set("train")
    torch.manual_seed(0)
    values = np.array([pixels(dataset[0]).mean() / 120 for _ in range(150)])
    assert np.abs(values - 1).max() <= jitter + 0.02
    assert not jitter or (values.min() < 1 - 0.8 * jitter and values.max() > 1 + 0.8 * jitter)


def luma(image):
    return image @ (0.299, 0.587, 0.114)


@pytest.mark.parametrize(
    "measure",
    [
        pytest.param(lambda image: luma(image).std() / luma(image).mean(), id="contrast"),
        pytest.param(lambda image: np.ptp(image, axis=-1).mean() / luma(image).std(), id="saturation"),
    ],
)
def test_jitter_changes_contrast_and_saturation_too(given, measure):
    """Either is measured so that the other, and brightness, leave it as it is."""
    drawn = (picture(0, 64, 64) // 2 + 64).astype(np.uint8)
    dataset = given(drawn, **PLAIN | {"jitter": 0.2}).make_set("train")
    torch.manual_seed(0)
    values = np.array([measure(pixels(dataset[0])) / measure(drawn) for _ in range(60)])
    assert values.min() < 0.85 and values.max() > 1.15
    assert values.min() > 0.75 and values.max() < 1.25


def test_lighting_adds_one_color_to_the_whole_image(given):
    drawn = (picture(0, 64, 64) // 2 + 64).astype(np.uint8)
    dataset = given(drawn, **PLAIN | {"lighting": 0.2}).make_set("train")
    torch.manual_seed(0)
    added = [pixels(dataset[0]) - drawn for _ in range(20)]
    colors = np.array([change.mean((0, 1)) for change in added])
    assert max(change.std((0, 1)).max() for change in added) < 0.01
    assert colors.std(0).min() > 1 and np.abs(colors.mean(0)).max() < 10


def test_lighting_leaves_black_and_white_within_0_and_1(given):
    drawn = np.repeat(np.array([0, 255], dtype=np.uint8), 64 * 32 * 3).reshape(64, 64, 3)
    dataset = given(drawn, **PLAIN | {"lighting": 0.5}).make_set("train")
    for _ in range(20):
        image = dataset[0]["image"]
        assert image.min() >= 0 and image.max() <= 1


# What is listed


@pytest.mark.parametrize("label", [-1, 3, 40])
def test_a_label_of_no_class_is_told(given, tmp_path, label):
    data = given(*[picture(0, 40, 40)] * 3, labels=np.array([0, label, 2]))
    with pytest.raises(DataError, match=one_line(tmp_path, f"label {label} ", "3 classes")):
        data.make_set("train")


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_images_are_found_below_a_folder_in_order_and_hidden_ones_are_not(tmp_path):
    touch(tmp_path, "b.jpg", "a.JPEG", "below/c.png", "below/deep/d.webp", "ten.10.bmp", "é.tif")
    touch(tmp_path, ".hidden.jpg", ".folder/e.jpg", "below/.f.jpg", "._b.jpg", "notes.txt", "jpg", "Thumbs.db")
    assert files_below(tmp_path) == ["a.JPEG", "b.jpg", "below/c.png", "below/deep/d.webp", "ten.10.bmp", "é.tif"]
    assert files_below(tmp_path / "absent") == []


def test_classes_are_folders_with_images_also_by_a_link(tmp_path):
    touch(tmp_path, "root/b/1.jpg", "root/b/below/0.jpg", "root/a/2.png", "root/empty/notes.txt", "root/.c/3.jpg")
    touch(tmp_path, "root/4.jpg", "elsewhere/5.jpg")
    (tmp_path / "root" / "link").symlink_to(tmp_path / "elsewhere")
    found = by_folder(tmp_path / "root", "do something")
    assert found == {"a": ["a/2.png"], "b": ["b/1.jpg", "b/below/0.jpg"], "link": ["link/5.jpg"]}
    assert [*found] == sorted(found)


@pytest.mark.parametrize("name", ["absent", "flat", "flat/1.jpg"])
def test_a_folder_without_folders_of_images_is_told_with_the_remedy(tmp_path, name):
    touch(tmp_path, "flat/1.jpg", "flat/empty/notes.txt")
    with pytest.raises(DataError, match=one_line(tmp_path / name, "no folders of images", "do something")):
        by_folder(tmp_path / name, "do something")


def test_a_listing_gives_every_image_the_label_of_its_class(tmp_path):
    images, labels, boxes = listing(tmp_path, {"b": ["b/1.jpg", "b/2.jpg"], "a": ["a/3.jpg"]}, {"a": 7, "b": 2, "c": 0})
    assert list(images) == [tmp_path / "b/1.jpg", tmp_path / "b/2.jpg", tmp_path / "a/3.jpg"]
    assert list(labels) == [2, 2, 7] and boxes is None


def test_the_files_of_a_large_set_are_no_list_of_objects(root):
    assert isinstance(make(ImageNet, root).make_set("train").images, Paths)


def test_what_is_stored_is_read_before_any_transform(given):
    drawn = picture(0, 33, 71)
    assert np.array_equal(pixels(as_stored(given(drawn).make_set("train"))[0]), drawn)

import pickle

import numpy as np
import pytest
import tiny_classification as tiny
import torch
from classified import as_stored, check_batch, middle, pixels
from one_line import one_line
from PIL import Image
from tiny_data import write_images
from torchvision import tv_tensors

from datamodules import CIFAR10, CIFAR100, MNIST, STL10, SVHN, USPS, DataError, SmallImages

SETS = {
    MNIST: tiny.write_mnist,
    USPS: tiny.write_usps,
    SVHN: tiny.write_svhn,
    CIFAR10: tiny.write_cifar10,
    CIFAR100: tiny.write_cifar100,
    STL10: tiny.write_stl10,
}
every_set = pytest.mark.parametrize("kind", SETS, ids=lambda kind: kind.__name__)
digits = pytest.mark.parametrize("kind", [MNIST, USPS, SVHN], ids=lambda kind: kind.__name__)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    for kind, write in SETS.items():
        write(root / kind.__name__)
    return root


def make(kind, root, **options):
    return kind(str(root / kind.__name__), **{"batch_size": 3, "eval_batch_size": 3, "num_workers": 0, **options})


class Given(SmallImages):
    """Images and labels as they are given."""

    classes = ("a", "b", "c")

    def __init__(self, images, labels, size=8, **options):
        super().__init__("somewhere", size, **{"padding": 0, "flip": 0, **options})
        self.given = images, labels

    def read(self, split):
        return self.given


def colored(number, size=8):
    """Images of which no two pixels are alike, and none is black."""
    values = np.random.default_rng(0).permuted(np.tile(np.arange(1, 256), (number, 1)), axis=1)
    return values[:, : 3 * size * size].reshape(number, 3, size, size).astype(np.uint8)


@every_set
def test_training_batches_keep_the_contract(root, kind):
    data = make(kind, root)
    data.setup("fit")
    batches = list(data.train_dataloader())
    assert len(batches) == len(data.sets["train"]) // 3 > 1
    for batch in batches:
        check_batch(batch, 3, data.size, len(data.classes))
    indices = torch.cat([batch["index"] for batch in batches]).tolist()
    assert len(set(indices)) == len(indices)


@every_set
@pytest.mark.parametrize("stage", ["validate", "test"])
def test_evaluation_batches_keep_the_contract_and_the_order(root, kind, stage):
    data = make(kind, root)
    data.setup(stage)
    batches = list(data.val_dataloader() if stage == "validate" else data.test_dataloader())
    for batch in batches:
        check_batch(batch, len(batch["index"]), data.size, len(data.classes))
    assert torch.cat([batch["index"] for batch in batches]).tolist() == [*range(len(data.make_set("test")))]


@every_set
def test_the_index_is_the_place_in_the_set(root, kind):
    data = make(kind, root, padding=0, flip=0)
    data.setup("fit")
    places = []
    for batch in data.train_dataloader():
        for image, label, index in zip(batch["image"], batch["label"], batch["index"].tolist(), strict=True):
            sample = data.sets["train"][index]
            assert torch.equal(image, sample["image"]) and label == sample["label"] and index == sample["index"]
            places.append(index)
    assert places != sorted(places)


@every_set
def test_the_validation_set_is_the_test_set_and_not_the_training_set(root, kind):
    train, val, test = (as_stored(make(kind, root).make_set(split)) for split in ("train", "val", "test"))
    assert len(val) == len(test) != len(train)
    for index in range(len(val)):
        assert torch.equal(val[index]["image"], test[index]["image"]) and val[index]["label"] == test[index]["label"]
        assert not any(torch.equal(val[index]["image"], sample["image"]) for sample in train)


@every_set
def test_training_augments_and_evaluation_does_not(root, kind):
    data = make(kind, root, padding=3, flip=0.5)
    for split, varied in (("train", True), ("val", False), ("test", False)):
        dataset = data.make_set(split)
        draws = [dataset[1]["image"] for _ in range(8)]
        assert any(not torch.equal(draws[0], draw) for draw in draws) == varied
        if not varied:
            assert np.allclose(pixels(dataset[1]), pixels(as_stored(dataset)[1]))


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
        assert torch.equal(sample["image"], expected["image"]) and sample["label"] == expected["label"]


@every_set
def test_any_size_can_be_had(root, kind):
    data = make(kind, root, size=20)
    native = make(kind, root, size={MNIST: 28, USPS: 16, STL10: 96}.get(kind, 32))
    stored = as_stored(native.make_set("val"))
    for index, sample in enumerate(data.make_set("val")):
        assert sample["image"].shape == (3, 20, 20)
        expected = middle(pixels(stored[index]).astype(np.uint8), 20, 20)
        assert np.abs(pixels(sample) - expected).max() <= 1.01, "as Pillow resizes, without aliasing"


def test_images_much_enlarged_are_stored_small_and_are_the_same(monkeypatch):
    for how in ({"padding": 5, "flip": 0.5}, {}):
        one_by_one = Given(colored(2), [0, 1], size=20, **how)
        with monkeypatch.context() as patch:
            patch.setattr("datamodules.small_images._IN_MEMORY", 100)
            at_once = Given(colored(2), [0, 1], size=20, **how).make_set("train")
        assert one_by_one.make_set("train").images.shape == (2, 3, 8, 8) != at_once.images.shape == (2, 3, 20, 20)
        for index in (0, 1):
            torch.manual_seed(index)
            image = one_by_one.make_set("train")[index]["image"]
            torch.manual_seed(index)
            assert torch.equal(image, at_once[index]["image"])
    assert one_by_one.make_set("val")[0]["image"].shape == (3, 20, 20)


@digits
@pytest.mark.parametrize("options", [{}, {"size": 24}])
def test_a_network_of_one_set_of_digits_fits_the_others(root, kind, options):
    data = make(kind, root, **options)
    size = options.get("size", 32)
    for split in ("train", "val"):
        dataset = data.make_set(split)
        assert {tuple(sample["image"].shape) for sample in dataset} == {(3, size, size)}
        assert set(dataset.labels.tolist()) <= set(range(10))
    assert data.classes == tuple("0123456789")


@digits
def test_digits_are_never_mirrored_by_default(root, kind):
    assert make(kind, root).flip == 0
    data = make(kind, root, padding=0)
    dataset, still = data.make_set("train"), as_stored(data.make_set("train"))
    assert all(np.allclose(pixels(dataset[0]), pixels(still[0])) for _ in range(20))


@every_set
def test_an_image_to_predict_is_seen_as_in_evaluation(root, tmp_path, kind):
    paths = write_images(tmp_path, [(37, 50), (61, 40), (9, 33)])
    data = make(kind, root, predict_images=str(tmp_path))
    data.setup("predict")
    batches = list(data.predict_dataloader())
    assert [batch["path"] for batch in batches] == [[str(path)] for path in paths]
    for path, batch in zip(paths, batches, strict=True):
        assert batch["image"].shape == (1, 3, data.size, data.size) and batch["image"].dtype == torch.float32
        expected = middle(np.asarray(Image.open(path).convert("RGB")), data.size, data.size)
        assert np.abs(pixels({"image": batch["image"][0]}) - expected).max() <= 1.01


def test_an_image_of_the_right_size_to_predict_is_left_as_it_is(root):
    dataset = make(CIFAR10, root).make_set("val")
    stored = tv_tensors.Image(as_stored(dataset)[0]["image"])
    assert torch.allclose(make(CIFAR10, root).predict_transform()(stored), stored.float() / 255)


# How small images are augmented


def test_training_images_are_shifted_by_up_to_the_padding_over_black():
    images = colored(1)
    dataset = Given(images, [0], padding=2).make_set("train")
    wide = np.pad(images[0], ((0, 0), (2, 2), (2, 2)))
    shifts = {(top, left): wide[:, top : top + 8, left : left + 8].tobytes() for top in range(5) for left in range(5)}
    torch.manual_seed(0)
    seen = {(dataset[0]["image"] * 255).round().byte().numpy().tobytes() for _ in range(400)}
    assert seen == set(shifts.values())


@pytest.mark.parametrize(("flip", "mirrored"), [(0, {False}), (0.5, {False, True}), (1, {True})])
def test_training_images_are_mirrored_with_a_probability(flip, mirrored):
    images = torch.from_numpy(colored(1))
    dataset = Given(images, [0], flip=flip).make_set("train")
    torch.manual_seed(0)
    draws = [dataset[0]["image"] for _ in range(30)]
    assert {torch.allclose(draw, images[0].flip(-1) / 255) for draw in draws} == mirrored
    assert {torch.allclose(draw, images[0] / 255) for draw in draws} == {not way for way in mirrored}


def test_bytes_become_floats_between_0_and_1():
    images = np.tile(np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16), (1, 3, 1, 1))
    sample = Given(images, [0], size=16).make_set("val")[0]
    assert sample["image"].dtype == torch.float32
    assert torch.allclose(sample["image"][2].flatten(), torch.arange(256) / 255)
    assert sample["image"].max() == 1


# What is read


@pytest.mark.parametrize("wrap", [np.asarray, torch.as_tensor, lambda images: images[:, :, :, ::-1][:, :, :, ::-1]])
def test_images_may_be_arrays_or_tensors_in_any_memory_order(wrap):
    images = colored(3)
    samples = list(as_stored(Given(wrap(images), [2, 0, 1]).make_set("val")))
    assert np.array_equal(np.stack([sample["image"].numpy() for sample in samples]), images)
    assert [sample["label"] for sample in samples] == [2, 0, 1]


def test_a_grey_image_has_three_equal_channels():
    grey = colored(2)[:, 0]
    for index, sample in enumerate(as_stored(Given(grey, [0, 1]).make_set("val"))):
        assert sample["image"].shape == (3, 8, 8)
        assert all(np.array_equal(channel, grey[index]) for channel in sample["image"])


@pytest.mark.parametrize(
    ("images", "labels", "told"),
    [
        (colored(3), [0, 1], ("3 images and 2 labels", "train split", "fetch")),
        (colored(2), [0, 1, 2], ("2 images and 3 labels", "train split", "fetch")),
        (colored(0), [], ("0 images and 0 labels", "fetch")),
        (colored(2), [0, 3], ("label 3 ", "3 classes", "fetch")),
        (colored(2), [-1, 2], ("label -1 ", "3 classes", "fetch")),
        (colored(2) / 255, [0, 1], ("float64", "bytes", "fetch")),
        (colored(2), [0.7, 1], ("no whole numbers", "fetch")),
        (colored(2), ["0", "a"], ("no whole numbers", "fetch")),
        (colored(2), [[0], [1]], ("no whole numbers", "fetch")),
    ],
)
def test_images_and_labels_that_cannot_be_are_told(images, labels, told):
    with pytest.raises(DataError, match=one_line("somewhere", *told)):
        Given(images, labels).make_set("train")


@pytest.mark.parametrize(
    "labels", [[2.0, 0.0], np.array([2, 0], np.uint8), np.array([2, 0], ">f4"), torch.tensor([2, 0])]
)
def test_labels_may_be_whole_numbers_of_any_type(labels):
    assert Given(colored(2), labels).make_set("train").labels.tolist() == [2, 0]


def test_whatever_a_reader_stumbles_over_names_the_folder():
    class Stumbling(Given):
        def read(self, split):
            raise KeyError("pixels\nand more")

    with pytest.raises(DataError, match=one_line("somewhere", "broken", "fetch it again")):
        Stumbling(None, None).make_set("val")


def test_grey_images_take_no_more_memory_than_in_their_file():
    images = Given(colored(2)[:, 0], [0, 1]).make_set("val").images
    assert images.untyped_storage().nbytes() == 2 * 8 * 8


@every_set
def test_a_root_that_is_not_there_is_told(kind, tmp_path):
    with pytest.raises(DataError, match=one_line(tmp_path / "absent", "not found")):
        kind(str(tmp_path / "absent")).make_set("train")


@every_set
def test_nothing_is_fetched_or_written(kind, tmp_path):
    SETS[kind](tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    kind(str(tmp_path)).make_set("train")
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before

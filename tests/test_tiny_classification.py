"""Other people's readers find in the tiny data sets what was written."""

import gzip
import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
import tiny_classification as tiny
from PIL import Image
from scipy.io import loadmat
from tiny_data import VOC_NAMES, write_voc
from torchvision import datasets
from torchvision.datasets import cifar, flowers102, stl10, svhn

old_flags = pytest.mark.filterwarnings("ignore:dtype")  # of NumPy 2.4.0 to 2.4.4


@pytest.fixture(autouse=True)
def any_checksum(monkeypatch):
    for module in (cifar, flowers102, stl10, svhn):
        monkeypatch.setattr(module, "check_integrity", lambda *_: True)


def check(dataset, labels, names, *size, grey=(), tolerance=0):
    """Labels and pictures of a data set, in order."""
    pairs = list(dataset)
    assert [label for _, label in pairs] == list(labels) and set(grey) <= set(names)
    for (image, _), name in zip(pairs, names, strict=True):
        expected = Image.fromarray(tiny.drawing(name, *size)).convert("L" if name in grey else "RGB")
        assert image.size == expected.size
        difference = np.asarray(image, dtype=float) - np.asarray(expected.convert(image.mode))
        assert np.abs(difference).mean() <= tolerance, name


def check_files(root, dataset, labels, files=None, grey=()):
    """The same for files, JPEGs most of them; returns their paths below the root."""
    files = [path for path, _ in dataset.samples] if files is None else files
    names = [Path(path).relative_to(root).as_posix() for path in files]
    check(dataset, labels, names, grey=grey, tolerance=6)
    return names


def kind(path):
    with Image.open(path) as image:
        return image.format, image.mode, image.size


def rows(file, labels):
    return [f"{file}/{row}" for row in range(len(labels))]


def test_imagenet(tmp_path):
    tiny.write_imagenet(tmp_path)
    wnids = sorted(tiny.IMAGENET_INDICES)
    assert [tiny.IMAGENET_INDICES[wnid] for wnid in wnids] == sorted(tiny.IMAGENET_INDICES.values())
    train, val = (datasets.ImageFolder(tmp_path / split) for split in ("train", "val"))
    assert train.classes == val.classes == wnids
    names = check_files(tmp_path, train, np.repeat(np.arange(11), 2), grey=[tiny.IMAGENET_GREY])
    assert sorted(names) == sorted(tiny.IMAGENET_TRAIN)
    names = check_files(tmp_path, val, range(11))
    assert sorted(names) == sorted(tiny.IMAGENET_VAL) and len({name[-8:] for name in names}) == 11
    kinds = {name: kind(tmp_path / name)[:2] for name in tiny.IMAGENET_TRAIN}
    assert {name: kinds.pop(name) for name in (tiny.IMAGENET_GREY, tiny.IMAGENET_CMYK, tiny.IMAGENET_PNG)} == {
        tiny.IMAGENET_GREY: ("JPEG", "L"),
        tiny.IMAGENET_CMYK: ("JPEG", "CMYK"),
        tiny.IMAGENET_PNG: ("PNG", "RGBA"),
    }
    assert set(kinds.values()) == {("JPEG", "RGB")}


def test_tiny_imagenet(tmp_path):
    tiny.write_tiny_imagenet(tmp_path)
    folder = tmp_path / "tiny-imagenet-200"
    wnids = (folder / "wnids.txt").read_text().splitlines()
    assert len(set(wnids)) == 200 and wnids != sorted(wnids) and set(tiny.TINY_IMAGENET_NAMES) < set(wnids)
    words = dict(line.split("\t") for line in (folder / "words.txt").read_text().splitlines())
    assert set(wnids) < set(words) and words["n02123045"] == "tabby, tabby cat"
    train = datasets.ImageFolder(folder / "train")
    assert train.classes == sorted(tiny.TINY_IMAGENET_NAMES) and len(train) == 9
    lines = [line.split("\t") for line in (folder / "val" / "val_annotations.txt").read_text().splitlines()]
    assert {name: wnid for name, wnid, *_ in lines} == tiny.TINY_IMAGENET_VAL and {len(line) for line in lines} == {6}
    kinds = {path.relative_to(tmp_path).as_posix(): kind(path) for path in folder.rglob("*.JPEG")}
    assert set(kinds.values()) == {("JPEG", "RGB", (64, 64)), ("JPEG", "L", (64, 64))}
    assert {name for name, (_, mode, _) in kinds.items() if mode == "L"} == set(tiny.TINY_IMAGENET_GREY)


@old_flags
def test_cifar10(tmp_path):
    tiny.write_cifar10(tmp_path)
    labels = dict(tiny.CIFAR10_LABELS)
    test_labels = labels.pop("test_batch")
    train = datasets.CIFAR10(tmp_path)
    names = [name for batch in labels for name in rows(batch, labels[batch])]
    check(train, sum(labels.values(), ()), names, 32, 32)
    assert tuple(train.classes) == tiny.CIFAR10_CLASSES and set(train.targets) == set(range(10))
    check(datasets.CIFAR10(tmp_path, train=False), test_labels, rows("test_batch", test_labels), 32, 32)
    content = (tmp_path / "cifar-10-batches-py" / "data_batch_2").read_bytes()
    assert set(pickle.loads(content, encoding="bytes")) == {b"batch_label", b"labels", b"data", b"filenames"}


@old_flags
def test_cifar100(tmp_path):
    tiny.write_cifar100(tmp_path)
    for split, labels in tiny.CIFAR100_LABELS.items():
        dataset = datasets.CIFAR100(tmp_path, train=split == "train")
        check(dataset, [fine for fine, _ in labels], rows(split, labels), 32, 32)
        assert tuple(dataset.classes) == tiny.CIFAR100_CLASSES and len(dataset.classes) == 100
        content = pickle.loads((tmp_path / "cifar-100-python" / split).read_bytes(), encoding="bytes")
        assert content[b"coarse_labels"] == [coarse for _, coarse in labels]
    meta = pickle.loads((tmp_path / "cifar-100-python" / "meta").read_bytes(), encoding="latin1")
    assert len(meta["coarse_label_names"]) == 20 and meta["fine_label_names"] == sorted(meta["fine_label_names"])


def test_svhn(tmp_path):
    tiny.write_svhn(tmp_path)
    for split, labels in tiny.SVHN_LABELS.items():
        names = rows(f"{split}_32x32.mat", labels)
        check(datasets.SVHN(tmp_path, split), [label % 10 for label in labels], names, 32, 32)
        content = loadmat(tmp_path / f"{split}_32x32.mat")
        assert content["X"].shape == (32, 32, 3, len(labels)) and content["X"].dtype == np.uint8
        assert content["y"].shape == (len(labels), 1) and content["y"].dtype == np.uint8


def test_mnist(tmp_path):
    tiny.write_mnist(tmp_path)
    for split, labels in tiny.MNIST_LABELS.items():
        dataset = datasets.MNIST(tmp_path, train=split == "train")
        check(dataset, labels, rows(f"{split}-images-idx3-ubyte", labels), 28, 28)
    tiny.write_mnist(tmp_path / "packed", gz=True)
    unpacked = {path.name: path.read_bytes() for path in (tmp_path / "MNIST" / "raw").iterdir()}
    packed = (tmp_path / "packed" / "MNIST" / "raw").iterdir()
    assert {path.name: gzip.decompress(path.read_bytes()) for path in packed} == {
        f"{name}.gz": content for name, content in unpacked.items()
    }


def test_usps(tmp_path):
    tiny.write_usps(tmp_path)
    for file, labels in tiny.USPS_LABELS.items():
        dataset = datasets.USPS(tmp_path, train=file == "usps")
        digits = [label - 1 for label in labels]
        check(dataset, digits, rows(file, labels), 16, 16, tolerance=1)  # of three decimals, rounded down


def test_cub200(tmp_path):
    tiny.write_cub200(tmp_path)
    folder = tmp_path / "CUB_200_2011"
    columns = {path.stem: [line.split() for line in path.read_text().splitlines()] for path in folder.glob("*.txt")}
    ids = [[str(number)] for number in range(1, 9)]
    for name in ("images", "image_class_labels", "train_test_split", "bounding_boxes"):
        assert [row[:1] for row in columns[name]] == ids
    assert [row[1] for row in columns["classes"]] == list(tiny.CUB200_CLASSES)
    dataset = datasets.ImageFolder(folder / "images")
    labels = {name: label - 1 for name, label, _ in tiny.CUB200_IMAGES}
    names = check_files(tmp_path, dataset, dataset.targets, grey=[tiny.CUB200_GREY])
    assert dataset.targets == [labels[name.removeprefix("CUB_200_2011/images/")] for name in names]
    assert [int(row[1]) - 1 for row in columns["image_class_labels"]] == list(labels.values())
    for (_, *box), (_, name) in zip(columns["bounding_boxes"], columns["images"], strict=True):
        left, top, width, height = map(float, box)
        size = kind(folder / "images" / name)[2]
        assert left + width <= size[0] and top + height <= size[1]


def test_stl10(tmp_path):
    tiny.write_stl10(tmp_path)
    for split, labels in tiny.STL10_LABELS.items():
        dataset = datasets.STL10(tmp_path, split)
        check(dataset, [label - 1 for label in labels], rows(f"{split}_X.bin", labels), 96, 96)
        assert tuple(dataset.classes) == tiny.STL10_CLASSES
    fold = tiny.STL10_FOLDS[3]
    labels = [tiny.STL10_LABELS["train"][row] - 1 for row in fold]
    check(datasets.STL10(tmp_path, folds=3), labels, [f"train_X.bin/{row}" for row in fold], 96, 96)


def test_food101(tmp_path):
    tiny.write_food101(tmp_path)
    for split, images in tiny.FOOD101_IMAGES.items():
        dataset = datasets.Food101(tmp_path, split)
        assert tuple(dataset.classes) == tiny.FOOD101_CLASSES
        labels = [tiny.FOOD101_CLASSES.index(name) for name, group in images.items() for _ in group]
        names = check_files(tmp_path, dataset, labels, dataset._image_files)
        listed = (tmp_path / "food-101" / "meta" / f"{split}.txt").read_text().splitlines()
        assert sorted(names) == sorted(f"food-101/images/{name}.jpg" for name in listed)


def test_flowers102(tmp_path):
    tiny.write_flowers102(tmp_path)
    for split, numbers in zip(("train", "val", "test"), tiny.FLOWERS102_SPLITS.values(), strict=True):
        dataset = datasets.Flowers102(tmp_path, split)
        labels = [tiny.FLOWERS102_LABELS[number - 1] - 1 for number in numbers]
        names = check_files(tmp_path, dataset, labels, dataset._image_files)
        assert names == [f"flowers-102/jpg/image_{number:05}.jpg" for number in numbers]


def test_stanford_dogs(tmp_path):
    tiny.write_stanford_dogs(tmp_path)
    for split, pairs in tiny.STANFORD_DOGS_IMAGES.items():
        content = loadmat(tmp_path / f"{split}_list.mat")
        assert [row[0][0] for row in content["file_list"]] == [path for path, _ in pairs]
        assert [row[0][0] + ".jpg" for row in content["annotation_list"]] == [path for path, _ in pairs]
        assert [row[0] for row in content["labels"]] == [label for _, label in pairs]
    dataset = datasets.ImageFolder(tmp_path / "Images")
    assert len(dataset) == len(loadmat(tmp_path / "file_list.mat")["labels"]) == 8
    check_files(tmp_path, dataset, dataset.targets)
    assert kind(tmp_path / tiny.STANFORD_DOGS_PNG)[:2] == ("PNG", "RGBA")


def test_folders(tmp_path):
    tiny.write_image_folder(tmp_path / "folder")
    names = []
    for split in ("train", "val"):
        dataset = datasets.ImageFolder(tmp_path / "folder" / split)
        assert tuple(dataset.classes) == tiny.IMAGE_FOLDER_CLASSES
        grey = [tiny.IMAGE_FOLDER_GREY] if split == "train" else []
        names += check_files(tmp_path / "folder", dataset, dataset.targets, grey=grey)
    assert sorted(names) == sorted(tiny.IMAGE_FOLDER_IMAGES)
    tiny.write_two_domains(tmp_path / "domains")
    written = {folder.name: {path.name for path in folder.iterdir()} for folder in (tmp_path / "domains").iterdir()}
    assert written == {folder: set(files) for folder, files in tiny.TWO_DOMAINS.items()}


def test_sbd(tmp_path):
    tiny.write_sbd(tmp_path)
    write_voc(tmp_path)
    folder = tmp_path / "benchmark_RELEASE" / "dataset"
    for split, names in tiny.SBD_NAMES.items():
        maps = datasets.SBDataset(folder, split, "segmentation")
        boundaries = datasets.SBDataset(folder, split, "boundaries")
        for name, (image, label), (_, edges) in zip(names, maps, boundaries, strict=True):
            assert image.size == label.size == tiny.sbd_size(name)[::-1]
            assert np.array_equal(label, tiny.sbd_label(name)) and np.asarray(label).dtype == np.uint8
            assert np.array_equal(edges, tiny.sbd_boundaries(name)) and edges.any()
            present = loadmat(folder / "cls" / f"{name}.mat")["GTcls"]["CategoriesPresent"][0, 0]
            assert set(present.ravel()) == set(np.unique(label)) - {0}
            voc = tmp_path / "VOCdevkit" / "VOC2012" / "JPEGImages" / f"{name}.jpg"
            assert voc.exists() == name.startswith("2007")
            assert not voc.exists() or voc.read_bytes() == (folder / "img" / voc.name).read_bytes()
        assert all(set(names) & set(voc_names) for voc_names in VOC_NAMES.values())


def test_files_are_the_same_every_time(tmp_path):
    digests = []
    for folder in (tmp_path / "first", tmp_path / "second"):
        for name, write in vars(tiny).items():
            if name.startswith("write_"):
                write(folder / name)
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        digests.append({path.relative_to(folder): hashlib.md5(path.read_bytes()).hexdigest() for path in files})
    assert digests[0] == digests[1] and len({path.parts[0] for path in digests[0]}) == 15

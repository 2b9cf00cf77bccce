"""Tiny data sets of labelled images (and SBD) in the on-disk formats of the real ones, the same every time.

What a file or a row of a packed file shows is `drawing(name)`, `name` being the path below the root that was given to
`write_...`, and for a packed file `"<file>/<row>"`; only SBD's pictures are those of `tiny_data.write_voc`.
"""

import bz2
import gzip
import io
import json
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.io import savemat
from scipy.sparse import csc_matrix
from tiny_data import VOC_NAMES, picture


def drawing(name: str, *size: int) -> np.ndarray:
    """What the image of this name shows: uint8 `(H, W, 3)`, 40 to 80 pixels a side unless a size is given."""
    seed = zlib.crc32(name.encode())
    return picture(seed, *(size or (40 + seed % 41, 40 + seed // 41 % 41)))


def grey_drawing(name: str, *size: int) -> np.ndarray:
    """The same without colours: uint8 `(H, W)`."""
    return np.asarray(Image.fromarray(drawing(name, *size)).convert("L"))


def _write_image(root: Path, name: str, *size: int, mode: str = "RGB", file_format: str | None = None) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(drawing(name, *size)).convert(mode).save(root / name, file_format, quality=90)


def _write_lines(path: Path, lines: Iterable[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def _write_mat(path: Path, variables: dict[str, Any]) -> None:
    """A compressed MATLAB 5 file, without SciPy's date of writing.

    MATLAB stores whole numbers of type double in the smallest type that holds them, and `loadmat` returns them so.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = io.BytesIO()
    savemat(file, variables, do_compression=True)
    header = b"MATLAB 5.0 MAT-file, Platform: GLNXA64, Created on: Mon Jan  5 10:00:00 2009"
    path.write_bytes(header.ljust(116) + file.getvalue()[116:])


def _cells(items: Iterable[Any]) -> np.ndarray:
    """A column of MATLAB cells, which `loadmat` nests: `column[i][0]` is an array, of one string if it was a string."""
    items = list(items)
    cells = np.empty((len(items), 1), dtype=object)
    for row, item in enumerate(items):
        cells[row, 0] = item
    return cells


# ImageNet

IMAGENET_INDICES = {
    "n01440764": 0, "n01641577": 30, "n01664065": 33, "n01806143": 84, "n01978287": 118, "n02085620": 151,
    "n02123045": 281, "n02165105": 300, "n02480495": 365, "n02526121": 390, "n02783161": 418,
}  # fmt: skip
"""ILSVRC's indices: tench, bullfrog, loggerhead, peacock, Dungeness crab, Chihuahua, tabby, tiger beetle, orangutan,
eel and ballpoint."""

IMAGENET_OUTSIDE_RESTRICTED = ("n01440764", "n02783161")

IMAGENET_GREY = "train/n02123045/n02123045_281.JPEG"
IMAGENET_CMYK = "train/n01641577/n01641577_97.JPEG"
IMAGENET_PNG = "train/n02085620/n02085620_218.JPEG"
"""A PNG with an alpha channel, as n02105855_2933.JPEG of the real set."""

IMAGENET_TRAIN = tuple(
    f"train/{wnid}/{wnid}_{number}.JPEG" for wnid, index in IMAGENET_INDICES.items() for number in (67 + index, 281)
)
IMAGENET_VAL = tuple(
    f"val/{wnid}/ILSVRC2012_val_{5 * row % 11 + 1:08}.JPEG" for row, wnid in enumerate(IMAGENET_INDICES)
)


def write_imagenet(root: Path) -> None:
    """ILSVRC 2012 with a folder a synset, also in `val`: two images a synset to train and one to validate."""
    odd = {IMAGENET_GREY: ("L", None), IMAGENET_CMYK: ("CMYK", None), IMAGENET_PNG: ("RGBA", "PNG")}
    for name in (*IMAGENET_TRAIN, *IMAGENET_VAL):
        mode, file_format = odd.get(name, ("RGB", None))
        _write_image(root, name, mode=mode, file_format=file_format)


# Tiny ImageNet

TINY_IMAGENET_NAMES = {
    "n02123045": "tabby, tabby cat",
    "n01641577": "bullfrog, Rana catesbeiana",
    "n02085620": "Chihuahua",
}
"""The synsets that have images."""


def _tiny_imagenet_wnids() -> tuple[str, ...]:
    wnids = [f"n{number:08}" for number in np.random.default_rng(0).integers(1_700_000, 12_300_000, 197)]
    for row, wnid in zip((17, 92, 180), TINY_IMAGENET_NAMES, strict=True):
        wnids.insert(row, wnid)
    return tuple(wnids)


TINY_IMAGENET_WNIDS = _tiny_imagenet_wnids()
"""All 200 in the order of `wnids.txt`, which is no sorted one."""

TINY_IMAGENET_VAL = {
    f"val_{number}.JPEG": wnid
    for number, wnid in zip((0, 1, 2, 10, 11, 9999), 2 * ("n02085620", "n02123045", "n01641577"), strict=True)
}
TINY_IMAGENET_GREY = (
    "tiny-imagenet-200/train/n02123045/images/n02123045_1.JPEG",
    "tiny-imagenet-200/val/images/val_10.JPEG",
)
TINY_IMAGENET_SIZE = (64, 64)


def write_tiny_imagenet(root: Path) -> None:
    """Tiny ImageNet as its archive has it: all synsets in the lists, three of them with images; no labels in `test`."""
    folder = root / "tiny-imagenet-200"
    _write_lines(folder / "wnids.txt", TINY_IMAGENET_WNIDS)
    words = {wnid: f"synset {wnid[1:].lstrip('0')}, thing" for wnid in TINY_IMAGENET_WNIDS}
    words |= {"n00001740": "entity", "n15300051": "quaestor"} | TINY_IMAGENET_NAMES  # of many more synsets than the 200
    _write_lines(folder / "words.txt", (f"{wnid}\t{words[wnid]}" for wnid in sorted(words)))
    images = []
    for wnid in TINY_IMAGENET_NAMES:
        names = [f"{wnid}_{number}.JPEG" for number in range(3)]
        images += [f"train/{wnid}/images/{name}" for name in names]
        _write_lines(folder / "train" / wnid / f"{wnid}_boxes.txt", (f"{name}\t0\t10\t63\t58" for name in names))
    images += [f"val/images/{name}" for name in TINY_IMAGENET_VAL]
    boxes = (f"{name}\t{wnid}\t3\t7\t59\t63" for name, wnid in TINY_IMAGENET_VAL.items())
    _write_lines(folder / "val" / "val_annotations.txt", boxes)
    images += [f"test/images/test_{number}.JPEG" for number in range(2)]
    for name in (f"tiny-imagenet-200/{image}" for image in images):
        _write_image(root, name, *TINY_IMAGENET_SIZE, mode="L" if name in TINY_IMAGENET_GREY else "RGB")


# CIFAR

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

CIFAR10_LABELS = {
    "data_batch_1": (6, 9, 9, 4),
    "data_batch_2": (1, 6, 6, 8),
    "data_batch_3": (8, 5, 0, 6),
    "data_batch_4": (0, 6, 0, 2),
    "data_batch_5": (7, 3, 1, 5),
    "test_batch": (3, 8, 8, 0, 6),
}

CIFAR100_CLASSES = (
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle", "bowl", "boy",
    "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle", "chair", "chimpanzee", "clock",
    "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur", "dolphin", "elephant", "flatfish", "forest",
    "fox", "girl", "hamster", "house", "kangaroo", "keyboard", "lamp", "lawn_mower", "leopard", "lion", "lizard",
    "lobster", "man", "maple_tree", "motorcycle", "mountain", "mouse", "mushroom", "oak_tree", "orange", "orchid",
    "otter", "palm_tree", "pear", "pickup_truck", "pine_tree", "plain", "plate", "poppy", "porcupine", "possum",
    "rabbit", "raccoon", "ray", "road", "rocket", "rose", "sea", "seal", "shark", "shrew", "skunk", "skyscraper",
    "snail", "snake", "spider", "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank", "telephone",
    "television", "tiger", "tractor", "train", "trout", "tulip", "turtle", "wardrobe", "whale", "willow_tree", "wolf",
    "woman", "worm",
)  # fmt: skip
CIFAR100_COARSE_CLASSES = (
    "aquatic_mammals", "fish", "flowers", "food_containers", "fruit_and_vegetables", "household_electrical_devices",
    "household_furniture", "insects", "large_carnivores", "large_man-made_outdoor_things",
    "large_natural_outdoor_scenes", "large_omnivores_and_herbivores", "medium_mammals", "non-insect_invertebrates",
    "people", "reptiles", "small_mammals", "trees", "vehicles_1", "vehicles_2",
)  # fmt: skip
CIFAR100_LABELS = {
    "train": ((19, 11), (29, 15), (0, 4), (11, 14), (1, 1), (86, 5), (90, 18), (99, 13)),
    "test": ((49, 10), (33, 10), (72, 0), (51, 4), (71, 10)),
}
"""Fine and coarse label of each image."""


def write_cifar10(root: Path) -> None:
    """CIFAR-10's version for Python: in `data`, every row an image, its red, green and blue plane."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for number, (batch, labels) in enumerate(CIFAR10_LABELS.items(), 1):
        content = {
            "batch_label": "testing batch 1 of 1" if batch == "test_batch" else f"training batch {number} of 5",
            "labels": list(labels),
            "data": _planes(batch, len(labels)),
            "filenames": [f"{CIFAR10_CLASSES[label]}_s_{row:06}.png" for row, label in enumerate(labels)],
        }
        (folder / batch).write_bytes(_python2_pickle(content))
    meta = {"num_cases_per_batch": 4, "label_names": list(CIFAR10_CLASSES), "num_vis": 3072}
    (folder / "batches.meta").write_bytes(_python2_pickle(meta))


def write_cifar100(root: Path) -> None:
    """CIFAR-100's version for Python."""
    folder = root / "cifar-100-python"
    folder.mkdir(parents=True)
    for split, labels in CIFAR100_LABELS.items():
        content = {
            "filenames": [f"{CIFAR100_CLASSES[fine]}_s_{row:06}.png" for row, (fine, _) in enumerate(labels)],
            "batch_label": f"{split}ing batch 1 of 1",
            "fine_labels": [fine for fine, _ in labels],
            "coarse_labels": [coarse for _, coarse in labels],
            "data": _planes(split, len(labels)),
        }
        (folder / split).write_bytes(_python2_pickle(content))
    meta = {"fine_label_names": list(CIFAR100_CLASSES), "coarse_label_names": list(CIFAR100_COARSE_CLASSES)}
    (folder / "meta").write_bytes(_python2_pickle(meta))


def _planes(file: str, number: int) -> np.ndarray:
    return np.stack([drawing(f"{file}/{row}", 32, 32).transpose(2, 0, 1).ravel() for row in range(number)])


def _python2_pickle(value: Any) -> bytes:
    """A value as Python 2 with NumPy 1 pickled it by protocol 2: its strings are bytes to Python 3.

    The array's type has the flags 0 and 1 for false and true, of which NumPy 2.4.0 to 2.4.4 warn.
    """
    return b"\x80\x02" + _python2_opcodes(value) + b"."


def _python2_opcodes(value: Any) -> bytes:
    match value:
        case str():
            return b"U" + bytes([len(value)]) + value.encode("ascii")
        case int():
            return b"J" + struct.pack("<i", value)
        case list():
            return b"](" + b"".join(map(_python2_opcodes, value)) + b"e"
        case dict():
            return b"}(" + b"".join(_python2_opcodes(part) for item in value.items() for part in item) + b"u"
        case np.ndarray():
            assert value.dtype == np.uint8 and value.ndim == 2
            empty = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
            shape = b"".join(map(_python2_opcodes, value.shape)) + b"\x86"
            kind = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
            return empty + b"(K\x01" + shape + kind + b"\x89T" + struct.pack("<i", value.size) + value.tobytes() + b"tb"
    raise TypeError(type(value))


# Digits

SVHN_LABELS = {"train": (1, 9, 2, 3, 10, 5, 10, 4), "test": (5, 2, 10, 6)}
"""As stored: 10 is the digit 0."""

MNIST_LABELS = {"train": (5, 0, 4, 1, 9, 2, 6, 3, 8, 7), "t10k": (7, 2, 1, 0, 4)}

USPS_LABELS = {"usps": (7, 6, 5, 8, 4, 1, 10, 2), "usps.t": (10, 7, 4, 1)}
"""As stored: digit plus one."""


def write_svhn(root: Path) -> None:
    """SVHN's cropped digits: `X` is `(32, 32, 3, N)`, `y` is `(N, 1)`, both uint8."""
    for split, labels in SVHN_LABELS.items():
        file = f"{split}_32x32.mat"
        images = np.stack([drawing(f"{file}/{row}", 32, 32) for row in range(len(labels))], axis=-1)
        _write_mat(root / file, {"X": images, "y": np.array(labels, dtype=np.uint8)[:, None]})


def write_mnist(root: Path, gz: bool = False) -> None:
    """MNIST's idx files: big-endian headers, then bytes; drawn under the name of the file of images, without `.gz`.

    Args:
        gz: Write the packed files alone, as they are downloaded.
    """
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for split, labels in MNIST_LABELS.items():
        name = f"{split}-images-idx3-ubyte"
        images = b"".join(grey_drawing(f"{name}/{row}", 28, 28).tobytes() for row in range(len(labels)))
        contents = {
            name: struct.pack(">4i", 0x803, len(labels), 28, 28) + images,
            f"{split}-labels-idx1-ubyte": struct.pack(">2i", 0x801, len(labels)) + bytes(labels),
        }
        for file, content in contents.items():
            if gz:
                (folder / f"{file}.gz").write_bytes(gzip.compress(content, mtime=0))
            else:
                (folder / file).write_bytes(content)


def write_usps(root: Path) -> None:
    """USPS as LIBSVM has it: lines of a label and 256 values, three decimals, between -1 (paper) and 1."""
    root.mkdir(parents=True, exist_ok=True)
    for file, labels in USPS_LABELS.items():
        lines = []
        for row, label in enumerate(labels):
            values = grey_drawing(f"{file}/{row}", 16, 16).ravel() / 127.5 - 1
            lines.append(f"{label} " + "".join(f"{index}:{value:.3g} " for index, value in enumerate(values, 1)) + "\n")
        (root / f"{file}.bz2").write_bytes(bz2.compress("".join(lines).encode()))


# Photographs

CUB200_CLASSES = ("001.Black_footed_Albatross", "002.Laysan_Albatross", "003.Sooty_Albatross")

CUB200_IMAGES = (
    ("001.Black_footed_Albatross/Black_Footed_Albatross_0046_18.jpg", 1, False),
    ("001.Black_footed_Albatross/Black_Footed_Albatross_0009_34.jpg", 1, True),
    ("001.Black_footed_Albatross/Black_Footed_Albatross_0002_55.jpg", 1, True),
    ("002.Laysan_Albatross/Laysan_Albatross_0033_658.jpg", 2, False),
    ("002.Laysan_Albatross/Laysan_Albatross_0082_524.jpg", 2, True),
    ("003.Sooty_Albatross/Sooty_Albatross_0048_1130.jpg", 3, True),
    ("003.Sooty_Albatross/Sooty_Albatross_0031_1066.jpg", 3, True),
    ("003.Sooty_Albatross/Sooty_Albatross_0021_1068.jpg", 3, False),
)
"""Path below `images`, class as stored (from 1) and whether it is for training; the image's id is its place, from 1."""

CUB200_GREY = "CUB_200_2011/images/002.Laysan_Albatross/Laysan_Albatross_0082_524.jpg"


def cub200_box(name: str) -> tuple[float, float, float, float]:
    """Left, top, width and height of the bird, given the path below `images`."""
    height, width, _ = drawing(f"CUB_200_2011/images/{name}").shape
    return float(width // 5), float(height // 6), float(width // 2), float(height // 3)


def write_cub200(root: Path) -> None:
    """Caltech-UCSD Birds 200-2011: lists that share the images' ids."""
    folder = root / "CUB_200_2011"
    for name, _, _ in CUB200_IMAGES:
        path = f"CUB_200_2011/images/{name}"
        _write_image(root, path, mode="L" if path == CUB200_GREY else "RGB")
    ids = range(1, len(CUB200_IMAGES) + 1)
    columns = {
        "images": [name for name, _, _ in CUB200_IMAGES],
        "image_class_labels": [label for _, label, _ in CUB200_IMAGES],
        "train_test_split": [int(train) for _, _, train in CUB200_IMAGES],
        "bounding_boxes": [" ".join(map(str, cub200_box(name))) for name, _, _ in CUB200_IMAGES],
    }
    for file, column in columns.items():
        _write_lines(folder / f"{file}.txt", (f"{number} {entry}" for number, entry in zip(ids, column, strict=True)))
    _write_lines(folder / "classes.txt", (f"{number} {name}" for number, name in enumerate(CUB200_CLASSES, 1)))


STL10_CLASSES = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")

STL10_LABELS = {"train": (2, 10, 1, 5, 8, 3), "test": (7, 4, 6, 9)}
"""As stored, from 1."""

STL10_FOLDS = tuple((fold % 6, (fold + 2) % 6, (fold + 5) % 6) for fold in range(10))
"""Rows of the training set, from 0; folds overlap."""


def write_stl10(root: Path) -> None:
    """STL-10's binary files, without `unlabeled_X.bin`: plane after plane, each column by column."""
    folder = root / "stl10_binary"
    folder.mkdir(parents=True)
    for split, labels in STL10_LABELS.items():
        file = f"{split}_X.bin"
        images = (drawing(f"{file}/{row}", 96, 96).transpose(2, 1, 0).tobytes() for row in range(len(labels)))
        (folder / file).write_bytes(b"".join(images))
        (folder / f"{split}_y.bin").write_bytes(bytes(labels))
    _write_lines(folder / "class_names.txt", STL10_CLASSES)
    _write_lines(folder / "fold_indices.txt", (" ".join(map(str, fold)) for fold in STL10_FOLDS))


FOOD101_CLASSES = ("apple_pie", "baby_back_ribs", "churros")

FOOD101_IMAGES = {
    "train": {
        "churros": ("churros/1004234", "churros/1013460"),
        "apple_pie": ("apple_pie/1005649", "apple_pie/1014775", "apple_pie/134"),
        "baby_back_ribs": ("baby_back_ribs/1005293",),
    },
    "test": {
        "churros": ("churros/1061830",),
        "apple_pie": ("apple_pie/1011328", "apple_pie/101251"),
        "baby_back_ribs": ("baby_back_ribs/1055618",),
    },
}
"""In the order of the JSON files, which is no sorted one."""


def write_food101(root: Path) -> None:
    """Food-101 as its archive has it."""
    meta = root / "food-101" / "meta"
    _write_lines(meta / "classes.txt", FOOD101_CLASSES)
    _write_lines(meta / "labels.txt", (name.replace("_", " ").capitalize() for name in FOOD101_CLASSES))
    for split, images in FOOD101_IMAGES.items():
        (meta / f"{split}.json").write_text(json.dumps(images))
        names = [name for group in images.values() for name in group]
        _write_lines(meta / f"{split}.txt", sorted(names))
        for name in names:
            _write_image(root, f"food-101/images/{name}.jpg")


FLOWERS102_LABELS = (77, 77, 1, 1, 102, 102, 34, 34, 77, 1)
"""As stored, from 1: of `image_00001.jpg` and so on."""

FLOWERS102_SPLITS = {"trnid": (4, 1, 7), "valid": (5, 2), "tstid": (3, 6, 8, 9, 10)}
"""Numbers of images, from 1, not sorted."""


def write_flowers102(root: Path) -> None:
    """Oxford Flowers 102: the labels and the splits are rows."""
    folder = root / "flowers-102"
    for number in range(1, len(FLOWERS102_LABELS) + 1):
        _write_image(root, f"flowers-102/jpg/image_{number:05}.jpg")
    _write_mat(folder / "imagelabels.mat", {"labels": np.array([FLOWERS102_LABELS], dtype=np.uint8)})
    splits = {split: np.array([numbers], dtype=np.uint16) for split, numbers in FLOWERS102_SPLITS.items()}
    _write_mat(folder / "setid.mat", splits)


STANFORD_DOGS_IMAGES = {
    "train": (
        ("n02085620-Chihuahua/n02085620_5927.jpg", 1),
        ("n02085620-Chihuahua/n02085620_10074.jpg", 1),
        ("n02085782-Japanese_spaniel/n02085782_2874.jpg", 2),
        ("n02105855-Shetland_sheepdog/n02105855_2933.jpg", 80),
        ("n02116738-African_hunting_dog/n02116738_2988.jpg", 120),
    ),
    "test": (
        ("n02085620-Chihuahua/n02085620_2650.jpg", 1),
        ("n02085782-Japanese_spaniel/n02085782_1267.jpg", 2),
        ("n02116738-African_hunting_dog/n02116738_8744.jpg", 120),
    ),
}
"""Path below `Images` and label as stored, from 1."""

STANFORD_DOGS_PNG = "Images/n02105855-Shetland_sheepdog/n02105855_2933.jpg"
"""The real one, too, is a PNG with an alpha channel."""


def write_stanford_dogs(root: Path) -> None:
    """Stanford Dogs: in the lists, cells of paths below `Images` and `Annotation`, and a column of labels."""
    lists = {**STANFORD_DOGS_IMAGES, "file": [pair for pairs in STANFORD_DOGS_IMAGES.values() for pair in pairs]}
    for name, pairs in lists.items():
        variables = {
            "file_list": _cells(path for path, _ in pairs),
            "annotation_list": _cells(path.removesuffix(".jpg") for path, _ in pairs),
            "labels": np.array([[label] for _, label in pairs], dtype=np.uint8),
        }
        _write_mat(root / f"{name}_list.mat", variables)
    for name in (f"Images/{path}" for path, _ in lists["file"]):
        if name == STANFORD_DOGS_PNG:
            _write_image(root, name, mode="RGBA", file_format="PNG")
        else:
            _write_image(root, name)


# Folders

IMAGE_FOLDER_CLASSES = ("boat", "kite", "lamp")

IMAGE_FOLDER_IMAGES = (
    "train/boat/harbour.jpg", "train/boat/regatta.png", "train/boat/sunset.JPG",
    "train/kite/beach.jpg", "train/kite/below/meadow.jpg",
    "train/lamp/desk.jpeg", "train/lamp/street.png",
    "val/boat/canal.jpg", "val/kite/park.png", "val/lamp/ceiling.jpg",
)  # fmt: skip

IMAGE_FOLDER_GREY = "train/lamp/desk.jpeg"
IMAGE_FOLDER_ALPHA = "train/boat/regatta.png"


def write_image_folder(root: Path) -> None:
    """A folder a class; among the images a file of text, and one image in a folder below."""
    modes = {IMAGE_FOLDER_GREY: "L", IMAGE_FOLDER_ALPHA: "RGBA"}
    for name in IMAGE_FOLDER_IMAGES:
        _write_image(root, name, mode=modes.get(name, "RGB"))
    (root / "train" / "boat" / "notes.txt").write_text("no picture\n")


TWO_DOMAINS = {
    "trainA": ("n02381460_1001.jpg", "n02381460_1002.jpg", "n02381460_20.jpg"),
    "trainB": ("n02391049_10007.jpg", "n02391049_10027.jpg", "n02391049_1004.jpg", "n02391049_2.jpg"),
    "testA": ("n02381460_1010.jpg", "n02381460_120.jpg"),
    "testB": ("n02391049_1080.jpg",),
}
TWO_DOMAINS_SIZE = (64, 64)


def write_two_domains(root: Path) -> None:
    """CycleGAN's layout: unpaired images of one size, not as many in one domain as in the other."""
    for folder, files in TWO_DOMAINS.items():
        for file in files:
            _write_image(root, f"{folder}/{file}", *TWO_DOMAINS_SIZE)


# SBD

SBD_NAMES = {
    "train": ["2007_000032", "2007_000033", "2008_000002", "2008_000003"],
    "val": ["2007_000039", "2007_000042", "2009_000001"],
}
"""Not VOC's split: either list holds an image of VOC's `train`, one of its `val` and some that VOC did not label."""

_SBD_NUMBERS = {
    name: number
    for number, name in enumerate((*VOC_NAMES["train"], *VOC_NAMES["val"], "2008_000002", "2008_000003", "2009_000001"))
}


def sbd_size(name: str) -> tuple[int, int]:
    """Height and width; those of `write_voc` where VOC has the image."""
    number = _SBD_NUMBERS[name]
    return (40 + 4 * number, 64 - 4 * number) if name.startswith("2007") else (48, 64)


def sbd_label(name: str) -> np.ndarray:
    """The objects of `voc_label`, but without a void border, as in SBD: uint8 `(H, W)`."""
    number, (height, width) = _SBD_NUMBERS[name], sbd_size(name)
    label = np.zeros((height, width), dtype=np.uint8)
    for category, (left, top) in ((1 + 3 * number % 20, (4, 4)), (20 - number, (width // 2, height // 2))):
        label[top : top + 18, left : left + 18] = category
    return label


def sbd_boundaries(name: str) -> np.ndarray:
    """Which pixels of a class have a neighbour that is not of it: bool `(20, H, W)`."""
    inside = np.pad(sbd_label(name) == np.arange(1, 21)[:, None, None], ((0, 0), (1, 1), (1, 1)))
    kernel = inside[:, :-2, 1:-1] & inside[:, 2:, 1:-1] & inside[:, 1:-1, :-2] & inside[:, 1:-1, 2:]
    return inside[:, 1:-1, 1:-1] & ~kernel


def write_sbd(root: Path) -> None:
    """Semantic Boundaries Dataset: JPEGs, and MATLAB structs of sparse boundaries, label map and classes present."""
    folder = root / "benchmark_RELEASE" / "dataset"
    (folder / "img").mkdir(parents=True)
    for split, names in SBD_NAMES.items():
        _write_lines(folder / f"{split}.txt", names)
        for name in names:
            image = Image.fromarray(picture(_SBD_NUMBERS[name], *sbd_size(name)))
            image.save(folder / "img" / f"{name}.jpg", quality=90)
            label = sbd_label(name)
            content = {
                "Boundaries": _cells(map(csc_matrix, sbd_boundaries(name))),
                "Segmentation": label,
                "CategoriesPresent": np.unique(label[label > 0])[:, None],
            }
            _write_mat(folder / "cls" / f"{name}.mat", {"GTcls": content})

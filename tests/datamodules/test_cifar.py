import pickle
import struct

import numpy as np
import pytest
import tiny_classification as tiny
import torch
from classified import as_stored, damage
from one_line import one_line

from datamodules import CIFAR10, CIFAR100, DataError

pytestmark = pytest.mark.filterwarnings("ignore:dtype")  # of NumPy 2.4.0 to 2.4.4: the pickles are as old as CIFAR

BATCHES = [f"data_batch_{number}" for number in range(1, 6)]


@pytest.fixture
def root(tmp_path):
    tiny.write_cifar10(tmp_path)
    tiny.write_cifar100(tmp_path)
    return tmp_path


def batch(root, name):
    return root / "cifar-10-batches-py" / name


def check(dataset, names, labels):
    assert dataset.labels.tolist() == list(labels)
    for index, (sample, name) in enumerate(zip(as_stored(dataset), names, strict=True)):
        assert sample["index"] == index
        assert np.array_equal(sample["image"].numpy().transpose(1, 2, 0), tiny.drawing(name, 32, 32))


def rows(names):
    return [f"{name}/{row}" for name in names for row in range(len(tiny.CIFAR10_LABELS[name]))]


def labels(names):
    return [label for name in names for label in tiny.CIFAR10_LABELS[name]]


@pytest.mark.parametrize(("split", "names"), [("train", BATCHES), ("val", ["test_batch"]), ("test", ["test_batch"])])
def test_images_and_labels_of_cifar_10_are_the_batches(root, split, names):
    check(CIFAR10(str(root)).make_set(split), rows(names), labels(names))


@pytest.mark.parametrize(("split", "file"), [("train", "train"), ("val", "test"), ("test", "test")])
def test_images_and_fine_labels_of_cifar_100_are_the_files(root, split, file):
    fine = [label for label, _ in tiny.CIFAR100_LABELS[file]]
    check(CIFAR100(str(root)).make_set(split), [f"{file}/{row}" for row in range(len(fine))], fine)


def test_the_classes_are_those_of_the_lists():
    assert CIFAR10.classes == tiny.CIFAR10_CLASSES
    assert CIFAR100.classes == tiny.CIFAR100_CLASSES


@pytest.mark.parametrize("names", [BATCHES[:1], BATCHES[3:], ["data_batch_2", "data_batch_4"]])
def test_the_batches_that_are_there_are_read(root, names):
    for name in set(BATCHES) - set(names):
        batch(root, name).unlink()
    check(CIFAR10(str(root)).make_set("train"), rows(names), labels(names))


@pytest.mark.parametrize("how", ["cut", "empty", "page", "missing"])
def test_the_lists_of_names_are_not_needed(root, how):
    for path in (batch(root, "batches.meta"), root / "cifar-100-python" / "meta"):
        path.unlink() if how == "missing" else damage(path, how)
    assert len(CIFAR10(str(root)).make_set("train")) == 20
    assert len(CIFAR100(str(root)).make_set("train")) == 8


def test_a_batch_may_be_pickled_by_any_python_and_its_rows_may_be_few(root):
    content = {"data": tiny._planes("test_batch", 2), "labels": np.array([3, 8])}
    batch(root, "test_batch").write_bytes(pickle.dumps(content))
    check(CIFAR10(str(root)).make_set("val"), ["test_batch/0", "test_batch/1"], [3, 8])


@pytest.mark.parametrize("how", ["cut", "empty", "page"])
def test_a_damaged_batch_is_named(root, how):
    damage(batch(root, "data_batch_3"), how)
    with pytest.raises(DataError, match=one_line(batch(root, "data_batch_3"), "broken", "fetch it again")):
        CIFAR10(str(root)).make_set("train")
    assert len(CIFAR10(str(root)).make_set("val")) == 5


def test_another_pickle_is_named(root):
    batch(root, "test_batch").write_bytes(pickle.dumps({"x": 1}))
    with pytest.raises(DataError, match=one_line(batch(root, "test_batch"), "another format", "data")):
        CIFAR10(str(root)).make_set("val")


def test_one_set_is_not_taken_for_the_other(root):
    (root / "cifar-100-python" / "train").write_bytes(batch(root, "data_batch_1").read_bytes())
    with pytest.raises(DataError, match=one_line(root / "cifar-100-python" / "train", "fine_labels")):
        CIFAR100(str(root)).make_set("train")


def test_a_batch_with_a_label_less_is_told(root):
    content = {"data": tiny._planes("test_batch", 3), "labels": [3, 8]}
    batch(root, "test_batch").write_bytes(pickle.dumps(content))
    with pytest.raises(DataError, match=one_line(root, "3 images and 2 labels", "fetch")):
        CIFAR10(str(root)).make_set("val")


@pytest.mark.parametrize(("split", "name"), [("train", "data_batch_1"), ("val", "test_batch")])
def test_a_root_without_batches_is_told(root, split, name):
    folder = root / "cifar-10-batches-py"
    with pytest.raises(DataError, match=one_line(folder / folder.name / name, "not found", f"hold {folder.name}/")):
        CIFAR10(str(folder)).make_set(split)


class Hostile:
    """Runs a command when it is unpickled."""

    def __init__(self, victim):
        self.victim = victim

    def __reduce__(self):
        return open, (str(self.victim), "w")


def by_hand(kind, raw):
    """A batch of one image whose array is of a type, and of bytes, of somebody's choice."""

    def text(value):
        return b"X" + struct.pack("<I", len(value)) + value.encode()

    state = b"(K\x03" + text("|") + b"NNN" + struct.pack("<cici", b"J", -1, b"J", -1) + b"K\x00tb"
    dtype = b"cnumpy\ndtype\n(" + text(kind) + b"\x89\x88tR" + state
    made = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tC\x01btR"
    filled = b"(K\x01(" + struct.pack("<ci", b"J", 3072) + b"t" + dtype + b"\x89B" + struct.pack("<I", len(raw)) + raw
    return b"\x80\x03}(" + text("data") + made + filled + b"tb" + text("labels") + b"]K\x00au."


@pytest.mark.parametrize("kind", ["O8", "V8", "f8"])
def test_an_array_cannot_hold_pointers(root, kind):
    """NumPy's own, told so, would follow them."""
    path = batch(root, "test_batch")
    path.write_bytes(by_hand("u1", bytes(3072)))
    assert len(CIFAR10(str(root)).make_set("val")) == 1
    path.write_bytes(by_hand(kind, b"A" * 8 * 3072))
    with pytest.raises(DataError, match=one_line("test_batch", f"array of {kind}", "fetch it again")):
        CIFAR10(str(root)).make_set("val")


@pytest.mark.parametrize("protocol", range(6))
def test_any_protocol_is_read(root, protocol):
    path = batch(root, "test_batch")
    before = CIFAR10(str(root)).make_set("val")
    content = pickle.loads(path.read_bytes(), encoding="latin1")
    path.write_bytes(pickle.dumps(content, protocol))
    assert torch.equal(CIFAR10(str(root)).make_set("val").images, before.images)


def test_a_pickle_that_names_code_is_refused_and_does_not_run(root, tmp_path):
    path, victim = batch(root, "test_batch"), tmp_path / "created"
    content = pickle.loads(path.read_bytes(), encoding="latin1")
    path.write_bytes(pickle.dumps({**content, "extra": Hostile(victim)}, protocol=2))
    with pytest.raises(DataError, match=one_line("test_batch", "open, which is no array", "fetch it again")):
        CIFAR10(str(root)).make_set("val")
    assert not victim.exists()
    pickle.loads(path.read_bytes(), encoding="latin1")["extra"].close()  # the plant is a working one
    assert victim.exists()

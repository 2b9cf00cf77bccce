import copy
import errno
import json
import multiprocessing
import os
import pickle
import shutil
import time
from dataclasses import fields

import numpy as np
import pytest
from coco_content import LABELS, SIZE, SQUARE, record, small_content
from coco_reference import reference_label_map
from tiny_data import write_coco

from datamodules import cache, coco_annotations
from datamodules.coco_annotations import Annotations, read_annotations
from datamodules.images import DataError


@pytest.fixture
def content():
    return small_content()


@pytest.fixture
def read(tmp_path):
    """Reads content, a text or bytes as an annotation file, whose cache it shares with no other content."""

    def read(content):
        if not isinstance(content, bytes):
            content = (content if isinstance(content, str) else json.dumps(content)).encode()
        path = tmp_path / "instances.json"
        path.write_bytes(content)
        return read_annotations(path, LABELS, tmp_path / f"cache_{cache.digest(path)}")

    return read


@pytest.fixture(params=["train", "val"])
def file(request, tmp_path):
    """An annotation file of the stand-in, its cache's folder and its content."""
    write_coco(tmp_path)
    path = tmp_path / "annotations" / f"instances_{request.param}2017.json"
    return path, tmp_path / "cache", json.loads(path.read_text())


def same(one, other):
    return all(np.array_equal(getattr(one, field.name), getattr(other, field.name)) for field in fields(Annotations))


def check_label_maps(annotations, content):
    assert len(annotations.ids) == len(content["images"])
    for i, image_id in enumerate(annotations.ids):
        assert np.array_equal(annotations.label_map(i), reference_label_map(content, image_id)), image_id


# What is read


def test_label_maps_equal_those_built_another_way_when_read_kept_and_not_kept(file):
    path, folder, content = file
    for _ in ("read", "kept"):
        check_label_maps(read_annotations(path, LABELS, folder), content)
    in_the_way = folder / "annotations" / "ids.npy"
    check_label_maps(read_annotations(path, LABELS, in_the_way), content)


def test_images_are_in_the_order_of_their_ids_with_names_sizes_and_areas(file):
    path, folder, content = file
    annotations = read_annotations(path, LABELS, folder)
    images = sorted(content["images"], key=lambda image: image["id"])
    assert annotations.ids.tolist() == [image["id"] for image in images]
    assert [name.decode() for name in annotations.names] == [image["file_name"] for image in images]
    assert annotations.sizes.tolist() == [[image["height"], image["width"]] for image in images]
    wanted = {category["id"] for category in content["categories"] if category["name"] in LABELS}
    for image, area in zip(images, annotations.areas, strict=True):
        of_it = [a for a in content["annotations"] if a["image_id"] == image["id"] and a["category_id"] in wanted]
        assert area == pytest.approx(sum(a["area"] for a in of_it))


def test_only_the_categories_asked_for_are_drawn_with_the_labels_asked_for(read, content, tmp_path):
    content["annotations"].append(record([[10, 2, 15, 2, 15, 9, 10, 9]], category_id=22))
    read(content)
    for labels, expected in (
        ({"person": 3}, {0, 3}),
        ({"elephant": 9}, {0, 9}),
        ({"person": 9, "elephant": 9}, {0, 9}),
    ):
        annotations = read_annotations(tmp_path / "instances.json", labels, tmp_path / "-".join(labels))
        assert set(np.unique(annotations.label_map(0))) == expected


def test_images_without_annotations_are_background(read, content):
    annotations = read({**content, "annotations": []})
    assert annotations.label_map(0).shape == SIZE and not annotations.label_map(1).any()
    assert annotations.areas.tolist() == [0, 0]


def test_a_file_without_images_is_read(read, content):
    assert len(read({**content, "images": [], "annotations": []}).ids) == 0


def test_unused_keys_may_be_missing_or_odd(read, content):
    expected = read(content).label_map(0)
    odd = {"iscrowd": "x", "bbox": None, "score": float("nan"), "attributes": {"segmentation": 5}, "is_crowd": 0}
    content["annotations"][0] |= odd
    content["images"][0] |= {"license": None, "segmentation": [[1]]}
    assert np.array_equal(read(content).label_map(0), expected)


def test_an_empty_segmentation_covers_nothing(read, content):
    content["annotations"] = [record([])]
    annotations = read(content)
    assert not annotations.label_map(0).any() and annotations.areas[0] == 40


def test_polygons_reaching_over_the_border_are_cut_there(read, content):
    outside = [[-9, -5, 30, -5, 30, 20, -9, 20], [-9, 1, -2, 1, -2, 9]]
    for segmentation in ([outside[0]], [outside[1]], outside):
        content["annotations"] = [record(segmentation)]
        assert np.array_equal(read(content).label_map(0), reference_label_map(content, 7))


def test_ids_may_be_negative_or_large(read, content):
    content["images"][0]["id"], content["annotations"][0]["id"] = -(2**62), 10**30
    assert read(content).ids.tolist() == [-(2**62), 7]


@pytest.mark.parametrize("name", ["Grüße 世界.jpg", "below/a.jpg", "a b.jpg", "x" * 200 + ".jpg"])
def test_file_names_may_be_of_any_script_and_length(read, content, name):
    content["images"][1]["file_name"] = name
    assert read(content).names[0].decode() == name


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_any_encoding_of_json_is_read(read, content, encoding):
    text = json.dumps(content, ensure_ascii=False)
    assert read(text.encode(encoding)).label_map(0).any()


# What is kept


@pytest.fixture
def parses(monkeypatch):
    """Grows by the path of each annotation file that is parsed."""
    parsed, parse = [], coco_annotations.read_records
    monkeypatch.setattr(
        coco_annotations, "read_records", lambda path, *how: (parsed.append(path), parse(path, *how))[1]
    )
    return parsed


def test_a_file_is_parsed_once_and_its_arrays_lie_in_files(file, parses):
    path, folder, _ = file
    for _ in range(3):
        annotations = read_annotations(path, LABELS, folder)
        assert all(isinstance(getattr(annotations, field.name), np.memmap) for field in fields(Annotations))
    assert len(parses) == 1


DAMAGES = {
    "absent": None,
    "empty": lambda data: b"",
    "truncated": lambda data: data[:-1],
    "header": lambda data: data[:40],
    "text": lambda data: b"no array",
    "zeros": lambda data: bytes(len(data)),
    "archive": lambda data: b"PK\x03\x04" + data[4:],
    "shape": lambda data: data.replace(b"'shape'", b"'shapf'"),
    "bits at the end": lambda data: data[:-3] + bytes(255 - byte for byte in data[-3:]),
    "brackets": lambda data: data[:60] + b"((((" + data[64:],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_cache_is_built_again(tmp_path, parses, damage):
    write_coco(tmp_path)
    path, folder = tmp_path / "annotations" / "instances_train2017.json", tmp_path / "cache"
    content = json.loads(path.read_text())
    read_annotations(path, LABELS, folder)
    for number, field in enumerate(fields(Annotations), start=1):
        kept = folder / "annotations" / f"{field.name}.npy"
        data = kept.read_bytes()
        kept.unlink()
        if damage != "absent":
            kept.write_bytes(DAMAGES[damage](data))
        check_label_maps(read_annotations(path, LABELS, folder), content)
        assert len(parses) == 1 + number and kept.read_bytes() == data, "whole again"


def test_annotations_outlive_their_cache(file):
    path, folder, content = file
    annotations = read_annotations(path, LABELS, folder)
    shutil.rmtree(folder)
    check_label_maps(annotations, content)
    check_label_maps(pickle.loads(pickle.dumps(annotations)), content)
    check_label_maps(read_annotations(path, LABELS, folder), content)


def refuse(*_, **__):
    raise OSError(errno.EROFS, "Read-only file system")


@pytest.mark.parametrize("what", ["os.replace", "pathlib.Path.mkdir", "numpy.save", "os.open"])
def test_annotations_are_read_where_nothing_can_be_kept(file, monkeypatch, what):
    """A full disk, a read-only folder, a folder that cannot be locked."""
    path, folder, content = file
    monkeypatch.setattr(what, refuse)
    check_label_maps(read_annotations(path, LABELS, folder), content)
    monkeypatch.undo()
    assert not list(folder.rglob("*.npy*"))


def test_a_file_in_place_of_the_cache_is_no_obstacle(file):
    path, folder, content = file
    folder.write_text("no folder")
    check_label_maps(read_annotations(path, LABELS, folder), content)
    assert folder.read_text() == "no folder"


def test_a_broken_file_leaves_nothing_in_the_cache(read, content, tmp_path):
    content["annotations"].append(record([[1]], id=101))
    for _ in range(2):
        with pytest.raises(DataError, match="annotation 101 "):
            read(content)
    assert not list(tmp_path.rglob("*.npy"))


def test_of_two_processes_one_reads_the_file_and_the_other_waits(file, monkeypatch):
    path, folder, content = file
    parse = coco_annotations.read_records

    def slow(path, *how):
        with (path.parent / "parses").open("a") as log:
            log.write(f"{os.getpid()}\n")
        time.sleep(0.2)
        return parse(path, *how)

    monkeypatch.setattr(coco_annotations, "read_records", slow)
    context = multiprocessing.get_context("fork")
    barrier, answers = context.Barrier(2), context.SimpleQueue()

    def work():
        barrier.wait()
        annotations = read_annotations(path, LABELS, folder)
        answers.put([annotations.label_map(i) for i in range(len(annotations.ids))])

    processes = [context.Process(target=work, daemon=True) for _ in range(2)]
    for process in processes:
        process.start()
    for maps in (answers.get(), answers.get()):
        for image_id, label in zip(sorted(image["id"] for image in content["images"]), maps, strict=True):
            assert np.array_equal(label, reference_label_map(content, image_id))
    for process in processes:
        process.join()
    assert len((path.parent / "parses").read_text().split()) == 1


def test_a_process_that_waits_in_vain_reads_for_itself(file, monkeypatch):
    """The one that reads may hang, or have died on another machine."""
    path, folder, content = file
    lock = coco_annotations.FileLock
    monkeypatch.setattr(coco_annotations, "FileLock", lambda path, timeout: lock(path, timeout=0.05))
    folder.mkdir()
    with lock(folder / "lock"):
        check_label_maps(read_annotations(path, LABELS, folder), content)


# What processes are sent


def many(content, instances):
    content["annotations"] = [record([SQUARE * 5], id=number) for number in range(instances)]
    return content


def test_a_worker_is_sent_the_place_of_the_arrays_and_not_the_arrays(read, content):
    annotations = read(many(content, 1000))
    assert annotations.numbers.nbytes > 100_000
    sent = pickle.dumps(annotations)
    assert len(sent) < 1000
    assert same(pickle.loads(sent), annotations) and isinstance(pickle.loads(sent).numbers, np.memmap)
    assert same(copy.deepcopy(annotations), annotations)


def test_a_worker_is_sent_arrays_that_lie_nowhere(read, content, monkeypatch):
    monkeypatch.setattr("os.replace", refuse)
    annotations = read(many(content, 10))
    copied = pickle.loads(pickle.dumps(annotations))
    assert same(copied, annotations)
    assert np.array_equal(copied.label_map(0), annotations.label_map(0))

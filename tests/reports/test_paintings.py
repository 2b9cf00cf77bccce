import json
import os

import pytest
from PIL import Image

from reports.gallery import save_picture
from reports.paintings import Seen, Task, beside, is_picture, paintings, read_task


def paint(folder, *names):
    for name in names:
        save_picture(Image.new("RGB", (4, 4)), folder / name)
    return folder


TASK = Task(
    settings={"constraint": {"class": "L2", "eps": 5.0}, "steps": 2},
    classes=["cat", "dog"],
    samples={
        "000003": Seen(label="cat", predictions={"epoch_0000.png": "dog 93 %"}),
        "000004_place_0": Seen(classes=[0, 1, 255]),
    },
    notes=["guided: ..."],
)


def test_what_is_written_is_read(tmp_path):
    TASK.write(tmp_path)
    assert read_task(tmp_path) == TASK
    assert os.listdir(tmp_path) == ["task.json"]


def test_a_gallery_of_an_older_version_says_nothing(tmp_path):
    assert read_task(tmp_path) == Task()


@pytest.mark.parametrize("new", [None, 3, "text", [], [3], {}, {"a": 3}, {"000003": {"label": 3}}])
@pytest.mark.parametrize("key", ["settings", "classes", "samples", "notes"])
def test_what_was_changed_is_read_or_told(tmp_path, key, new):
    TASK.write(tmp_path)
    content = json.loads((tmp_path / "task.json").read_text()) | {key: new}
    (tmp_path / "task.json").write_text(json.dumps(content))
    try:
        found = read_task(tmp_path)
    except ValueError as error:
        assert "changed" in str(error)
        return
    assert getattr(found, key) == new


def test_a_task_of_an_older_version_has_no_notes(tmp_path):
    TASK.write(tmp_path)
    content = json.loads((tmp_path / "task.json").read_text())
    del content["notes"]
    (tmp_path / "task.json").write_text(json.dumps(content))
    found = read_task(tmp_path)
    assert found.notes == [] and found.samples == TASK.samples


@pytest.mark.parametrize("content", ["", "{", "[]", "3", "[" * 100_000])
def test_what_is_no_task_is_told(tmp_path, content):
    (tmp_path / "task.json").write_text(content)
    with pytest.raises(ValueError):
        read_task(tmp_path)


def test_paintings_go_by_the_epochs_that_are_done(tmp_path):
    paint(tmp_path, "epoch_0010.png", "epoch_0000.png", "epoch_12345.png", "prediction_0010.png", "painting.png")
    assert paintings(tmp_path) == [
        ("result", tmp_path / "painting.png", None),
        ("epoch 1", tmp_path / "epoch_0000.png", None),
        ("epoch 11", tmp_path / "epoch_0010.png", tmp_path / "prediction_0010.png"),
        ("epoch 12346", tmp_path / "epoch_12345.png", None),
    ]


def test_an_evaluation_of_an_older_version_has_no_epoch(tmp_path):
    assert paintings(paint(tmp_path, "epoch_0000.png"), dated=False) == [("result", tmp_path / "epoch_0000.png", None)]


@pytest.mark.parametrize(
    "name",
    [
        "epoch_x.png", "epoch_.png", "epoch_-001.png", "epoch_1e3.png", "epoch_0001 (copy).png",
        "epoch_0001 - Kopie.png",
        "epoch_\N{ARABIC-INDIC DIGIT ONE}000.png", f"epoch_{'9' * 200}.png", "Epoch_0001.png",
        "epoch_0001.PNG", "._epoch_0001.png",
        ".epoch_0001.png.77", "painting-2.png", "task.json",
    ],
)  # fmt: skip
def test_other_names_are_passed_over(tmp_path, name):
    assert paintings(paint(tmp_path, name)) == []


def test_what_is_no_picture_is_passed_over(tmp_path):
    (tmp_path / "epoch_0000.png").mkdir()
    (tmp_path / "epoch_0001.png").write_text("")
    (tmp_path / "epoch_0002.png").write_text("a text")
    (tmp_path / "epoch_0003.png").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "epoch_0004.png")
    (tmp_path / "epoch_0005.png").symlink_to(tmp_path / "epoch_0005.png")
    paint(tmp_path, "epoch_0006.png")
    (tmp_path / "prediction_0006.png").write_text("")
    assert paintings(tmp_path) == [("epoch 7", tmp_path / "epoch_0006.png", None)]


def test_a_file_that_is_too_large_is_no_picture(tmp_path):
    path = paint(tmp_path, "a.png") / "a.png"
    assert is_picture(path)
    os.truncate(path, 2**26 + 1)
    assert not is_picture(path)


def test_what_belongs_to_the_last_painting_stands_beside_it(tmp_path):
    paint(tmp_path, "original.png", "start.png", "epoch_0000.png", "epoch_0001.png", "prediction_0001.png")
    paint(tmp_path, "bicubic_0000.png", "bicubic_0001.png", "most.png", "way_0001.png", "Odd name.png")
    Image.new("RGB", (4, 4)).save(tmp_path / "way_0001.gif")
    (tmp_path / "least_0001.png").write_bytes(b"no picture")
    found = [(kind, path.name) for kind, path in beside(tmp_path)]
    assert found == [("bicubic", "bicubic_0001.png"), ("most", "most.png"), ("way", "way_0001.gif")]

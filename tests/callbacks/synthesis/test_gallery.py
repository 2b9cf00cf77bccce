import json

import pytest
import torch
from PIL import Image

from attacks import L2, Box
from callbacks import Generation, Inversion, LargeEps
from callbacks.synthesis.gallery import Exhibition, collect, epochs_of, settings, tell
from callbacks.synthesis.painting import Painting
from reports.paintings import read_task

IMAGE = torch.zeros(1, 3, 4, 4)


def show(folder, epochs, logits, label, classes=()):
    exhibition = Exhibition(folder, {"steps": 2}, list(classes), epochs)
    painting = Painting("", IMAGE, IMAGE, IMAGE, torch.as_tensor(logits)[None])
    exhibition.add(["000003"], painting, torch.as_tensor(label)[None])
    exhibition.finish()
    return collect(folder)


def test_of_image_labels_the_predicted_class_and_its_probability_are_kept_epoch_by_epoch(tmp_path):
    show(tmp_path, 1, [0.0, 0.0], 1, ["cat", "dog"])
    exhibition = show(tmp_path, 8, [0.0, 100.0], 1, ["cat", "dog"])
    seen = read_task(tmp_path).samples["000003"]
    assert seen.label == "dog"
    assert seen.predictions == {"epoch_0000.png": "cat 50 %", "epoch_0007.png": "dog 100 %"}
    assert exhibition.captions == ["000003 (dog): original, start, result (dog 100 %)"]
    assert sorted(path.name for path in (tmp_path / "000003").iterdir()) == [
        "epoch_0000.png", "epoch_0007.png", "original.png", "start.png",
    ]  # fmt: skip


def test_of_label_maps_the_prediction_is_a_picture_and_the_classes_seen_in_any_epoch_are_kept(tmp_path):
    label = torch.zeros(4, 4, dtype=torch.long)
    label[0] = 255
    for epochs, seen in ((1, 2), (2, 1)):
        logits = torch.zeros(3, 4, 4)
        logits[seen] = 1
        exhibition = show(tmp_path, epochs, logits, label)
    with Image.open(tmp_path / "000003" / "prediction_0001.png") as picture:
        assert set(picture.getdata()) == {1}
    assert read_task(tmp_path).samples["000003"].classes == [0, 1, 2, 255]
    assert exhibition.strips[0].size == (4 * 4 + 3 * 2, 4)


def test_where_the_epoch_is_not_known_none_is_claimed(tmp_path):
    show(tmp_path, None, torch.zeros(3, 4, 4), torch.zeros(4, 4, dtype=torch.long))
    assert {path.name for path in (tmp_path / "000003").iterdir()} == {
        "label.png", "original.png", "painting.png", "prediction.png", "start.png",
    }  # fmt: skip


def test_what_several_processes_painted_is_brought_together_in_order(tmp_path):
    for rank, (name, score) in enumerate((("000007", 1.0), ("000002", 3.0))):
        exhibition = Exhibition(tmp_path, {"steps": rank}, ["cat", "dog"], 1)
        logits = torch.tensor([[0.0, 100.0]])
        painting = Painting("", IMAGE, IMAGE, IMAGE + rank, logits, {"error": torch.tensor([score])})
        exhibition.add([name], painting, torch.tensor([rank]))
        exhibition.finish(rank)
    found = collect(tmp_path, processes=2)
    assert [caption[:12] for caption in found.captions] == ["000002 (dog)", "000007 (cat)"]
    assert [strip.getpixel((13, 1)) for strip in found.strips] == [(255, 255, 255), (0, 0, 0)]
    assert found.scores == {"error": [1.0, 3.0]}
    assert list(read_task(tmp_path).samples) == ["000002", "000007"]
    assert not list(tmp_path.glob(".share*"))


@pytest.mark.parametrize("where", ["result", "logits"])
def test_a_picture_that_met_nan_is_told_and_left_out_and_its_scores_with_it(tmp_path, where):
    image = torch.zeros(3, 3, 4, 4)
    painting = Painting("", image, image, image.clone(), torch.zeros(3, 2), {"error": torch.tensor([1.0, 2, 3])})
    getattr(painting, where)[1] = torch.nan
    exhibition = Exhibition(tmp_path / "generation", {}, [], 1)
    with pytest.warns(UserWarning, match="generation: the picture of sample b is left out: the network met NaN"):
        exhibition.add(["a", "b", "c"], painting, torch.zeros(3, dtype=torch.long))
    exhibition.finish()
    found = collect(tmp_path / "generation")
    assert found.scores == {"error": [1.0, 3.0]}
    assert sorted(path.name for path in (tmp_path / "generation").glob("*/")) == ["a", "c"]


def test_the_way_there_is_kept_as_a_strip_and_as_an_animation(tmp_path):
    way = [IMAGE + 0.5, IMAGE + 1]
    exhibition = Exhibition(tmp_path, {}, [], 3)
    exhibition.add(["a"], Painting("", IMAGE, IMAGE, way[-1], torch.zeros(1, 2), way=way))
    with Image.open(tmp_path / "a" / "way_0002.png") as strip, Image.open(tmp_path / "a" / "way_0002.gif") as film:
        assert [strip.getpixel((left, 1))[0] for left in (1, 7, 13)] == [0, 128, 255]
        assert film.n_frames == 3


def test_what_is_told_is_kept_until_something_else_is(tmp_path):
    show(tmp_path, 1, [0.0, 0.0], 1)
    tell(tmp_path, ["one", "two"])
    show(tmp_path, 2, [0.0, 0.0], 1)
    assert read_task(tmp_path).notes == ["one", "two"]
    tell(tmp_path, [])
    task = read_task(tmp_path)
    assert task.notes == [] and "000003" in task.samples


def test_tables_lie_beside_the_pictures(tmp_path):
    exhibition = Exhibition(tmp_path, {}, [], 3)
    rows = [{"randomized": "fc", "rank": 0.5}]
    exhibition.add(["000003"], Painting("", IMAGE, IMAGE, IMAGE, torch.zeros(1, 2), tables={"randomization": [rows]}))
    assert json.loads((tmp_path / "000003" / "randomization_0002.json").read_text()) == rows


def test_a_damaged_file_of_an_earlier_epoch_stops_nothing(tmp_path):
    show(tmp_path, 1, [0.0, 1.0], 1)
    (tmp_path / "task.json").write_text("{")
    show(tmp_path, 2, [0.0, 100.0], 1)
    assert read_task(tmp_path).samples["000003"].predictions == {"epoch_0001.png": "class 1 100 %"}


def test_settings_are_what_the_task_was_told():
    task = Generation(L2(30) & Box(), steps=40, step_size="8/255", samples=3)
    told = settings(task)
    assert told == json.loads(json.dumps(told))
    assert told["constraint"]["first"] == {"class": "L2", "eps": 30.0}
    assert (told["steps"], told["step_size"]) == (40, 8 / 255)
    assert set(told) == {"constraint", "steps", "step_size", "targets"}
    assert settings(LargeEps(L2(1), targets=[2]))["targets"] == [2]
    told = settings(Inversion(layer="fc", fake_relu=True))
    assert told["layer"] == "fc" and told["fake_relu"] and list(told)[:3] == ["constraint", "steps", "step_size"]
    assert set(settings(Inversion())) == {"constraint", "steps", "step_size"}, "what is not chosen goes without saying"


@pytest.mark.parametrize("content", [b"", b"text", None, {"state_dict": {}}, {"loops": 3}])
def test_what_is_no_checkpoint_of_a_run_tells_no_epochs(tmp_path, content):
    path = tmp_path / "some.ckpt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    assert epochs_of(path) is None

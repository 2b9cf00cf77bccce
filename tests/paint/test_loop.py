from pathlib import Path

import pytest
import torch
from one_line import one_line
from PIL import Image
from saved_run import colour
from tiny_data import picture
from torch import nn

from callbacks import LargeEps
from command_line import UserError
from paint.files import Picture
from paint.loop import Painter, Readable
from paint.progress import Bars
from paint.record import Record
from trained_network import Trained


class Multiples(nn.Module):
    """Takes only images whose sides are multiples of 16, of 32 pixels or more."""

    def __init__(self):
        super().__init__()
        self.model = colour()

    def forward(self, image):
        if image.shape[-1] % 16 or image.shape[-2] % 16:
            raise ValueError("sides must be\nmultiples of 16")
        if min(image.shape[2:]) < 32:
            raise RuntimeError("Output size is too small")
        return self.model(image)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SADDLE_DEBUG", raising=False)


def save(name, height=40, width=48, seed=0):
    Image.fromarray(picture(seed, height, width)).save(f"{name}.png")
    return Picture(name, Path(f"{name}.png"), (height, width))


def painter(network=None, task=None, size=None):
    trained = Trained("mine", (network or colour()).eval(), {}, ["red", "green", "blue"], size)
    return Painter(trained, task or LargeEps(1.0, 2, 0.5), size, torch.device("cpu"), 0)


def paint(found, pictures, batch_size=4):
    record = Record(Path("out"), {}, {}, ["mine"])
    found.first_look(pictures)
    with Bars(len(pictures)) as bars:
        found.paint(pictures, batch_size, record, bars)
    return record


def test_sides_are_rounded_to_what_the_network_takes():
    found = painter(Multiples())
    assert found.fitting(save("a", 40, 70)) == (32, 64), "the nearest multiples of 16; Python rounds halves to even"
    assert found.fitting(save("b", 48, 64)) == (48, 64)
    (result,) = paint(found, [save("a", 40, 70)]).pictures["a"].painted["mine"]
    with Image.open(f"out/{result.files[0]}") as written:
        assert written.size == (70, 40)


def test_a_picture_that_is_too_small_is_told_and_the_others_are_painted(capsys):
    record = paint(painter(Multiples()), [save("small", 16, 16), save("large", 48, 48)])
    assert set(record.pictures) == {"large"}
    told = "small.png: mine cannot take 16 x 16 pixels: RuntimeError: Output size is too small"
    assert record.skipped == {"small": told} and capsys.readouterr().err == f"skipped: {told}\n"
    with pytest.raises(UserError, match=one_line("none of the 1 pictures can be painted: small.png: mine cannot take")):
        painter(Multiples()).first_look([save("small", 16, 16)])


def test_the_short_side_becomes_the_working_size():
    assert painter(size=20).fitting(save("a", 40, 50)) == (20, 25)
    assert painter(size=20).fitting(save("a", 51, 40)) == (25, 20)
    assert painter(size=80).fitting(save("a", 40, 50)) == (80, 100)
    assert painter(size=(30, 10)).fitting(save("a", 40, 50)) == (30, 10)
    assert painter().fitting(save("a", 40, 50)) == (40, 50)


def test_names_of_classes_that_are_not_the_networks_are_not_used():
    found = painter(colour(4))
    found.first_look([save("a")])
    assert found.task.classes == [] and (found.outputs, found.dense) == (4, False)
    found = painter()
    found.first_look([save("a")])
    assert found.task.classes == ["red", "green", "blue"]


class Picky(LargeEps):
    """Cannot paint dark pictures."""

    def __init__(self):
        super().__init__(1.0, 2, 0.5)
        self.calls = []

    def synthesize(self, network, batch):
        self.calls.append(len(batch["image"]))
        if batch["image"].mean((1, 2, 3)).min() < 0.1:
            raise RuntimeError("too\ndark")
        return super().synthesize(network, batch)


def test_one_picture_that_fails_does_not_take_its_batch_with_it():
    pictures = [save(name, seed=number) for number, name in enumerate("abcd")]
    Image.new("RGB", (48, 40), "black").save("c.png")
    task = Picky()
    record = paint(painter(task=task), pictures)
    assert set(record.pictures) == {"a", "b", "d"} and record.skipped == {"c": "c.png: mine: too dark"}
    assert task.calls == [4, 1, 1, 1, 1]


def test_where_memory_does_not_suffice_one_line_says_what_helps(monkeypatch):
    def full(self, network, batch):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(LargeEps, "synthesize", full)
    with pytest.raises(UserError, match=one_line("out of memory: lower --batch_size or --size")):
        paint(painter(), [save("a")])


def test_pictures_of_one_size_go_together_and_a_network_in_float32_gets_float32():
    seen = []

    class Watching(LargeEps):
        def synthesize(self, network, batch):
            seen.append((tuple(batch["image"].shape), batch["image"].dtype))
            return super().synthesize(network, batch)

    pictures = [save("a", 40, 48), save("b", 48, 40), save("c", 40, 48, 1), save("d", 40, 48, 2)]
    paint(painter(colour().float(), Watching(1.0, 2, 0.5)), pictures, batch_size=2)
    sizes = [(2, 3, 40, 48), (1, 3, 40, 48), (1, 3, 48, 40)]
    assert seen == [(size, torch.float32) for size in sizes]


def test_a_task_may_look_at_all_pictures_that_can_be_read():
    looked = []

    class Looking(LargeEps):
        def look_at(self, data, network):
            looked.extend(data[index]["image"].shape for index in range(len(data)))

    pictures = [save("a", 40, 48), save("b", 20, 30), save("bad")]
    Path("bad.png").write_text("no picture")
    paint(painter(task=Looking(1.0, 2, 0.5), size=20), pictures)
    assert looked == [(3, 20, 24), (3, 20, 30)]
    assert len(Readable(painter(), pictures)) == 2

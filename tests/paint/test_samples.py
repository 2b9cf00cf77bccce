import json

import numpy as np
import pytest
import torch
from one_line import one_line
from PIL import Image

from datamodules import DataError, Shapes
from paint.samples import write_grey, write_samples


def test_samples_of_label_maps_are_written_with_them(tmp_path):
    data = Shapes(val_samples=6, size=16).make_set("val")
    images, labels = write_samples(data, 3, tmp_path)
    assert sorted(path.name for path in images.iterdir()) == ["000000.png", "000002.png", "000004.png"]
    with Image.open(images / "000002.png") as image, Image.open(labels / "000002.png") as label:
        shown = np.asarray(image).transpose(2, 0, 1) / 255
        assert np.abs(shown - data[2]["image"].numpy()).max() <= 0.5 / 255 + 1e-6
        assert torch.equal(torch.from_numpy(np.array(label)).long(), data[2]["label"])


def test_classes_of_images_are_written_as_predict_does(tmp_path):
    data = Shapes("class", val_samples=3, size=16).make_set("val")
    images, labels = write_samples(data, 8, tmp_path)
    assert len(list(images.iterdir())) == 3
    assert json.loads(labels.read_text()) == {f"{i:06d}": data[i]["label"] for i in range(3)}


def test_an_empty_set_is_told(tmp_path):
    with pytest.raises(DataError, match=one_line("--samples")):
        write_samples([], 3, tmp_path)


def test_a_label_map_that_was_drawn_gets_a_grey_picture_of_its_size(tmp_path):
    (tmp_path / "maps" / "below").mkdir(parents=True)
    Image.new("L", (7, 5)).save(tmp_path / "maps" / "below" / "car.png")
    images = write_grey(tmp_path / "maps", tmp_path / "out")
    with Image.open(images / "below" / "car.png") as picture:
        assert (picture.size, picture.getpixel((3, 3))) == ((7, 5), (128, 128, 128))
    images = write_grey(tmp_path / "maps" / "below" / "car.png", tmp_path / "alone")
    assert [path.name for path in images.iterdir()] == ["car.png"]
    with pytest.raises(DataError, match=one_line("no label maps")):
        write_grey(tmp_path / "nowhere", tmp_path / "out")

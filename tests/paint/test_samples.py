import json

import numpy as np
import pytest
import torch
from one_line import one_line
from PIL import Image

from datamodules import DataError, Shapes
from paint.samples import write_samples


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

import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader

from callbacks import Predictions
from datamodules.samples import DataError, UnlabelledImages
from datamodules.transforms import Resize
from lightning_modules import Classifier


def write(folder, name, color, size):
    Image.new("RGB", size, color).save(folder / name)


def loader(folder, size=None):
    return DataLoader(UnlabelledImages(folder, Resize(size).image), 1)


class Brightest(nn.Conv2d):
    """Predicts the brightest channel of each pixel."""

    def __init__(self):
        super().__init__(3, 3, 1, bias=False)
        with torch.no_grad():
            self.weight.copy_(torch.eye(3).view(3, 3, 1, 1))


def test_label_maps_have_the_images_own_size(make_trainer, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    write(photos, "red.png", (200, 0, 0), (20, 12))
    write(photos, "blue.jpg", (0, 0, 200), (9, 31))
    make_trainer(callbacks=[Predictions()]).predict(Classifier(Brightest()), loader(photos, size=16))
    for name, size, label in (("red", (20, 12), 0), ("blue", (9, 31), 2)):
        with Image.open(tmp_path / "predictions" / f"{name}.png") as written:
            assert written.size == size and written.mode == "P"
            assert set(written.tobytes()) == {label}


class Brighter(torch.nn.Module):
    """Class 1 where a picture is bright."""

    def forward(self, image):
        return torch.stack([0.5 - image[:, 0], image[:, 0] - 0.5], 1)


def test_a_prediction_is_scaled_back_about_the_centre_of_its_image(make_trainer, tmp_path):
    """Down to a fifth and up again: each label spreads over its own five pixels."""
    photos = tmp_path / "photos"
    photos.mkdir()
    bright = np.kron(np.array([[0, 1, 0, 1, 1, 0]] * 4, dtype=np.uint8), np.ones((5, 5), dtype=np.uint8))
    Image.fromarray(bright * 255).save(photos / "stripes.png")
    make_trainer(callbacks=[Predictions()]).predict(Classifier(Brighter()), loader(photos, size=(12, 18)))
    with Image.open(tmp_path / "predictions" / "stripes.png") as written:
        found = np.asarray(written)
    assert abs(float((np.arange(30) * (found == bright).all(0)).sum() / (found == bright).all(0).sum()) - 14.5) < 0.5
    assert (found != bright).mean() < 0.1


def test_classes_of_whole_images_are_listed(make_trainer, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    write(photos, "a.png", (200, 0, 0), (8, 8))
    write(photos, "b.png", (0, 200, 0), (8, 8))
    network = nn.Sequential(Brightest(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    make_trainer(callbacks=[Predictions()]).predict(Classifier(network), loader(photos))
    listed = json.loads((tmp_path / "predictions" / "classes.json").read_text())
    assert listed == {str(photos / "a.png"): 0, str(photos / "b.png"): 1}


def test_images_of_one_name_in_two_folders_do_not_overwrite_each_other(make_trainer, tmp_path):
    for folder, color in (("a", (200, 0, 0)), ("b", (0, 0, 200))):
        (tmp_path / "photos" / folder).mkdir(parents=True)
        write(tmp_path / "photos" / folder, "same.png", color, (8, 8))
    make_trainer(callbacks=[Predictions()]).predict(Classifier(Brightest()), loader(tmp_path / "photos"))
    for folder, label in (("a", 0), ("b", 2)):
        with Image.open(tmp_path / "predictions" / folder / "same.png") as written:
            assert set(written.tobytes()) == {label}


def test_images_that_would_share_a_prediction_are_told(tmp_path):
    for name in ("a.png", "a-b.png", "a.jpg"):
        write(tmp_path, name, (0, 0, 0), (8, 8))
    with pytest.raises(DataError, match="a: two images have this name but for their endings; rename one"):
        loader(tmp_path)

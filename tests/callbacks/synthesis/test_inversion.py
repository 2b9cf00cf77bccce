import pytest
import torch
from networks import fcn, linear, per_pixel, seeded, uniform
from one_line import one_line
from torch import nn

from callbacks import Inversion
from callbacks.synthesis.representation import Representation
from lightning_modules import Classifier

SETTINGS = {"steps": 300, "step_size": 0.01}


@pytest.fixture
def batch():
    label = torch.arange(3).view(3, 1, 1).expand(3, 4, 4).clone()
    label[:, :2] = 0
    return {"image": uniform(3, 3, 4, 4), "label": label, "index": torch.tensor([3, 0, 7])}


def orthogonal():
    """A network whose representation is a rotation of the image."""
    turn = seeded(lambda: nn.utils.parametrizations.orthogonal(nn.Linear(48, 48)))
    return nn.Sequential(nn.Flatten(), turn, seeded(lambda: nn.Linear(48, 2))).double()


def convolutional():
    """A network with a dense representation at half the image's size; float64."""
    return seeded(
        lambda: nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.Softplus(), nn.Conv2d(8, 3, 1), nn.Upsample(scale_factor=2)
        )
    ).double()


@pytest.mark.parametrize("start", ["noise", "grey", "image"])
def test_of_an_invertible_network_it_recovers_the_image(batch, start):
    batch["other"] = batch["image"].roll(1, 0)
    (painting,) = Inversion(start=start, **SETTINGS).synthesize(orthogonal(), batch)
    assert (painting.start - batch["image"]).flatten(1).norm(dim=1).min() > 1
    assert (painting.result - batch["image"]).flatten(1).norm(dim=1).max() < 0.02, "two steps"
    assert painting.scores["distance"].max() < 0.01 < 0.2 < painting.scores["distance_start"].min()


def test_the_distance_is_that_of_representations_and_relative(batch):
    network = fcn()
    (painting,) = Inversion(layer="4", steps=3, step_size=0.1).synthesize(network, batch)
    represent = Representation(network.eval(), batch["image"], "4")
    found, wanted = (represent(image)[0].flatten(1) for image in (painting.result, painting.original))
    assert torch.allclose(painting.scores["distance"], (found - wanted).norm(dim=1) / wanted.norm(dim=1))
    assert painting.scores["distance"].lt(painting.scores["distance_start"]).all()


def test_a_judge_measures_in_its_own_representation(batch):
    (painting,) = Inversion(steps=9, step_size=0.1, judge=linear(5)).synthesize(orthogonal(), batch)
    expected = (painting.result - painting.original).flatten(1).norm(dim=1) / painting.original.flatten(1).norm(dim=1)
    assert torch.allclose(painting.scores["judge_distance"], expected), "of a linear network: the image"
    with pytest.raises(ValueError, match=one_line("Sequential: has no last linear map")):
        Inversion(judge=fcn()).check(orthogonal(), batch)


def test_of_a_class_alone_its_pixels_are_recovered_and_no_others_move(batch):
    task = Inversion(start="grey", inside="car", **SETTINGS)
    task.classes = ["road", "car", "tree"]
    (painting,) = task.synthesize(per_pixel(), batch)
    car = batch["label"][:, None] == 1
    assert torch.equal(painting.result[~car.expand(3, 3, 4, 4)], painting.start[~car.expand(3, 3, 4, 4)])
    assert torch.allclose(painting.result[1, :, 2:], batch["image"][1, :, 2:], atol=0.02)
    assert painting.scores["distance"].isnan().tolist() == [True, False, True], "there is no car"
    (by_mask,) = Inversion(start="grey", **SETTINGS).synthesize(per_pixel(), {**one(batch, 1), "mask": car[1:2]})
    assert torch.allclose(by_mask.result[0], painting.result[1])


def test_nothing_depends_on_the_batch(batch):
    network = convolutional()
    together = Inversion(steps=20, step_size=0.1).synthesize(network, batch)[0].result
    for i in (2, 0, 1):
        (alone,) = Inversion(steps=20, step_size=0.1).synthesize(network, one(batch, i))
        assert torch.allclose(alone.result[0], together[i], atol=1e-9)


def test_the_papers_settings_are_the_defaults():
    task = Inversion()
    assert (task.constraint.eps, task.steps, task.step_size, task.start) == (1000, 10_000, 1, "noise")


def test_settings_that_do_not_fit_are_told(batch):
    with pytest.raises(ValueError, match=one_line("start=gray")):
        Inversion(start="gray")
    with pytest.raises(ValueError, match=one_line("a second image for each is needed", "other")):
        Inversion(start="image").check(linear(), batch)
    with pytest.raises(ValueError, match=one_line("inside=1", "leave it out")):
        Inversion(inside=1).check(linear(), batch)
    with pytest.raises(ValueError, match=one_line("has no last linear map", "layer=")):
        Inversion().check(fcn(), batch)
    with pytest.raises(ValueError, match=one_line("a mask has no pixel inside")):
        Inversion().check(per_pixel(), {**batch, "mask": torch.zeros(3, 1, 4, 4, dtype=torch.bool)})
    with pytest.raises(ValueError, match=one_line("a mask is 4 x 5, and its image 4 x 4 pixels")):
        Inversion().check(per_pixel(), {**batch, "mask": torch.ones(3, 1, 4, 5, dtype=torch.bool)})


@pytest.mark.parametrize("start", ["noise", "image"])
@pytest.mark.parametrize("dense", [True, False])
def test_it_paints_while_a_network_trains(make_trainer, noise_loader, tmp_path, dense, start):
    network = nn.Conv2d(3, 3, 1) if dense else nn.Sequential(nn.Flatten(), nn.Linear(192, 3))
    task, loader = Inversion(steps=2, start=start, samples=3), noise_loader(dense=dense)
    make_trainer(callbacks=[task]).fit(Classifier(network), loader, loader)
    assert len(list((tmp_path / "gallery" / "inversion").glob("*/epoch_0000.png"))) == 3
    names = ("distance", "psnr", "ssim")
    assert set(task.results) == {f"{name}{start}" for name in names for start in ("", "_start")}


def one(batch, i):
    return {key: value[i : i + 1] for key, value in batch.items()}

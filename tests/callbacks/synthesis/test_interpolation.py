import pytest
import torch
from networks import linear, per_pixel, seeded, uniform
from one_line import one_line
from torch import nn

from callbacks import Interpolation, Inversion
from callbacks.synthesis.representation import Representation
from lightning_modules import Classifier

SETTINGS = {"steps": 400, "step_size": 0.005}


class Powers(nn.Module):
    """A network whose representation is e^x: a line in it is none in the image."""

    def __init__(self):
        super().__init__()
        self.fc = seeded(lambda: nn.Linear(48, 2)).double()

    def forward(self, image):
        return self.fc(image.flatten(1).exp())


@pytest.fixture
def batch():
    return {"image": uniform(2, 3, 4, 4), "other": uniform(2, 3, 4, 4, seed=1), "index": torch.arange(2)}


def test_each_point_has_the_representation_that_lies_between(batch):
    paintings = Interpolation(points=5, **SETTINGS).synthesize(Powers(), batch)
    assert [painting.variant for painting in paintings] == ["at_0.00", "at_0.25", "at_0.50", "at_0.75", "at_1.00"]
    for share, painting in zip((0, 0.25, 0.5, 0.75, 1), paintings, strict=True):
        expected = ((1 - share) * batch["image"].exp() + share * batch["other"].exp()).log()
        assert (painting.result - expected).flatten(1).norm(dim=1).max() < 0.02
        assert painting.scores["distance"].max() < 0.005
        assert torch.allclose(painting.start, (1 - share) * batch["image"] + share * batch["other"])
    assert paintings[2].scores["distance_start"].min() > 0.02, "a line in the image is none in the representation"


def test_a_judge_measures_how_far_they_are_from_between(batch):
    paintings = Interpolation(points=3, judge=linear(), **SETTINGS).synthesize(Powers(), batch)
    for share, painting in zip((0, 0.5, 1), paintings, strict=True):
        wanted = torch.lerp(batch["image"], batch["other"], share).flatten(1)
        expected = (painting.result.flatten(1) - wanted).norm(dim=1) / wanted.norm(dim=1)
        assert torch.allclose(painting.scores["judge_distance"], expected)


def test_the_ends_are_the_inversions_of_the_ends(batch):
    first, *_, last = Interpolation(points=3, **SETTINGS).synthesize(Powers(), batch)
    assert torch.equal(first.result, batch["image"]) and torch.equal(last.result, batch["other"])
    for end, image in ((first, batch["image"]), (last, batch["other"])):
        (inverted,) = Inversion(steps=1200, step_size=0.005).synthesize(Powers(), {"image": image})
        assert torch.allclose(inverted.result, end.result, atol=0.02)


def test_the_strip_shows_the_starts_above_the_results(batch):
    paintings = Interpolation(points=3, **SETTINGS).synthesize(per_pixel(), batch)
    strip = paintings[0].beside["strip"]
    assert strip.shape == (2, 3, 8, 12)
    assert torch.equal(strip[..., :4, 4:8], paintings[1].start)
    assert torch.equal(strip[..., 4:, 8:], paintings[2].result)
    assert not paintings[1].beside


def test_variants_sort_as_they_are_painted(batch):
    paintings = Interpolation(points=102, steps=1).synthesize(linear(), batch)
    names = [painting.variant for painting in paintings]
    assert names == sorted(set(names))


def test_nothing_depends_on_the_batch(batch):
    together = Interpolation(points=3, **SETTINGS).synthesize(Powers(), batch)
    for i in (1, 0):
        alone = Interpolation(points=3, **SETTINGS).synthesize(Powers(), {k: v[i : i + 1] for k, v in batch.items()})
        for single, many in zip(alone, together, strict=True):
            assert torch.allclose(single.result[0], many.result[i], atol=1e-9)


def test_of_a_dense_representation_only_the_masks_pixels_are_asked_for(batch):
    network = seeded(lambda: nn.Sequential(nn.Conv2d(3, 3, 1), nn.Softplus(), nn.Conv2d(3, 2, 1))).double()
    mask = torch.zeros(2, 1, 4, 4, dtype=torch.bool)
    mask[..., :2] = True
    _, middle, _ = Interpolation(points=3, **SETTINGS).synthesize(network, {**batch, "mask": mask})
    represent = Representation(network, batch["image"])
    wanted = (represent(batch["image"])[0] + represent(batch["other"])[0]) / 2
    assert torch.allclose(represent(middle.result)[0][..., :2], wanted[..., :2], atol=0.02)
    assert torch.equal(middle.result[..., 2:], middle.start[..., 2:])


def test_settings_that_do_not_fit_are_told(batch):
    with pytest.raises(ValueError, match=one_line("points=1: 2 or more")):
        Interpolation(points=1)
    with pytest.raises(ValueError, match=one_line("a second image for each is needed")):
        Interpolation().check(linear(), {"image": batch["image"]})
    with pytest.raises(ValueError, match=one_line("layer=fc: the network has no such layer")):
        Interpolation(layer="fc").check(linear(), batch)


@pytest.mark.parametrize("dense", [True, False])
def test_it_paints_while_a_network_trains(make_trainer, noise_loader, tmp_path, dense):
    network = nn.Conv2d(3, 3, 1) if dense else nn.Sequential(nn.Flatten(), nn.Linear(192, 3))
    task, loader = Interpolation(steps=2, points=3, samples=2), noise_loader(dense=dense)
    make_trainer(callbacks=[task]).fit(Classifier(network), loader, loader)
    folder = tmp_path / "gallery" / "interpolation"
    assert len(list(folder.glob("*/epoch_0000.png"))) == 6
    assert len(list(folder.glob("*_at_0.00/strip_0000.png"))) == len(list(folder.glob("*/strip_0000.png"))) == 2

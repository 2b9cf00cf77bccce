import pytest
import torch
from networks import linear, per_pixel, seeded, uniform
from one_line import one_line
from torch import nn

from callbacks import FeaturePainting
from callbacks.synthesis.representation import Representation, pooled
from lightning_modules import Classifier


@pytest.fixture
def batch():
    return {"image": uniform(3, 3, 16, 16), "index": torch.arange(3)}


def tiny_fcn():
    """A network with a dense representation at half the image's size; float64."""
    return seeded(
        lambda: nn.Sequential(
            nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.Softplus(), nn.Conv2d(6, 2, 1), nn.Upsample(scale_factor=2)
        )
    ).double()


@pytest.mark.parametrize("exact", [True, False])
def test_on_an_fcn_the_unit_rises_inside_the_mask_and_not_outside(batch, exact):
    network = tiny_fcn()
    task = FeaturePainting([4], steps=60, step_size=0.1, size=8, exact=exact)
    (painting,) = task.synthesize(network, batch)
    represent = Representation(network, batch["image"])
    inside, outside = (
        pooled(represent(painting.result)[0] - represent(batch["image"])[0], region)[:, 4]
        for region in (painting.hole, ~painting.hole)
    )
    assert (inside > 0.05).all() and (outside.abs() < 0.1 * inside).all()
    scores = painting.scores
    assert torch.allclose(scores["activation"] - scores["activation_start"], inside)
    assert task.constraint.eps == 70


def test_in_the_exact_mode_no_pixel_outside_moves_at_all(batch):
    task = FeaturePainting([4, 1], steps=20, size=8, places=[(0, 0), (1, 0.5)], exact=True)
    touched = torch.zeros(3, 1, 16, 16, dtype=torch.bool)
    for painting in task.synthesize(tiny_fcn(), batch):
        touched |= painting.hole
        outside = ~touched.expand_as(painting.result)
        assert torch.equal(painting.result[outside], batch["image"][outside])
        assert (painting.result != painting.start).flatten(1).any(1).all()


def test_features_follow_each_other_each_in_its_place(batch):
    first, second = FeaturePainting([2, 0], steps=3, places=[(0, 0), (1, 1)], size=4).synthesize(linear(2, 16), batch)
    assert [first.variant, second.variant] == ["01_feature_0002", "02_feature_0000"]
    assert torch.equal(second.start, first.result) and torch.equal(first.start, batch["image"])
    assert torch.equal(second.original, batch["image"])
    assert first.hole[0, 0].nonzero()[0].tolist() == [0, 0] and second.hole[0, 0].nonzero()[0].tolist() == [12, 12]


def test_eq_5_in_closed_form(batch):
    (plan,) = FeaturePainting([5], size=8, weight=7.0).plans(linear(2, 16), batch, torch.arange(3))
    image = uniform(3, 3, 16, 16, seed=9)
    penalty = ((image - batch["image"]) * ~plan.hole).square().mean((1, 2, 3))
    assert torch.allclose(plan.objective(image, 0.0)[0], -0.1 * image.flatten(1)[:, 5] + 7 * penalty)


def test_the_weight_holds_what_is_outside(batch):
    change = {}
    for weight in (0.0, 1000.0):
        task = FeaturePainting([200], steps=30, step_size=0.1, size=4, places=[(0, 0)], weight=weight)
        (painting,) = task.synthesize(linear(2, 16), batch)
        change[weight] = (painting.result - painting.start).abs().flatten(1).max()
    assert change[1000.0] < 0.3 * change[0.0], "unit 200 is a pixel outside"


def test_a_batchs_masks_come_first_one_for_all_or_one_for_each(batch):
    mask = torch.zeros(3, 2, 16, 16, dtype=torch.bool)
    mask[:, 0, 3, 4] = mask[:, 1, 9] = True
    task = FeaturePainting([0, 2], steps=1, size=4)
    paintings = task.synthesize(per_pixel(), {**batch, "mask": mask})
    assert [torch.equal(painting.hole[:, 0], mask[:, i]) for i, painting in enumerate(paintings)] == [True, True]
    paintings = task.synthesize(per_pixel(), {**batch, "mask": mask[:, :1]})
    assert all(torch.equal(painting.hole, mask[:, :1]) for painting in paintings)


def test_nothing_depends_on_the_batch(batch):
    task = FeaturePainting([4, 1], steps=5, step_size=0.1, size=8)
    together = task.synthesize(tiny_fcn(), batch)
    for i in (2, 0, 1):
        alone = task.synthesize(tiny_fcn(), {key: value[i : i + 1] for key, value in batch.items()})
        for single, many in zip(alone, together, strict=True):
            assert torch.allclose(single.result[0], many.result[i], atol=1e-9)


def test_the_settings_of_the_papers_code_are_the_defaults():
    task = FeaturePainting([0])
    assert (task.constraint.eps, task.steps, task.step_size, task.weight) == (70, 140, 1, 90)


@pytest.mark.parametrize(
    ("settings", "line"),
    [({"features": []}, "features=[]"), ({"size": 0}, "size=0"), ({"weight": -1}, "weight=-1"),
     ({"places": [(0, 2)]}, "places=[(0, 2)]"), ({"features": [1, 2, 3], "places": [(0, 0)] * 2}, "2 for 3 features")],
)  # fmt: skip
def test_settings_out_of_their_range(settings, line):
    with pytest.raises(ValueError, match=one_line(line)):
        FeaturePainting(**{"features": [1], **settings})


@pytest.mark.parametrize(
    ("features", "mask", "line"),
    [([6], None, "features=6: the representation (2) has 6 units, from 0"),
     ([1], torch.zeros(3, 1, 16, 16, dtype=torch.bool), "a mask has no pixel inside"),
     ([1], torch.ones(3, 1, 16, 15, dtype=torch.bool), "a mask is 16 x 15, and its image 16 x 16 pixels"),
     ([1], torch.ones(3, 2, 16, 16, dtype=torch.bool), "a mask has 2 channels for 1 features")],
)  # fmt: skip
def test_what_does_not_fit_the_network_or_the_batch_is_told(batch, features, mask, line):
    with pytest.raises(ValueError, match=one_line(line)):
        FeaturePainting(features).check(tiny_fcn(), batch if mask is None else {**batch, "mask": mask})


@pytest.mark.parametrize("dense", [True, False])
def test_it_paints_while_a_network_trains(make_trainer, noise_loader, tmp_path, dense):
    network = nn.Conv2d(3, 3, 1) if dense else nn.Sequential(nn.Flatten(), nn.Linear(192, 3))
    task, loader = FeaturePainting([2, 0], steps=2, samples=2), noise_loader(dense=dense)
    make_trainer(callbacks=[task]).fit(Classifier(network), loader, loader)
    assert len(list((tmp_path / "gallery" / "feature_painting").glob("*/epoch_0000.png"))) == 4

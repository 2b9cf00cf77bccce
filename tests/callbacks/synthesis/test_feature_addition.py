import pytest
import torch
from networks import fcn, linear, per_pixel, uniform
from one_line import one_line
from torch import nn

from callbacks import FeatureAddition
from lightning_modules import Classifier


@pytest.fixture
def batch():
    """Images that are 0.8 at most, and in one pixel 0.9: of the first its unit 7, of the second its unit 30."""
    image = 0.8 * uniform(2, 3, 4, 4)
    image[0].view(-1)[7] = image[1].view(-1)[30] = 0.9
    return {"image": image, "index": torch.arange(2)}


def test_a_unit_rises_until_it_is_the_highest_and_no_further(batch):
    """The representation is the image: a step raises the unit by the length of a step."""
    (painting,) = FeatureAddition([7], steps=800, step_size=0.02).synthesize(linear(), batch)
    assert torch.equal(painting.result[0], batch["image"][0]), "it is the highest already"
    moved = (painting.result - batch["image"])[1].flatten()
    assert moved.nonzero().flatten().tolist() == [7]
    assert 0.9 < painting.result[1].flatten()[7] <= 0.92 + 1e-9
    assert painting.scores["activation"][1] == painting.result[1].flatten()[7]
    assert painting.scores["activation_start"][1] == batch["image"][1].flatten()[7]


def test_with_too_few_steps_it_is_on_its_way(batch):
    (painting,) = FeatureAddition([7], steps=2, step_size=0.02).synthesize(linear(), batch)
    assert torch.isclose(painting.result[1].flatten()[7], batch["image"][1].flatten()[7] + 0.04)


def test_each_feature_is_added_to_the_image_itself(batch):
    paintings = FeatureAddition([7, 30], steps=5, step_size=0.02).synthesize(linear(), batch)
    assert [painting.variant for painting in paintings] == ["feature_0007", "feature_0030"]
    assert all(torch.equal(painting.start, batch["image"]) for painting in paintings)


def test_of_a_dense_representation_a_mask_says_where(batch):
    """The representation of a pixel is its colour: a step raises a channel's mean where the mask is."""
    image = torch.tensor([0.6, 0.2, 0.1], dtype=torch.float64).view(1, 3, 1, 1).expand(2, 3, 4, 4)
    mask = torch.zeros(2, 1, 4, 4, dtype=torch.bool)
    mask[..., 2:] = True
    task = FeatureAddition([1], step_size=0.1)
    (painting,) = task.synthesize(per_pixel(), {"image": image, "mask": mask})
    green = painting.result[:, 1]
    assert (green[..., :2] == 0.2).all() and ((green[..., 2:] > 0.6) & (green[..., 2:] < 0.65)).all()
    assert torch.equal(painting.result[:, [0, 2]], image[:, [0, 2]])


def test_nothing_depends_on_the_batch(batch):
    task = FeatureAddition([2], layer="4", steps=20, step_size=0.02)
    together = task.synthesize(fcn(), batch)[0].result
    for i in (1, 0):
        (alone,) = task.synthesize(fcn(), {key: value[i : i + 1] for key, value in batch.items()})
        assert torch.allclose(alone.result[0], together[i], atol=1e-9)


def test_the_settings_of_the_papers_code_are_the_defaults():
    task = FeatureAddition([3])
    assert (task.constraint.eps, task.steps, task.step_size) == (1000, 800, 0.1)


def test_settings_that_do_not_fit_are_told(batch):
    for features in ([], [4, 4]):
        with pytest.raises(ValueError, match=one_line(f"features={features}", "each once")):
            FeatureAddition(features)
    for unit in (-1, 48):
        with pytest.raises(ValueError, match=one_line(f"features={unit}: the representation (1) has 48 units")):
            FeatureAddition([3, unit]).check(linear(), batch)


@pytest.mark.parametrize("dense", [True, False])
def test_it_paints_while_a_network_trains(make_trainer, noise_loader, tmp_path, dense):
    network = nn.Conv2d(3, 3, 1) if dense else nn.Sequential(nn.Flatten(), nn.Linear(192, 3))
    task, loader = FeatureAddition([2, 0], steps=2, samples=2), noise_loader(dense=dense)
    make_trainer(callbacks=[task]).fit(Classifier(network), loader, loader)
    assert len(list((tmp_path / "gallery" / "feature_addition").glob("*/epoch_0000.png"))) == 4

import pytest
import torch
from networks import fcn, per_pixel, seeded, uniform
from one_line import one_line
from PIL import Image
from torch import nn

from callbacks import FeatureVisualization
from callbacks.synthesis.feature_visualization import ranking
from callbacks.synthesis.representation import Representation
from lightning_modules import Classifier


@pytest.fixture
def batch():
    return {"image": uniform(2, 3, 4, 4), "index": torch.tensor([4, 1])}


def units(count=5):
    """A network whose representation is linear in the pixels."""
    return seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(48, count), nn.Linear(count, 2))).double()


class Brightness(nn.Module):
    """Its representation is each channel's mean, of images of any size."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 2)

    def forward(self, image):
        return self.fc(image.mean((2, 3)))


@pytest.mark.parametrize("start", ["noise", "grey"])
def test_a_linear_unit_shows_its_weights_direction(batch, start):
    network = units()
    task = FeatureVisualization(0.3, steps=20, step_size=0.05, features=[3, 0], start=start)
    paintings = task.synthesize(network, batch)
    assert [painting.variant for painting in paintings] == ["feature_0003", "feature_0000"]
    for unit, painting in zip((3, 0), paintings, strict=True):
        weight = network[1].weight[unit]
        direction = (painting.result - painting.start).flatten(1)
        assert torch.allclose(direction, (0.3 * weight / weight.norm()).expand(2, 48))
        raised = painting.scores["activation"] - painting.scores["activation_start"]
        assert torch.allclose(raised, 0.3 * weight.norm().expand(2))


def test_it_starts_from_the_image_itself_if_asked(batch):
    (painting,) = FeatureVisualization(features=1, steps=3, start="image").synthesize(units(), batch)
    assert torch.equal(painting.start, batch["image"])


def test_a_number_of_features_is_spread_over_the_representation(batch):
    paintings = FeatureVisualization(features=3, steps=1).synthesize(units(12), batch)
    assert [painting.variant for painting in paintings] == ["feature_0000", "feature_0004", "feature_0008"]
    assert len(FeatureVisualization(features=100, steps=1).synthesize(units(12), batch)) == 12


def test_of_a_dense_representation_a_mask_says_where(batch):
    mask = torch.zeros(2, 1, 4, 4, dtype=torch.bool)
    mask[..., 2:] = True
    task = FeatureVisualization(features=[1], steps=50, step_size=0.1, start="grey")
    (painting,) = task.synthesize(per_pixel(), {**batch, "mask": mask})
    assert (painting.result[:, 1, :, 2:] == 1).all(), "unit 1 is the second channel"
    assert (painting.result[:, 1, :, :2] == 0.5).all() and (painting.result[:, [0, 2]] == 0.5).all()


def test_nothing_depends_on_the_batch(batch):
    task = FeatureVisualization(features=[2], steps=10, layer="4")
    together = task.synthesize(fcn(), batch)[0].result
    for i in (1, 0):
        (alone,) = task.synthesize(fcn(), {key: value[i : i + 1] for key, value in batch.items()})
        assert torch.allclose(alone.result[0], together[i], atol=1e-9)


def test_images_are_ranked_by_their_activation():
    reds = [0.5, 0.1, 0.9, 0.3, 0.7]
    data = [
        {"image": torch.tensor([red, 1 - red, 0.5]).view(3, 1, 1).expand(3, 4 + i, 6)} for i, red in enumerate(reds)
    ]
    represent = Representation(Brightness(), data[0]["image"][None])
    assert ranking(represent, data, [0, 1], 5).T.tolist() == [[2, 4, 0, 3, 1], [1, 3, 0, 4, 2]]
    assert ranking(represent, data, [0], 2).T.tolist() == [[2, 0]]


def test_beside_a_units_picture_are_the_images_that_activate_it_most_and_least(batch):
    data = [{"image": torch.full((3, 4, 6 if i else 12), i / 10)} for i in range(8)]
    task = FeatureVisualization(features=[1], steps=1, most=2)
    network = Brightness().train()
    task.look_at(data, network)
    assert network.training
    (painting,) = task.synthesize(network, {"image": batch["image"].float()})
    most, least = painting.beside["most"], painting.beside["least"]
    assert most.shape == (2, 3, 4, 12) and least.shape == (2, 3, 4, 18)
    assert torch.allclose(most[0, 0, 0, [0, -1]], torch.tensor([0.7, 0.6]))
    assert torch.allclose(least[0, 0, 0, [0, -1]], torch.tensor([0, 0.1]))


def test_without_pictures_beside_no_data_is_looked_at():
    FeatureVisualization(most=0).look_at(None, Brightness())


@pytest.mark.parametrize(
    ("settings", "line"),
    [({"features": []}, "features=[]"), ({"features": [2, 2]}, "each once"), ({"features": 0}, "features=0"),
     ({"start": "gray"}, "start=gray"), ({"most": -1}, "most=-1"), ({"most": 3, "among": 5}, "half of among=5")],
)  # fmt: skip
def test_settings_out_of_their_range(settings, line):
    with pytest.raises(ValueError, match=one_line(line)):
        FeatureVisualization(**settings)


def test_a_unit_beyond_the_representation_is_told(batch):
    with pytest.raises(ValueError, match=one_line("features=5: the representation (2) has 5 units, from 0")):
        FeatureVisualization(features=[5]).check(units(), batch)


def test_the_papers_settings_are_the_defaults():
    task = FeatureVisualization()
    assert (task.constraint.eps, task.steps, task.step_size) == (1000, 200, 1)


@pytest.mark.parametrize("dense", [True, False])
def test_it_paints_while_a_network_trains(make_trainer, noise_loader, tmp_path, dense):
    network = nn.Conv2d(3, 3, 1) if dense else nn.Sequential(nn.Flatten(), nn.Linear(192, 3))
    task, loader = FeatureVisualization(features=2, steps=2), noise_loader(dense=dense)
    make_trainer(callbacks=[task]).fit(Classifier(network), loader, loader)
    folders = sorted((tmp_path / "gallery" / "feature_visualization").glob("*/"))
    assert [folder.name for folder in folders] == [f"000000_feature_{unit:04d}" for unit in (0, 1 if dense else 96)]
    with Image.open(folders[0] / "most_0000.png") as most, Image.open(folders[0] / "least_0000.png") as least:
        assert most.size == least.size == (24, 8)

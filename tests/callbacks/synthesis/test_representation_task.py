import pytest
import torch
from networks import linear, uniform
from one_line import one_line
from torch import nn

import callbacks
from callbacks import FeatureVisualization
from callbacks.synthesis.representation_task import RepresentationTask

TASKS = [each for each in vars(callbacks).values() if isinstance(each, type) and issubclass(each, RepresentationTask)]


class Dead(nn.Module):
    """Its representation is 0 where the image is grey."""

    def __init__(self):
        super().__init__()
        self.relu, self.fc = nn.ReLU(inplace=True), nn.Linear(3, 2)

    def forward(self, image):
        return self.fc(self.relu(10 * image - 6).mean((2, 3)))


def made(task, **options):
    return task(**({"features": [1]} if task.task in ("feature_addition", "feature_painting") else {}), **options)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.__name__)
def test_a_layer_may_be_named(task):
    network = nn.Sequential(nn.Flatten(), nn.Linear(48, 7), nn.Linear(7, 2)).double()
    batch = {"image": uniform(2, 3, 4, 4), "other": uniform(2, 3, 4, 4, seed=1)}
    assert made(task).represent(network, batch["image"]).units == 7
    assert made(task, layer="1").represent(network, batch["image"]).units == 48
    with pytest.raises(ValueError, match=one_line("layer=fc: the network has no such layer")):
        made(task, layer="fc").check(network, batch)
    with pytest.raises(ValueError, match=one_line("fake_relu: no nn.ReLU or nn.ReLU6 makes the representation (1)")):
        made(task, fake_relu=True).check(linear(), batch)


@pytest.mark.parametrize("fake_relu", [True, False])
def test_a_unit_that_is_dead_in_the_start_can_be_raised(fake_relu):
    task = FeatureVisualization(features=[1], steps=20, step_size=0.3, start="grey", fake_relu=fake_relu)
    (painting,) = task.synthesize(Dead(), {"image": torch.rand(2, 3, 4, 4)})
    assert (painting.scores["activation_start"] == 0).all()
    if fake_relu:
        assert (painting.result[:, 1] > 0.9).all() and (painting.scores["activation"] > 3).all()
    else:
        assert torch.equal(painting.result, painting.start)

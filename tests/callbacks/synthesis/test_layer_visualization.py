import pytest
import torch
from networks import fcn, uniform
from one_line import one_line

from callbacks import LayerVisualization


@pytest.fixture
def batch():
    return {"image": uniform(2, 3, 6, 6), "index": torch.tensor([4, 1])}


@pytest.mark.parametrize("start", ["noise", "grey"])
def test_a_filter_of_a_linear_layer_is_raised_along_its_gradient(batch, start):
    network = fcn().eval()
    task = LayerVisualization("0", 0.3, steps=20, step_size=0.05, filters=[3, 0], start=start)
    paintings = task.synthesize(network, batch)
    assert [painting.variant for painting in paintings] == ["filter_0003", "filter_0000"]
    for number, painting in zip((3, 0), paintings, strict=True):
        image = painting.start.clone().requires_grad_()
        (direction,) = torch.autograd.grad(network[0](image)[:, number].sum(), image)
        moved = painting.result - painting.start
        norm = direction.flatten(1).norm(dim=1)
        assert torch.allclose(moved, 0.3 * direction / norm.view(-1, 1, 1, 1))
        assert torch.allclose(painting.scores["activation"] - painting.scores["activation_start"], 0.3 * norm)
        sums = network[0](painting.result)[:, number].sum((1, 2))
        assert torch.allclose(painting.scores["activation"], sums), "eq. 10: a sum, no mean"


def test_only_the_filter_that_is_asked_for_rises_most(batch):
    task = LayerVisualization("1", steps=60, step_size=0.2, filters=8)
    paintings = task.synthesize(fcn(), batch)
    network = fcn().eval()
    sums = torch.stack([network[1](network[0](each.result)).sum((2, 3))[0] for each in paintings])
    assert sums.shape == (8, 8) and (sums.argmax(0) == torch.arange(8)).all()


def test_a_number_of_filters_is_spread_over_the_layer(batch):
    names = [each.variant for each in LayerVisualization("0", filters=2, steps=1).synthesize(fcn(), batch)]
    assert names == ["filter_0000", "filter_0004"]


def test_nothing_depends_on_the_batch(batch):
    task = LayerVisualization("1", filters=[2], steps=10)
    together = task.synthesize(fcn(), batch)[0].result
    for i in (1, 0):
        (alone,) = task.synthesize(fcn(), {key: value[i : i + 1] for key, value in batch.items()})
        assert torch.allclose(alone.result[0], together[i], atol=1e-9)
    (image,) = LayerVisualization("1", filters=[2], steps=1, start="image").synthesize(fcn(), batch)
    assert torch.equal(image.start, batch["image"])


@pytest.mark.parametrize(
    ("settings", "line"),
    [({"filters": []}, "filters=[]: filters of the layer, each once"), ({"filters": [2, 2]}, "each once"),
     ({"filters": 0}, "filters=0"), ({"start": "gray"}, "start=gray"), ({"steps": 0}, "steps=0")],
)  # fmt: skip
def test_settings_out_of_their_range(settings, line):
    with pytest.raises(ValueError, match=one_line(line)):
        LayerVisualization("0", **settings)


@pytest.mark.parametrize(
    ("task", "line"),
    [(LayerVisualization("0", filters=[8]), "filters=8: the layer (0) has 8 filters, from 0"),
     (LayerVisualization("conv"), "layer=conv: the network has no such layer; it has ")],
)  # fmt: skip
def test_what_the_network_does_not_have_is_told(batch, task, line):
    with pytest.raises(ValueError, match=one_line(line)):
        task.check(fcn(), batch)

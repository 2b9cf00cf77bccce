import pytest
import torch
from networks import fcn, seeded, uniform
from one_line import one_line
from torch import nn

from callbacks import DecisionInsight
from callbacks.synthesis.decision_insight import decide, most_frequent
from callbacks.synthesis.representation import Representation
from lightning_modules import Classifier

WEIGHT = torch.tensor([[4.0, 1.0, 2.0], [1.0, 4.0, -1.0]])


class Colours(nn.Module):
    """Its representation is each channel's mean, or, dense, each pixel's colour; two classes, of weights `WEIGHT`."""

    def __init__(self, dense=False):
        super().__init__()
        self.dense = dense
        self.last = nn.Conv2d(3, 2, 1, bias=False) if dense else nn.Linear(3, 2, bias=False)
        self.last.weight.data = WEIGHT.view(self.last.weight.shape).clone()

    def forward(self, image):
        return self.last(image if self.dense else image.mean((2, 3)))


def of_colour(*colours):
    return torch.tensor(colours).view(-1, 3, 1, 1).expand(-1, 3, 4, 4).clone()


@pytest.fixture
def batch():
    """Two images, of the classes 0 and 1; what the channels add to those: 0.4, 0.2, 1.0 and 0.1, 2.0, -0.3."""
    return {"image": of_colour([0.1, 0.2, 0.5], [0.1, 0.5, 0.3]), "label": torch.tensor([0, 0])}


def test_the_heaviest_units_are_those_of_the_largest_r_times_w(batch):
    decision = decide(Representation(Colours(), batch["image"]), batch["image"], 2)
    assert decision.predicted.tolist() == [0, 1] and decision.region is None
    assert decision.units.tolist() == [[2, 0], [1, 0]]
    assert torch.allclose(decision.shares, torch.tensor([[1 / 1.6, 0.4 / 1.6], [2 / 2.1, 0.1 / 2.1]]))
    assert decision.right(batch["label"]).tolist() == [1, 0]


def test_each_is_accentuated_until_it_leads(batch):
    first, second = DecisionInsight(k=2, steps=60, step_size=0.1).synthesize(Colours(), batch)
    assert [first.variant, second.variant] == ["feature_1", "feature_2"]
    assert torch.equal(first.result, batch["image"]), "they lead already"
    for i, leader in enumerate((0.5, 0.5)):
        change = (second.result - batch["image"])[i].mean((1, 2))
        assert change[1:].eq(0).all(), "the second unit of both is the first channel"
        assert leader < second.result[i, 0].mean() < leader + 0.03
    assert second.scores["right"].tolist() == [1, 0]
    assert torch.allclose(second.scores["share"], torch.tensor([0.4 / 1.6, 0.1 / 2.1]))
    assert torch.allclose(second.scores["activation_start"], torch.tensor([0.1, 0.1]))
    assert torch.allclose(second.scores["activation"], second.result[:, 0].mean((1, 2)))


def test_of_a_segmentation_network_the_pixels_of_the_most_frequent_class_count():
    image = of_colour([0.4, 0.2, 0.3])  # of class 0
    image[:, :, :, :1] = torch.tensor([0.1, 0.5, 0.3]).view(3, 1, 1)  # of class 1
    label = torch.ones(1, 4, 4, dtype=torch.long)
    label[:, 0], label[:, 1] = 0, 255
    decision = decide(Representation(Colours(dense=True), image), image, 3)
    assert decision.predicted.tolist() == [1] and decision.units.tolist() == [[1, 0, 2]]
    assert torch.equal(decision.region[0, 0], torch.arange(4).expand(4, 4) == 0)
    assert torch.allclose(decision.shares, torch.tensor([[2 / 2.1, 0.1 / 2.1, -0.3 / 2.1]]))
    assert decision.right(label).tolist() == [pytest.approx(2 / 3)]
    _, second, _ = DecisionInsight(step_size=0.1).synthesize(Colours(dense=True), {"image": image, "label": label})
    assert torch.equal(second.result[..., 1:], image[..., 1:]), "outside, nothing is asked"
    assert (second.result[:, 0, :, 0] > 0.5).all()


def test_class_0_counts_where_there_is_no_other():
    label = torch.tensor([[0, 0, 0, 2], [0, 0, 0, 0], [1, 2, 2, 0]]).view(3, 2, 2)
    assert most_frequent(label, 3).tolist() == [2, 0, 2]


def test_without_labels_it_does_not_say_who_is_right(batch):
    (painting,) = DecisionInsight(k=1, steps=1).synthesize(Colours(), {"image": batch["image"]})
    assert set(painting.scores) == {"share", "activation", "activation_start"}


def test_nothing_depends_on_the_batch():
    batch = {"image": uniform(3, 3, 4, 4), "label": torch.zeros(3, 4, 4, dtype=torch.long)}
    network = seeded(lambda: nn.Sequential(*fcn()[:4], nn.Conv2d(8, 3, 1))).double()
    task = DecisionInsight(steps=10, step_size=0.02)
    together = task.synthesize(network, batch)
    for i in (2, 0, 1):
        alone = task.synthesize(network, {key: value[i : i + 1] for key, value in batch.items()})
        for single, many in zip(alone, together, strict=True):
            assert torch.allclose(single.result[0], many.result[i], atol=1e-9)
            assert all(torch.allclose(value[0], many.scores[name][i]) for name, value in single.scores.items())


def test_the_papers_settings_are_the_defaults():
    task = DecisionInsight()
    assert (task.constraint.eps, task.steps, task.step_size, task.k) == (40, 60, 1, 3)


def test_settings_that_do_not_fit_are_told(batch):
    with pytest.raises(ValueError, match=one_line("k=0")):
        DecisionInsight(k=0)
    with pytest.raises(ValueError, match=one_line("k=4: the representation (last) has 3 units")):
        DecisionInsight(k=4).check(Colours(), batch)
    with pytest.raises(ValueError, match=one_line("has no last linear map")):
        DecisionInsight().check(fcn(), {"image": uniform(1, 3, 4, 4)})
    network = nn.Sequential(nn.Conv2d(3, 5, 1), nn.Conv2d(5, 2, 1))
    with pytest.raises(ValueError, match=one_line("layer=0: makes 5 values, no 2 logits")):
        DecisionInsight(layer="0").check(network, batch)


@pytest.mark.parametrize("dense", [True, False])
def test_it_paints_while_a_network_trains(make_trainer, noise_loader, tmp_path, dense):
    network = nn.Conv2d(3, 3, 1) if dense else nn.Sequential(nn.Flatten(), nn.Linear(192, 3))
    task, loader = DecisionInsight(steps=2, samples=2), noise_loader(dense=dense)
    make_trainer(callbacks=[task]).fit(Classifier(network), loader, loader)
    assert len(list((tmp_path / "gallery" / "decision_insight").glob("*/epoch_0000.png"))) == 6
    assert 0 <= task.results["right"] <= 1

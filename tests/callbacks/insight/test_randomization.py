import copy

import pytest
import torch
from networks import seeded, uniform
from one_line import one_line
from scipy.stats import spearmanr
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from attacks import undisturbed
from callbacks.insight.randomization import randomized, rank_correlations, stages_of, title_of
from lightning_modules import Network

IMAGE = torch.full((1, 3, 32, 32), 0.5)


def network(name="resnet_small"):
    return seeded(lambda: Network(name, 4)).eval()


@pytest.mark.parametrize(
    ("name", "titles"),
    [
        ("resnet_small",
         ["model.fc", "model.backbone.3.0 to 1", "model.backbone.2.0 to 1", "model.backbone.1.0 to 1",
          "model.backbone.0.0 to 1"]),
        ("resnet18",
         ["model.fc", "model.layer4.0 to 1", "model.layer3.0 to 1", "model.layer2.0 to 1", "model.layer1.0 to 1",
          "model.conv1 to bn1"]),
        ("efficientnet_lite0",
         ["model._fc", "model._conv_head to _bn1", "model._blocks.13 to 15", "model._blocks.10 to 12",
          "model._blocks.6 to 9", "model._blocks.3 to 5", "model._blocks.0 to 2", "model._conv_stem to _bn0"]),
    ],
)  # fmt: skip
def test_the_stages_are_blocks_from_the_output_down(name, titles):
    stages = stages_of(network(name), IMAGE, 8)
    assert [title_of(stage) for stage in stages] == titles


@pytest.mark.parametrize("name", ["resnet_small", "fcn_small", "efficientnet_lite0", "vit_b_16", "vgg11_bn"])
@pytest.mark.parametrize("most", [2, 3, 8])
def test_every_layer_is_in_one_of_so_many_stages(name, most):
    with torch.device("meta"):
        made = Network(name, 4).eval()
    size = 224 if name == "vit_b_16" else 32
    stages = stages_of(made, torch.zeros(1, 3, size, size, device="meta"), most)
    assert 2 <= len(stages) <= most
    names = [layer for stage in stages for layer in stage]
    assert len(set(names)) == len(names)
    assert set(names) == {layer for layer, module in made.named_modules() if module._parameters}


def test_what_the_network_does_not_use_is_left_alone():
    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.other = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)

        def forward(self, image):
            return self.one(image)

    assert stages_of(Half(), IMAGE, 8) == [["one"]]


def test_layers_become_random_stage_by_stage_and_stay_so():
    made = network()
    for number, module in enumerate(made.modules()):
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.copy_(uniform(len(module.running_mean), seed=number))
            module.weight.data.mul_(3)
    before = copy.deepcopy(made.state_dict())
    stages = stages_of(made, IMAGE, 8)
    done = []
    with undisturbed(made):
        for stage, copied in zip(stages, randomized(made, stages), strict=True):
            done += stage
            for name, value in copied.state_dict().items():
                layer, own = name.rpartition(".")[::2]
                same = torch.equal(value, before[name])
                if layer in done and own in ("weight", "running_mean", "bias"):
                    assert not same or (value == 0).all(), name
                elif layer not in done:
                    assert same, name
    assert (copied.get_submodule("model.backbone.0.1").running_mean == 0).all()
    assert not copied.training
    assert all(torch.equal(value, before[name]) for name, value in made.state_dict().items())


def test_the_same_seed_draws_the_same_network():
    made, states = network(), []
    for seed in (0, 0, 1):
        with undisturbed(made):
            *_, last = randomized(made, stages_of(made, IMAGE, 3), seed)
        states.append(last.get_submodule("model.fc").weight.clone())
    assert torch.equal(states[0], states[1]) and not torch.equal(states[0], states[2])


def test_parameters_without_a_way_to_draw_them_are_shuffled_and_a_frozen_norm_is_reset():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 6, 1), FrozenBatchNorm2d(6)
            self.scale = nn.Parameter(torch.arange(6.0).view(6, 1, 1))
            self.norm.running_mean.fill_(0.3)

        def forward(self, image):
            return (self.norm(self.conv(image)) * self.scale).mean((2, 3))

    made = Scaled()
    with undisturbed(made):
        *_, last = randomized(made, stages_of(made, IMAGE, 8))
    assert last.scale.flatten().tolist() != list(range(6))
    assert sorted(last.scale.flatten().tolist()) == list(range(6))
    assert (last.norm.running_mean == 0).all() and (made.norm.running_mean == 0.3).all()


def test_without_layers_there_is_nothing_to_draw():
    with pytest.raises(ValueError, match=one_line("randomization: the network has no layers")):
        stages_of(nn.Flatten(), IMAGE, 8)


def test_rank_correlation_is_spearmans_sample_by_sample():
    one, other = uniform(3, 5, 7, seed=1), uniform(3, 5, 7, seed=2)
    other[1] = 3 * one[1] ** 3
    other[2] = 0.25
    found = rank_correlations(one, other)
    assert found[0] == pytest.approx(spearmanr(one[0].flatten(), other[0].flatten()).statistic)
    assert found[1] == pytest.approx(1) and found[2].isnan()

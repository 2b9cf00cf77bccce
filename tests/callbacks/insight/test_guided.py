import pytest
import torch
import torch.nn.functional as F
from networks import uniform
from one_line import one_line
from torch import nn

from callbacks.insight.guided import guided_gradient

RELUS = {
    "module": nn.ReLU(),
    "in place": nn.ReLU(inplace=True),
    "functional": F.relu,
    "functional in place": lambda x: F.relu(x, inplace=True),
    "torch": torch.relu,
    "method": lambda x: x.relu_(),
    "clamp": lambda x: x.clamp(min=0),
    "clamp_min": lambda x: x.clamp_min(0),
    "threshold": nn.Threshold(0, 0),
}
RELU6S = {
    "module": nn.ReLU6(),
    "in place": nn.ReLU6(inplace=True),
    "functional": F.relu6,
    "clamp": lambda x: x.clamp(0, 6),
    "hardtanh": nn.Hardtanh(0, 6),
}


def weights(*shape, seed):
    return 8 * (uniform(*shape, seed=seed) - 0.5)


def pixels():
    return uniform(5, 12, seed=9).requires_grad_()


@pytest.mark.parametrize("relu", RELUS.values(), ids=RELUS.keys())
def test_of_two_layers_it_is_what_springenberg_defines(relu):
    first, second, x = weights(12, 20, seed=1), weights(20, seed=2), pixels()
    found = guided_gradient((relu(x @ first) @ second).sum(), x)
    on = x @ first > 0
    assert torch.allclose(found, (on * second.clamp(min=0)) @ first.T)
    plain = (on * second) @ first.T
    assert not torch.allclose(found, plain), "or nothing was seen"


@pytest.mark.parametrize("relu", RELU6S.values(), ids=RELU6S.keys())
def test_relu6_counts_and_passes_nothing_from_6_on(relu):
    first, second, x = weights(12, 20, seed=1), weights(20, seed=2), pixels()
    found = guided_gradient((relu(x @ first) @ second).sum(), x)
    hidden = x @ first
    assert (hidden >= 6).any() and ((hidden > 0) & (hidden < 6)).any()
    assert torch.allclose(found, ((hidden > 0) & (hidden < 6)) * second.clamp(min=0) @ first.T)


def test_one_relu_that_is_used_again_counts_each_time():
    layers, relu, x = [weights(12, 12, seed=seed) for seed in (1, 2, 3)], nn.ReLU(inplace=True), pixels()
    a, b = x @ layers[0], (x @ layers[0]).clamp(min=0) @ layers[1]
    found = guided_gradient((relu(relu(x @ layers[0]) @ layers[1]) @ layers[2]).sum(), x)
    above = (b > 0) * layers[2].sum(1).clamp(min=0)
    assert torch.allclose(found, (a > 0) * (above @ layers[1].T).clamp(min=0) @ layers[0].T)


@pytest.mark.parametrize(
    "other", [F.silu, F.leaky_relu, F.gelu, torch.tanh, lambda x: x, lambda x: x.clamp(0, 1), nn.Hardtanh(), F.hardtanh]
)
def test_where_there_is_no_relu_that_is_told(other):
    x = pixels()
    with pytest.raises(ValueError, match=one_line("guided: a network without ReLUs")):
        guided_gradient(other(x @ weights(12, 20, seed=1)).sum(), x)

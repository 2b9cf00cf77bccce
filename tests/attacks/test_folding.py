import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, spectral_norm

from attacks.folding import of_weights, pairs, scale_and_shift


class Uses(nn.Module):
    """A convolution and a norm, and what a forward makes of them."""

    def __init__(self, forward, **parts):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        for name, part in parts.items():
            setattr(self, name, part)
        self.made = [forward]

    def forward(self, image):
        return self.made[0](self, image)


def found(network, image=None, **kwargs):
    return pairs(network.eval(), torch.rand(2, 3, 8, 8) if image is None else image, **kwargs)


ONE = [("conv", "bn")]


@pytest.mark.parametrize(
    ("forward", "expected"),
    [
        (lambda m, x: m.bn(m.conv(x)).relu(), ONE),
        (lambda m, x: {"out": m.bn(m.conv(x))}, ONE),
        (lambda m, x: m.bn(m.conv(x)) + m.bn(m.conv(x.flip(0))), ONE),  # both, always together
        (lambda m, x: m.bn(m.conv(x).relu()), []),
        (lambda m, x: (y := m.conv(x)) + m.bn(y), []),
        (lambda m, x: m.bn(y := m.conv(x)) * y.mean(), []),
        (lambda m, x: {"out": m.bn(y := m.conv(x)), "features": y}, []),
        (lambda m, x: m.bn(m.conv(x)) + m.bn(x[:, :1, 2:, 2:].expand(-1, 4, -1, -1)), []),
        (lambda m, x: m.bn(m.conv(x)) + m.bn(m.other(x)), []),
        (lambda m, x: m.bn(m.conv(x)) + m.norm(m.conv(x)), []),
        (lambda m, x: m.bn(y := m.conv(x)) + m.norm(y), []),
        (lambda m, x: m.norm(m.bn(m.conv(x))), ONE),
        (lambda m, x: m.bn(y) if (y := m.conv(x)).shape[1] == 4 and y.dtype.is_floating_point else y, ONE),
    ],
)
def test_a_pair_sees_nothing_but_each_other(forward, expected):
    network = Uses(forward, other=nn.Conv2d(3, 4, 3), norm=nn.BatchNorm2d(4))
    assert found(network) == expected


def test_norms_that_measure_the_batch_stay():
    network = Uses(lambda m, x: m.bn(m.conv(x)), bn=nn.BatchNorm2d(4, track_running_stats=False))
    assert found(network) == []
    network = Uses(lambda m, x: m.bn(m.conv(x))).eval()
    network.bn.train()
    assert pairs(network, torch.rand(2, 3, 8, 8)) == []


@pytest.mark.parametrize("kind", [nn.GroupNorm(2, 4), nn.InstanceNorm2d(4, track_running_stats=True), nn.Identity()])
def test_other_norms_stay(kind):
    assert found(Uses(lambda m, x: m.bn(m.conv(x)), bn=kind)) == []


def test_weights_that_are_computed_stay():
    for change in (spectral_norm, parametrizations.weight_norm):
        network = Uses(lambda m, x: m.bn(m.conv(x)))
        change(network.conv)
        assert found(network) == []
    network = Uses(lambda m, x: m.bn(m.conv(x)))
    network.conv.forward = lambda x: nn.Conv2d.forward(network.conv, x) ** 2
    assert found(network) == []


def test_derived_classes_are_taken_if_asked_for():
    class Derived(nn.Conv2d):
        pass

    network = Uses(lambda m, x: m.bn(m.conv(x)), conv=Derived(3, 4, 3))
    assert found(network) == []
    assert found(network, derived=True) == ONE


def test_a_linear_layer_is_followed_by_its_channels_only():
    network = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4)).eval()
    assert pairs(network, torch.rand(2, 6)) == [("0", "1")]
    assert pairs(network, torch.rand(2, 4, 6)) == []  # the norm's channels are not the layer's


@pytest.mark.parametrize(
    ("kind", "norm", "shape"),
    [
        (nn.Conv1d(4, 6, 3, groups=2), nn.BatchNorm1d(6), (2, 4, 9)),
        (nn.Conv2d(4, 6, 3, bias=False, padding=1, padding_mode="reflect"), nn.BatchNorm2d(6), (2, 4, 9, 9)),
        (nn.Conv3d(4, 6, 2), nn.BatchNorm3d(6, affine=False), (2, 4, 5, 5, 5)),
        (nn.ConvTranspose1d(4, 6, 3, stride=2), nn.BatchNorm1d(6), (2, 4, 5)),
        (nn.ConvTranspose2d(4, 6, 3, groups=2, stride=2, output_padding=1), nn.BatchNorm2d(6), (2, 4, 5, 5)),
        (nn.ConvTranspose3d(4, 6, 2, bias=False), nn.BatchNorm3d(6), (2, 4, 3, 3, 3)),
        (nn.Linear(4, 6), nn.BatchNorm1d(6, eps=0.1), (3, 4)),
    ],
)
def test_scale_and_shift_do_what_the_norm_does(kind, norm, shape):
    torch.manual_seed(0)
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    network = nn.Sequential(kind, norm).double().eval()
    image = torch.randn(shape, dtype=torch.float64)
    expected = network(image)
    scale, shift = scale_and_shift(norm)
    with torch.no_grad():
        kind.weight.mul_(of_weights(scale, kind))
        bias = shift if kind.bias is None else kind.bias * scale + shift
        kind.bias = nn.Parameter(bias)
    torch.testing.assert_close(kind(image), expected)

import copy
import gc
import pickle
import warnings
import weakref

import pytest
import torch
from networks import fcn, ragged_labels, uniform
from torch import nn

from attacks import PGD, Linf, counted
from attacks import twin as twins
from attacks.objectives import logits_of
from attacks.twin import at_rest
from lightning_modules import Network

NETWORKS = [
    "alexnet", "alexnet_bn", "convnext_tiny", "densenet121", "dm_wrn_28_10", "efficientnet_b0", "efficientnet_lite0",
    "efficientnet_v2_s", "googlenet", "inception_v3", "mnasnet0_5", "mnist_cnn", "mobilenet_v2",
    "mobilenet_v3_small", "preact_resnet18", "regnet_x_400mf", "regnet_y_400mf", "resnet18", "resnet50", "resnet_small",
    "resnext50_32x4d", "shufflenet_v2_x0_5", "squeezenet1_0", "swin_t", "swin_v2_t", "vgg11_bn", "vit_b_32",
    "wrn_28_10", "deeplabv3_mobilenet_v3_large", "fcn_efficientnet_lite0", "fcn_resnet50", "fcn_small",
    "lraspp_mobilenet_v3_large",
]  # fmt: skip
"""One of each family: their others differ in widths and depths."""

SIZES = {
    "mnist_cnn": 28,
    "vit_b_32": 224,
    "dm_wrn_28_10": 8,
    "wrn_28_10": 8,
    "inception_v3": 80,
    "alexnet": 64,
    "alexnet_bn": 64,
}


def lively(network):
    """Running statistics and gains as after some training."""
    torch.manual_seed(0)
    for module in network.modules():
        if getattr(module, "running_mean", None) is not None:
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
    return network


def agree(network, image, kind="exact", same=False):
    """Logits and gradients of a network and its twin."""
    with at_rest(network, image, kind) as twin:
        assert (twin is network) == same
        image = image.clone().requires_grad_()
        expected, found = (logits_of(each(image)) for each in (network, twin))
        direction = torch.randn(expected.shape, generator=torch.Generator().manual_seed(0)).to(expected)
        wanted, gradient = (torch.autograd.grad((each * direction).sum(), image)[0] for each in (expected, found))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(gradient, wanted, rtol=1e-6, atol=1e-10 * wanted.abs().max().item() + 1e-12)


def norms_of(network, image):
    """How many batch norms are at work in a twin, and how many in the network."""
    seen = []
    kinds = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    with at_rest(network, image) as twin:
        works = nn.functional.batch_norm
        nn.functional.batch_norm = lambda *args, **kwargs: seen.append(1) or works(*args, **kwargs)
        try:
            twin(image)
        finally:
            nn.functional.batch_norm = works
    return len(seen), len(kinds)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_twin_equals_its_network_in_float64(name):
    size = SIZES.get(name, 33)
    network = lively(Network(name, 5, aux=name == "fcn_resnet50").double().eval())
    agree(network, uniform(2, 1 if name == "mnist_cnn" else 3, size, size))


@pytest.mark.parametrize("name", ["resnet50", "fcn_small", "vgg11_bn", "efficientnet_lite0", "mobilenet_v3_small"])
def test_no_batch_norm_is_at_work(name):
    found, of = norms_of(lively(Network(name, 5).eval()), torch.rand(1, 3, 32, 32))
    assert found == 0
    assert of > 5


def test_it_is_made_anew_after_each_step():
    network = lively(Network("resnet_small", 4).double())
    image, optimizer = uniform(2, 3, 16, 16), torch.optim.SGD(network.parameters(), 0.1)
    for _ in range(3):
        network.train()(image).square().sum().backward()  # moves weights and running statistics
        optimizer.step()
        agree(network, image)


def test_it_is_made_anew_whatever_changes():
    network, image = lively(Network("resnet_small", 4).double()), uniform(2, 3, 16, 16)
    agree(network, image)
    network.load_state_dict(lively(Network("resnet_small", 4).double()).state_dict(), assign=True)
    agree(network, image)
    network.model.fc = nn.Linear(128, 3).double()
    agree(network, image)
    network.model.backbone[0][0] = nn.Conv2d(3, 16, 5, padding=2).double()  # with a bias, and larger
    agree(network, image)
    network.model.backbone[0][1] = nn.GroupNorm(4, 16).double()
    agree(network, image)
    network.normalize.mean.add_(0.1)
    agree(network, image)
    network.half().double()
    agree(network, image)


def test_the_network_is_as_it_was():
    network = lively(Network("fcn_small", 4))
    state, modules = copy.deepcopy(network.state_dict()), [*network.modules()]
    attributes = [dict(vars(module)) for module in modules]
    with pytest.raises(KeyError), at_rest(network, torch.rand(1, 3, 16, 16)) as twin:
        twin(torch.rand(1, 3, 16, 16))
        raise KeyError
    assert network.training
    assert [*network.modules()] == modules
    assert [dict(vars(module)) for module in modules] == attributes
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert pickle.dumps(network)
    assert len(copy.deepcopy(network).state_dict()) == len(state)


def test_nothing_is_kept_of_a_network_that_is_gone():
    network = lively(Network("fcn_small", 4))
    with at_rest(network, torch.rand(1, 3, 16, 16)):
        pass
    gone, kept = weakref.ref(network), len(twins._twins)
    del network
    gc.collect()
    assert gone() is None
    assert len(twins._twins) == kept - 1


class Awkward(nn.Module):
    """A network with a forward from elsewhere."""

    def __init__(self, forward, **parts):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.bn, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1)
        for name, part in parts.items():
            setattr(self, name, part)
        self.made = [forward]

    def forward(self, image):
        return self.made[0](self, image)


class Standardized(nn.Conv2d):
    """Whatever its weight, it has a deviation of 1."""

    def forward(self, image):
        return self._conv_forward(image, self.weight / self.weight.std(), self.bias)


class Scaled(nn.Conv2d):
    """Derived, and does what it should."""

    def forward(self, image):
        return super().forward(image)


@pytest.mark.parametrize(
    ("forward", "parts"),
    [
        (lambda m, x: m.head(m.bn(m.conv(x)).relu_()), {}),
        (lambda m, x: m.head(m.bn(m.conv(x)) + m.bn(m.other(x))), {"other": nn.Conv2d(3, 4, 1)}),  # a shared norm
        (lambda m, x: m.head(m.bn(m.conv(x)).relu() + m.conv(x)), {}),
        (lambda m, x: m.head(m.bn(m.conv(m.conv2(m.conv(x))))), {"conv2": nn.Conv2d(4, 3, 1)}),  # used twice
        (lambda m, x: m.head(m.bn(m.conv(x))), {"bn": nn.BatchNorm2d(4, affine=False)}),
        (lambda m, x: m.head(m.bn(m.conv(x))), {"bn": nn.BatchNorm2d(4, track_running_stats=False)}),
        (lambda m, x: m.head(m.bn(m.conv(x))), {"bn": nn.SyncBatchNorm(4)}),
        (lambda m, x: m.head(m.bn(m.conv(x))), {"conv": nn.Conv2d(3, 4, 3, bias=False)}),
        (lambda m, x: m.head(m.bn(m.conv(x))), {"conv": nn.ConvTranspose2d(3, 4, 3, bias=False, stride=2)}),
        (lambda m, x: m.head(m.bn(m.conv(x))), {"conv": nn.Conv2d(3, 4, 3), "bn": nn.GroupNorm(2, 4)}),
        (lambda m, x: m.head(m.bn(m.conv(x))), {"conv": Standardized(3, 4, 3)}),
        (lambda m, x: m.head(m.bn(m.conv(x))), {"conv": Scaled(3, 4, 3)}),
        (lambda m, x: nn.functional.conv2d(m.bn(m.conv(x)), m.head.weight, m.head.bias), {}),
        (lambda m, x: m.bn(m.conv(x)).flatten(2).mean(2), {}),
        (lambda m, x: m.bn(m.conv(x)).view(len(x), -1)[:, :7], {}),  # takes no channels_last
        (lambda m, x: nn.functional.dropout(m.head(m.bn(m.conv(x))), 0.5, training=True), {}),
    ],
)
@pytest.mark.filterwarnings("error")
def test_awkward_networks_have_one(forward, parts):
    agree_with_noise(lively_awkward(Awkward(forward, **parts).double().eval()))


def lively_awkward(network):
    if getattr(network.bn, "running_mean", None) is not None:
        network.bn.running_mean.normal_()
        network.bn.running_var.uniform_(0.5, 2)
    return network


def agree_with_noise(network, image=None):
    image = uniform(2, 3, 6, 6) if image is None else image
    with at_rest(network, image) as twin:
        assert twin is not network
        found = []
        for each in (network, twin):
            torch.manual_seed(3)
            found.append(each(image.clone().requires_grad_()))
        torch.testing.assert_close(*found)


def test_a_twin_that_disagrees_is_not_used_and_a_line_says_so():
    def forward(m, x):
        m.calls[0] += 1
        return m.head(m.bn(m.conv(x))) * m.calls[0]

    network = Awkward(forward).double().eval()
    network.calls = [0]
    line = "Awkward: its twin gives logits that are off by .*; the network itself is used"
    with pytest.warns(UserWarning, match=line), at_rest(network, uniform(2, 3, 6, 6)) as twin:
        assert twin is network
    with warnings.catch_warnings(), at_rest(network, uniform(2, 3, 6, 6)) as twin:
        warnings.simplefilter("error")  # it is said once
        assert twin is network


def test_a_twin_that_fails_is_not_used_and_a_line_says_so():
    def forward(m, x):
        if not m.conv.weight.requires_grad:
            raise RuntimeError("no weight\nof mine")
        return m.head(m.bn(m.conv(x)))

    line = r"Awkward: its twin fails \(RuntimeError: no weight\); the network itself"
    network = Awkward(forward).eval()
    with pytest.warns(UserWarning, match=line), at_rest(network, torch.rand(2, 3, 6, 6)) as twin:
        assert twin is network


@pytest.mark.filterwarnings("error")
def test_a_network_that_fails_or_gives_nonsense_is_left_to_those_who_can_tell():
    def fails(m, x):
        raise ValueError("no")

    for forward in (fails, lambda m, x: m.head(m.bn(m.conv(x))) * float("nan")):
        network, image = Awkward(forward).eval(), torch.rand(2, 3, 6, 6)
        with at_rest(network, image) as twin:
            assert twin is network
    with at_rest(Awkward(lambda m, x: m.head(m.bn(m.conv(x)))).eval(), torch.rand(0, 3, 6, 6)):
        pass


def test_off_is_the_network_itself():
    agree(lively(Network("fcn_small", 4).double()), uniform(1, 3, 16, 16), "off", same=True)


def test_hooks_see_what_they_saw():
    network, image = lively(Network("fcn_small", 4).double().eval()), uniform(1, 3, 16, 16)
    for part, kind in (("0", "forward"), ("1", "forward"), ("1", "forward_pre"), ("0", "full_backward")):
        module, seen = network.model.backbone[0].get_submodule(part), []
        with at_rest(network, image) as twin:
            for each in (network, twin):
                hooked = each.model.backbone[0].get_submodule(part)
                handle = getattr(hooked, f"register_{kind}_hook")(lambda *call, seen=seen: seen.append(call[-1]))
                given = image.clone().requires_grad_()
                torch.autograd.grad(logits_of(each(given)).sum(), given)
                handle.remove()
        one, other = (each[0] if isinstance(each, tuple) else each for each in seen)
        torch.testing.assert_close(other, one)
        assert not module._forward_hooks


def test_frozen_parts_and_modes_that_are_kept():
    network = fcn()
    network[1].eval().requires_grad_(False)
    agree(network, uniform(2, 3, 6, 6))
    assert not network[1].training
    assert network[0].training
    assert [parameter.requires_grad for parameter in network[1].parameters()] == [False, False]


def test_attacks_cost_what_they_cost_and_end_where_they_did():
    network, image, label = fcn(), uniform(4, 3, 6, 6), ragged_labels()
    attack, found = PGD(Linf(0.1), 5), []
    for kind in ("off", "exact", "exact"):
        with at_rest(network, image, kind) as twin, counted(twin) as cost:
            found.append((attack(twin, image, label), cost))
    assert found[0][1] == found[1][1] == found[2][1]
    torch.testing.assert_close(found[1][0], found[0][0])
    torch.testing.assert_close(found[2][0], found[0][0])


def test_bf16_where_the_processor_has_none_is_exact_and_a_line_says_so(monkeypatch):
    monkeypatch.setattr(twins, "_processor_has_bf16", lambda: False)
    twins._tell_of_bf16.cache_clear()
    network, image = lively(Network("fcn_small", 4).double()), uniform(1, 3, 16, 16)
    with pytest.warns(UserWarning, match="bf16 is slower than float32 on this processor"):
        agree(network, image, "bf16")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        agree(network, image, "bf16")


def test_bf16_computes_in_bfloat16_and_gives_float32(monkeypatch):
    monkeypatch.setattr(twins, "_processor_has_bf16", lambda: True)
    network, image = lively(Network("fcn_small", 4)), torch.rand(2, 3, 16, 16)
    with at_rest(network, image, "bf16") as twin:
        seen = []
        twin.model.backbone[1].register_forward_hook(lambda *call: seen.append(call[2].dtype))
        found, expected = twin(image), network(image)
        assert seen[0] == torch.bfloat16
        assert found.dtype == torch.float32
        assert 1e-4 < (found - expected).norm() / expected.norm() < 0.05
        image = image.requires_grad_()
        (gradient,) = torch.autograd.grad(twin(image).square().mean(), image)
        assert gradient.dtype == torch.float32
    assert twins.exactly("bf16") == "exact"
    assert twins.exactly("off") == "off"


@pytest.mark.parametrize("kind", ["exact", "bf16"])
@pytest.mark.filterwarnings("error")
def test_a_network_that_cannot_be_taken_apart_stands_for_itself_and_stays_as_it_is(monkeypatch, kind):
    monkeypatch.setattr(twins, "_processor_has_bf16", lambda: True)
    own = nn.Sequential(nn.Conv2d(3, 2, 1))
    own.forward = lambda image: nn.Sequential.forward(own, image) + 1
    compiled = torch.compile(nn.Sequential(nn.Conv2d(3, 2, 1)), backend="eager")
    for network in (own, compiled):
        image, before = torch.rand(1, 3, 4, 4), type(network)
        for _ in range(2):
            with at_rest(network, image, kind) as twin:
                assert twin is network
        assert type(network) is before
        assert twin(image).dtype == torch.float32


def test_its_classes_have_names_of_their_own(monkeypatch):
    monkeypatch.setattr(twins, "_processor_has_bf16", lambda: True)
    with at_rest(Network("fcn_small", 4), torch.rand(1, 3, 16, 16), "bf16") as twin:
        assert isinstance(twin, Network)
    assert [kind for kind in Network.__subclasses__() if kind.__name__ == "Network"] == []  # a config names it


def test_it_serves_in_autocast_and_in_inference_mode():
    network, image = lively(Network("fcn_small", 4)), torch.rand(2, 3, 16, 16)
    with torch.autocast("cpu", torch.bfloat16), at_rest(network, image) as twin:
        assert twin is not network
        assert twin(image).dtype == torch.bfloat16
    with torch.inference_mode(), at_rest(network, torch.rand(2, 3, 16, 16)) as twin:
        assert twin(image.clone().requires_grad_()).requires_grad


def test_the_auxiliary_head_does_not_run():
    network, seen = Network("fcn_resnet50", 3, aux=True), []
    network.model.aux_classifier.register_forward_hook(lambda *_: seen.append(1))
    with at_rest(network, torch.rand(1, 3, 32, 32)) as twin:
        seen.clear()
        twin(torch.rand(1, 3, 32, 32))
        assert not seen

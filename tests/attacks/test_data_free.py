from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from networks import fcn, ragged_labels, seeded, uniform
from one_line import one_line
from torch import nn
from torch.utils.data import DataLoader

from attacks import DataFreeUAP, Linf
from attacks.data_free import watched

IMAGES, LABEL = uniform(4, 3, 6, 6), ragged_labels()
LOADER = [{"image": IMAGES, "label": LABEL}]


def rising():
    """One convolution with positive weights and a ReLU: more of every pixel excites more."""
    network = seeded(
        lambda: nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    ).double()
    network[0].weight.data.abs_()
    return network


def excitement(network, image):
    """The objective of one image, from its definition."""
    hidden = F.relu(network[1](network[0](image)))
    return hidden.norm().log()


def test_the_whole_set_is_gone_through_upwards():
    network = rising()
    attack = DataFreeUAP(Linf(0.1), steps=40, step_size=0.02, interval=15).fit(network, LOADER)
    assert torch.allclose(attack.perturbation, torch.full((3, 6, 6), 0.1, dtype=torch.float64))


@pytest.mark.parametrize("prior", ["none", "range", "data"])
def test_the_objective_grows_and_the_bound_holds(prior):
    network = fcn().eval()
    background = torch.tensor([0.485, 0.456, 0.406]).double().view(1, 3, 1, 1).expand(1, 3, 6, 6)
    values = []
    for steps in (1, 60):
        attack = DataFreeUAP(Linf(0.1), prior, steps=steps, step_size=0.005, interval=1000).fit(network, LOADER)
        assert attack.perturbation.shape == (3, 6, 6) and attack.perturbation.abs().max() <= 0.1 + 1e-12
        values.append(excitement(network, background + attack.perturbation))
    assert values[1] > values[0] + 0.01


def test_the_share_is_that_of_the_pixels_that_flip():
    network = fcn().eval()
    attack = DataFreeUAP(Linf(0.2), steps=30, step_size=0.02, interval=10).fit(network, LOADER)
    flips = network(attack(network, IMAGES, LABEL)).argmax(1) != network(IMAGES).argmax(1)
    assert attack.fooled == pytest.approx(flips[LABEL != 255].double().mean().item()) and attack.fooled > 0


def seen_by(network, attack, loader=LOADER):
    """The images of one that the network saw while it was fitted."""
    seen = []
    handle = network.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach().clone()))
    attack.fit(network, loader)
    handle.remove()
    return [image for image in seen if len(image) == 1]


def test_saturated_it_is_halved_and_goes_on():
    attack = DataFreeUAP(Linf(0.1), steps=40, step_size=0.05, interval=10, mean=(0.5, 0.5, 0.5))
    sizes = [(image - 0.5).abs().median().item() for image in seen_by(rising(), attack)]
    falls = [i for i in range(1, 40) if sizes[i] < 0.75 * sizes[i - 1]]
    assert len(falls) >= 2
    assert all(sizes[i - 1] == pytest.approx(0.1) and sizes[i] == pytest.approx(0.05) for i in falls[1:])
    assert all(sizes[i + 1] > sizes[i] for i in falls if i < 39)


def test_unsaturated_it_is_never_halved():
    attack = DataFreeUAP(Linf(0.1), steps=30, step_size=0.001, interval=1000, mean=(0.5, 0.5, 0.5))
    sizes = [(image - 0.5).mean().item() for image in seen_by(rising(), attack)]
    assert all(after > before for before, after in pairwise(sizes))


class Told(DataFreeUAP):
    """Counts its looks at the images, and is told what they show."""

    def share_fooled(self, network, perturbation, batches):
        self.looks = [*getattr(self, "looks", []), perturbation[0].clone()]
        return self.shares[len(self.looks) - 1]


def test_it_stops_after_looks_that_found_nothing_better_and_keeps_the_best():
    attack = Told(Linf(0.1), steps=1000, step_size=1e-5, interval=5, patience=3)
    attack.shares = [0.1, 0.4, 0.4, 0.3, 0.2, 0.9]
    images = seen_by(fcn(), attack)
    assert len(attack.looks) == 5 and len(images) == 25
    assert attack.fooled == 0.4 and torch.equal(attack.perturbation, attack.looks[1])


def test_it_looks_before_each_halving():
    """Where saturation comes quickly, as on small images, it would otherwise be halved again and again, unseen."""
    attack = Told(Linf(0.1), steps=100, step_size=0.05, interval=10, patience=4, mean=(0.5, 0.5, 0.5))
    attack.shares = [0.1, 0.5, 0.4, 0.3, 0.2, 0.1]
    images = seen_by(rising(), attack)
    assert len(attack.looks) == 6 and len(images) == 36
    assert attack.fooled == 0.5


def test_it_looks_once_at_the_end_at_least():
    attack = Told(Linf(0.1), steps=7, interval=5)
    attack.shares = [0.1, 0.4]
    attack.fit(fcn(), LOADER)
    assert len(attack.looks) == 2 and attack.fooled == 0.4


def test_range_is_noise_around_the_mean_and_anew_at_every_step():
    attack, seen = DataFreeUAP(Linf(0), "range", steps=3, batch_size=50), []
    network = rising()
    network.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach()))
    attack.fit(network, LOADER)
    noise = torch.stack([image for image in seen if len(image) == 50])
    assert noise.shape[0] == 3 and not torch.equal(noise[0], noise[1]) and noise.min() >= 0 and noise.max() <= 1
    assert len(noise[0].flatten(1)[:, 0].unique()) == 50
    for channel, mean, deviation in zip(noise.unbind(2), (0.485, 0.456, 0.406), (0.2425, 0.228, 0.203), strict=True):
        assert channel.mean().item() == pytest.approx(mean, abs=0.02)
        assert channel.std().item() == pytest.approx(deviation, rel=0.06)


@pytest.mark.parametrize("prior", ["none", "range", "data"])
def test_two_runs_agree_and_seeds_differ(prior):
    results = []
    for seed in (0, 0, 1):
        torch.manual_seed(len(results))
        loader = DataLoader([{"image": image} for image in IMAGES], batch_size=2, shuffle=True)
        attack = DataFreeUAP(Linf(0.1), prior, steps=6, interval=3, seed=seed)
        results.append(attack.fit(fcn(), loader).perturbation)
    assert torch.equal(results[0], results[1]) and not torch.allclose(results[0], results[2], atol=0.01)


# Layers.


def activations_of(network, image=IMAGES):
    with watched(network) as activations:
        network(image)
    assert not any(module._forward_hooks for module in network.modules())
    return activations


def test_a_module_used_twice_counts_twice():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.relu = nn.Conv2d(3, 3, 1).double(), nn.ReLU()

        def forward(self, image):
            return self.relu(self.conv(self.relu(image)))

    network = Twice()
    first, second = activations_of(network)
    assert torch.equal(first, IMAGES) and torch.equal(second, network.conv(IMAGES).relu())


class AddsInPlace(nn.Module):
    def forward(self, x):
        x += 1
        return x


def test_what_is_changed_in_place_afterwards_counts_as_it_was():
    conv = nn.Conv2d(3, 4, 3).double()
    network = nn.Sequential(conv, nn.SiLU(), AddsInPlace(), nn.SiLU(inplace=True), nn.AdaptiveAvgPool2d(1))
    first, second = activations_of(network)
    assert torch.equal(first, F.silu(conv(IMAGES))) and torch.equal(second, F.silu(first + 1))
    attack = DataFreeUAP(Linf(0.1), steps=3).fit(network, LOADER)
    assert attack.perturbation.isfinite().all()


def test_functional_activations_are_taken_at_the_norms_or_else_the_convolutions():
    class Functional(nn.Module):
        def __init__(self, norm):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 4, 1).double(), norm

        def forward(self, image):
            return F.relu(self.norm(self.conv(image)))

    network = Functional(nn.BatchNorm2d(4).double()).eval()
    (found,) = activations_of(network)
    assert torch.equal(found, network(IMAGES))
    network = Functional(nn.Identity())
    (found,) = activations_of(network)
    assert torch.equal(found, network(IMAGES))


def test_fully_connected_layers_do_not_count():
    network = nn.Sequential(
        nn.Conv2d(3, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 5), nn.ReLU(), nn.Linear(5, 2)
    ).double()
    assert [tuple(activation.shape) for activation in activations_of(network)] == [(4, 2, 4, 4)]


def test_a_silent_layer_makes_no_nan():
    network = rising()
    network[0].bias.data.fill_(-100)
    assert DataFreeUAP(Linf(0.1), steps=3).fit(network, LOADER).perturbation.isfinite().all()


def test_no_hook_remains_after_an_exception():
    network = nn.Sequential(fcn(), nn.Linear(7, 7).double())
    with pytest.raises(RuntimeError):
        DataFreeUAP(Linf(0.1), steps=3).fit(network, LOADER)
    assert not any(module._forward_hooks for module in network.modules())


def test_a_network_without_layers_is_refused():
    with pytest.raises(ValueError, match=one_line("DataFreeUAP: Flatten has no activation, norm or convolution")):
        DataFreeUAP(Linf(0.1), steps=3).fit(nn.Flatten(), LOADER)


@pytest.mark.parametrize(
    "options",
    [{"steps": 0}, {"interval": 0}, {"patience": 0}, {"batch_size": 0}, {"prior": "all"}, {"step_size": 0.0},
     {"step_size": 10}, {"mean": (124, 117, 104)}],
)  # fmt: skip
def test_bad_settings_are_refused_in_one_line(options):
    ((name, value),) = options.items()
    with pytest.raises(ValueError, match=one_line("DataFreeUAP: ", f"{name}={value!r}")):
        DataFreeUAP(Linf(0.1), **options)


class Auxiliary(nn.Module):
    def __init__(self):
        super().__init__()
        self.main = fcn()

    def forward(self, image):
        return {"out": self.main(image), "aux": self.main(image)}


def test_networks_that_give_a_dict_are_fitted():
    attack = DataFreeUAP(Linf(0.1), steps=4).fit(Auxiliary(), LOADER)
    assert 0 <= attack.fooled <= 1

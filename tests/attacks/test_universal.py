import pytest
import torch
from networks import fcn, linear, ragged_labels, uniform
from one_line import one_line
from torch import nn
from torch.utils.data import DataLoader

from attacks import L2, UAP, DataFreeUAP, DeepFool, Linf, Universal
from attacks.adversary import undisturbed
from attacks.universal import Batches, resized

IMAGES = 0.3 + 0.4 * uniform(40, 3, 4, 4, seed=2)


def batches(images=IMAGES, size=16, **others):
    return [{"image": image, **{k: v[16 * i : 16 * i + 16] for k, v in others.items()}}
            for i, image in enumerate(images.split(size))]  # fmt: skip


def weak_side():
    """Two classes that differ by the mean of a channel, most images just on one side of the boundary."""
    network = linear()
    network[1].weight.data.zero_()
    network[1].weight.data[1, :16] = 1.0
    network[1].bias.data = torch.tensor([0.0, -8.5]).double()  # 16 pixels of mean 0.5: a little below
    return network


def rate(network, attack, images=IMAGES):
    """Changed predictions, counted by hand."""
    label = network(images).argmax(1)
    return (network(attack(network, images, label)).argmax(1) != label).double().mean().item()


@pytest.mark.parametrize("ball", [Linf(0.08), L2(0.3)])
def test_a_shared_weakness_is_found_and_the_bound_holds(ball):
    network = weak_side()
    attack = UAP(ball, fooling_rate=0.75).fit(network, batches())
    assert attack.fooled == pytest.approx(rate(network, attack)) and attack.fooled >= 0.75
    size = attack.perturbation.abs().max() if isinstance(ball, Linf) else attack.perturbation.norm()
    assert attack.perturbation.shape == (3, 4, 4) and size <= ball.eps + 1e-12
    assert attack.perturbation[0].mean() > 5 * attack.perturbation[1:].abs().max(), "along the one weak direction"


def test_two_runs_agree_to_the_bit_and_other_seeds_shuffle_otherwise():
    network, data = linear(4), [{"image": image} for image in IMAGES]
    results = []
    for seed in (0, 0, 1):
        torch.manual_seed(len(results))  # whatever state the generator is in
        loader = DataLoader(data, batch_size=7, shuffle=True)
        results.append(UAP(Linf(0.05), max_passes=1, seed=seed).fit(network, loader).perturbation)
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_one_pass_by_hand():
    """The algorithm, written out for single images."""
    network, ball = linear(4), Linf(0.02)
    expected = torch.zeros(1, 3, 4, 4, dtype=torch.float64)
    for image in IMAGES[:6].split(1):
        label, start = network(image).argmax(1), (image + expected).clamp(0, 1)
        if network(start).argmax(1) == label:
            moved = DeepFool(steps=10)(network, start, label)
            expected = (expected + moved - start).clamp(-0.02, 0.02)
    attack = UAP(ball, fooling_rate=1.0, max_passes=1).fit(network, batches(IMAGES[:6], 4))
    torch.testing.assert_close(attack.perturbation, expected[0], rtol=0, atol=1e-12)


def test_it_stops_when_the_rate_is_reached_and_keeps_the_best_pass():
    network, seen = weak_side(), []

    class Counting(UAP):
        def share_fooled(self, network, perturbation, batches):
            seen.append((super().share_fooled(network, perturbation, batches), perturbation[0]))
            return (0.5, 0.7, 0.6, 0.1)[len(seen) - 1]

    attack = Counting(Linf(0.01), fooling_rate=0.65).fit(network, batches())
    assert len(seen) == 2 and attack.fooled == 0.7
    seen.clear()
    attack = Counting(Linf(0.03), fooling_rate=0.9, max_passes=4).fit(network, batches())
    assert len(seen) == 4 and attack.fooled == 0.7 and torch.equal(attack.perturbation, seen[1][1])


def test_no_label_is_read_but_void():
    network = weak_side()
    expected = UAP(Linf(0.05), max_passes=1).fit(network, batches())
    labelled = UAP(Linf(0.05), max_passes=1).fit(network, batches(label=torch.full((40,), 255)))
    assert torch.equal(labelled.perturbation, expected.perturbation) and labelled.fooled == expected.fooled


def test_what_does_not_cross_adds_nothing():
    network = linear(2)
    network[1].bias.data[0] = 1000.0  # no image can be changed
    attack = UAP(Linf(0.05), max_passes=2).fit(network, batches())
    assert not attack.perturbation.any() and attack.fooled == 0


# As an attack.


def fitted(ball=None, perturbation=None):
    attack = DataFreeUAP(ball or Linf(0.1))
    attack.perturbation = 0.2 * uniform(3, 6, 6, seed=5) - 0.1 if perturbation is None else perturbation
    return attack


def test_it_is_added_to_every_image_alike():
    image = 0.2 + 0.6 * uniform(4, 3, 6, 6)
    result = fitted()(fcn(), image, ragged_labels())
    torch.testing.assert_close(result - image, fitted().perturbation.expand(4, 3, 6, 6))


@pytest.mark.parametrize("ball", [Linf(0.05), L2(0.2)])
def test_what_is_too_large_is_projected(ball):
    image = uniform(4, 3, 6, 6)
    delta = fitted(ball)(fcn(), image, ragged_labels()) - image
    size = delta.abs().amax((1, 2, 3)) if isinstance(ball, Linf) else delta.flatten(1).norm(dim=1)
    assert (size <= ball.eps + 1e-12).all() and (size > 0.5 * ball.eps).all()


def test_another_size_gets_it_resized():
    ramp = torch.linspace(-0.1, 0.1, 6, dtype=torch.float64).expand(3, 6, 6)
    image = torch.full((2, 3, 12, 24), 0.5, dtype=torch.float64)
    delta = fitted(perturbation=ramp)(fcn(), image, torch.zeros(2, 12, 24, dtype=torch.long)) - image
    assert torch.allclose(delta[:, :, :1].expand_as(delta), delta)
    assert (delta.diff(dim=3) >= -1e-12).all() and delta.min() == pytest.approx(-0.1) and delta.max() <= 0.1 + 1e-12
    assert delta[0, 0, 0, 11] == pytest.approx(-delta[0, 0, 0, 12].item()), "pixels are areas, not corners"


def test_the_dtype_is_the_images():
    image = uniform(4, 3, 6, 6).float()
    assert fitted()(fcn().float(), image, ragged_labels()).dtype == torch.float32


def test_unfitted_it_says_so():
    with pytest.raises(RuntimeError, match=one_line("UAP: no perturbation yet; call fit(network, loader)")):
        UAP(Linf(0.1))(linear(), IMAGES, torch.zeros(40, dtype=torch.long))


def test_a_fitted_one_is_printed_in_short():
    assert repr(fitted()).count("\n") == 0 and "perturbation=Tensor(3, 6, 6)" in repr(fitted())
    assert "fooling_rate=0.8, max_passes=10, deepfool=DeepFool(num_classes=10" in repr(UAP(Linf("10/255")))


def test_it_goes_to_disk_and_back(tmp_path):
    attack = UAP(Linf(0.05), max_passes=1).fit(weak_side(), batches())
    torch.save(attack.perturbation, tmp_path / "uap.pt")
    other = UAP(Linf(0.05))
    other.perturbation = torch.load(tmp_path / "uap.pt", weights_only=True)
    label = torch.zeros(40, dtype=torch.long)
    assert torch.equal(other(weak_side(), IMAGES, label), attack(weak_side(), IMAGES, label))


# What fitting leaves behind.


class Fails(Universal):
    def craft(self, network, batches):
        next(iter(batches))
        network.train()
        torch.rand(3)
        raise RuntimeError("out of memory")


@pytest.mark.parametrize("attack", [UAP(Linf(0.1), max_passes=1), DataFreeUAP(Linf(0.1), steps=3), Fails(Linf(0.1))],
                         ids=["UAP", "DataFreeUAP", "fails"])  # fmt: skip
def test_fitting_leaves_the_network_and_the_generators_alone(attack):
    network = nn.Sequential(fcn(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    network[0][1].eval()
    network(IMAGES).sum().backward()
    grads = [p.grad for p in network.parameters()]

    def state():
        return {
            "training": [module.training for module in network.modules()],
            "values": [t.tolist() for t in (*network.parameters(), *network.buffers(), *grads)],
            "generator": torch.get_rng_state().tolist(),
            "hooks": [len(module._forward_hooks) for module in network.modules()],
        }

    before = state()
    loader = DataLoader([{"image": image} for image in IMAGES], batch_size=8, shuffle=True)
    if isinstance(attack, Fails):
        with pytest.raises(RuntimeError, match="out of memory"):
            attack.fit(network, loader)
        assert attack.perturbation is None
    else:
        attack.fit(network, loader)
        assert not attack.perturbation.requires_grad
    assert state() == before
    assert all(p.grad is grad for p, grad in zip(network.parameters(), grads, strict=True))


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_fitting_works_where_gradients_are_off(context):
    network = weak_side()
    expected = UAP(Linf(0.05), max_passes=1).fit(network, batches()).perturbation
    with context():
        made_inside = batches(IMAGES.clone())
        attack = UAP(Linf(0.05), max_passes=1).fit(network, made_inside)
        assert torch.equal(attack.perturbation, expected) and not attack.perturbation.is_inference()


# Loaders.


@pytest.mark.parametrize("loader", [[], iter(batches())], ids=["empty", "once only"])
def test_a_loader_without_images_is_refused(loader):
    with pytest.raises(ValueError, match=one_line("the loader gives no images")):
        UAP(Linf(0.1), fooling_rate=1.0).fit(weak_side(), loader)


def test_the_share_counts_valid_pixels_inside_the_region():
    network, image, label = fcn().eval(), uniform(4, 3, 6, 6), ragged_labels()
    region = torch.ones(4, 1, 6, 6, dtype=torch.bool)
    region[1, :, :, 3:] = False
    label[1, :, 3:] = 255
    attack = fitted()
    with undisturbed(network):
        loader = [{"image": image[:3], "label": label[:3], "region": region[:3]},
                  {"image": image[3:], "label": label[3:], "region": region[3:]}]  # fmt: skip
        share = attack.share_fooled(network, attack.perturbation[None], Batches(loader, None))
    changed = network(attack(network, image, label, region=region)).argmax(1) != network(image).argmax(1)
    assert share == pytest.approx(changed[label != 255].double().mean().item()) and 0 < share < 1
    assert share != pytest.approx(changed.double().mean().item())


def test_images_of_different_sizes_are_fitted_together():
    pool = nn.Sequential(nn.AdaptiveAvgPool2d(4), weak_side())
    loader = [{"image": 0.3 + 0.4 * uniform(6, 3, size, size, seed=size)} for size in (6, 8, 5)]
    attack = UAP(Linf(0.1), fooling_rate=0.6).fit(pool, loader)
    assert attack.perturbation.shape == (3, 6, 6) and attack.fooled >= 0.6


def test_a_perturbation_of_other_channels_is_refused():
    with pytest.raises(ValueError, match=one_line("perturbation (1, 3, 6, 6) does not fit images (2, 1, 6, 6)")):
        resized(torch.zeros(1, 3, 6, 6), torch.zeros(2, 1, 6, 6))


def test_label_maps_are_refused_by_the_one_for_classifiers():
    with pytest.raises(ValueError, match=one_line("UAP: logits (4, 3, 6, 6) are of label maps", "DataFreeUAP")):
        UAP(Linf(0.1)).fit(fcn(), [{"image": uniform(4, 3, 6, 6)}])


@pytest.mark.parametrize("options", [{"fooling_rate": 0}, {"fooling_rate": 1.5}, {"max_passes": 0}])
def test_bad_settings_are_refused_in_one_line(options):
    ((name, value),) = options.items()
    with pytest.raises(ValueError, match=one_line("UAP: ", f"{name}={value}")):
        UAP(Linf(0.1), **options)

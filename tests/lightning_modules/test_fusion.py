"""Late fusion: what it computes by hand, for all kinds of networks, and what it refuses."""

import copy
import pickle

import networks
import pytest
import torch
from networks import uniform
from one_line import one_line
from torch import nn
from torchvision import models

from attacks import APGD, FGSM, PGD, Linf
from callbacks.synthesis.representation import Representation
from lightning_modules import Classifier, LateFusion, Network, NetworkError

KINDS = {
    "alexnet_bn": (64, "classifier.6"),
    "efficientnet_lite0": (32, "_fc"),
    "mnist_cnn": (16, "classifier.3"),
    "preact_resnet18": (16, "linear"),
    "resnet_small": (16, "fc"),
    "convnext_tiny": (32, "classifier.2"),
    "densenet121": (32, "classifier"),
    "mobilenet_v3_small": (32, "classifier.3"),
    "shufflenet_v2_x0_5": (32, "fc"),
    "swin_t": (32, "head"),
    "fcn_efficientnet_lite0": (32, "classifier.4"),
    "fcn_small": (16, "classifier.3"),
    "deeplabv3_mobilenet_v3_large": (32, "classifier.4"),
}
"""Networks, a size of images that suits them, and their last linear maps."""


def members(*names, classes=3, first=0):
    """Networks in eval mode, each with random weights of its own."""
    torch.manual_seed(first)
    return [Network(name, classes).eval() for name in names]


class Pixels(nn.Module):
    """Classifies pixels from maps of half their size, by a last linear map in a given place; float64."""

    def __init__(self, classes=3, channels=4, stride=2):
        super().__init__()
        self.body = nn.Conv2d(3, channels, 3, stride, 1)
        self.last = nn.Conv2d(channels, classes, 1)
        self.double()

    def forward(self, image):
        logits = self.last(self.body(image).tanh())
        return nn.functional.interpolate(logits, image.shape[-2:], mode="bilinear", align_corners=False)


class Whole(nn.Module):
    """Classifies images, with a layer after the last linear map of its forward pass; float64."""

    def __init__(self, classes=3, units=5):
        super().__init__()
        self.last = nn.Linear(units, classes)
        self.body = nn.Linear(3 * 4 * 4, units)
        self.double()

    def forward(self, image):
        return self.last(self.body(image.flatten(1)).tanh())


def whole(number=2, **options):
    torch.manual_seed(0)
    return [Whole(units=5 + i, **options) for i in range(number)]


IMAGE = uniform(2, 3, 4, 4)


@pytest.mark.parametrize(("name", "size", "layer"), [(name, *about) for name, about in KINDS.items()], ids=KINDS)
def test_features_side_by_side_in_one_linear_map(name, size, layer):
    """With the networks' own linear maps in it, half of each, it is the mean of their logits."""
    one, other = members(name, name)
    image = uniform(2, 3, size, size, seed=3).float()
    last = [network.model.get_submodule(layer) for network in (one, other)]
    with torch.no_grad():
        logits = one(image), other(image)
        fusion = LateFusion(3, [one, other]).eval()
        fusion.head.weight.copy_(torch.cat([layer.weight for layer in last], 1) / 2)
        fusion.head.bias.copy_(sum(layer.bias for layer in last) / 2)
        got = fusion(image)
    want, differ = (logits[0] + logits[1]) / 2, (logits[0] - logits[1]).abs().max().item()
    assert fusion.layers == [f"model.{layer}"] * 2 and got.shape == want.shape
    assert 0 < differ < 1e3 and torch.allclose(got, want, rtol=0, atol=1e-4 * differ)


def test_other_heads_than_a_linear_layer_become_features():
    """SqueezeNet's is a convolution, a ReLU and a mean over pixels; the mean of what it sees is the features."""
    one, other = members("squeezenet1_1", "resnet_small")
    image = uniform(2, 3, 32, 32).float()
    fusion = LateFusion(4, [one, other]).eval()
    assert isinstance(fusion.head, nn.Linear) and fusion.head.in_features == 512 + 128
    features = [one.model.features(one.normalize(image)).mean((2, 3))]
    features += [other.model.backbone(other.normalize(image)).mean((2, 3))]
    assert torch.allclose(fusion(image), fusion.head(torch.cat(features, 1)), atol=1e-5)
    assert LateFusion(4, members("squeezenet1_1", "squeezenet1_1")).eval()(image).shape == (2, 4)


def test_an_auxiliary_head_is_neither_used_nor_trained():
    fusion = LateFusion(3, [Network("deeplabv3_mobilenet_v3_large", 3, aux=True) for _ in range(2)]).train()
    assert fusion.layers == ["model.classifier.4"] * 2
    logits = fusion(uniform(2, 3, 16, 16).float())
    assert isinstance(logits, torch.Tensor)
    trained = {name: parameter for name, parameter in fusion.named_parameters() if parameter.requires_grad}
    assert trained and not any("aux" in name for name in trained)
    gradients = torch.autograd.grad(logits.square().sum(), list(trained.values()), allow_unused=True)
    assert all(gradient is not None for gradient in gradients), "several processes would wait for it"


@pytest.mark.parametrize("join", ["features", "logits", "probabilities"])
def test_by_hand(join):
    one, other = whole()
    logits = one(IMAGE), other(IMAGE)
    features = [network.body(IMAGE.flatten(1)).tanh() for network in (one, other)]
    layers = ["last", "last"] if join == "features" else None
    fusion = LateFusion(3, [one, other], join, layers).double()
    if join == "features":
        want = torch.cat(features, 1) @ fusion.head.weight.T + fusion.head.bias
    elif join == "logits":
        want = (logits[0] + logits[1]) / 2
    else:
        want = ((logits[0].softmax(1) + logits[1].softmax(1)) / 2).log()
    assert torch.allclose(fusion(IMAGE), want, rtol=0, atol=1e-12)


@pytest.mark.parametrize("join", ["features", "logits", "probabilities"])
def test_the_gradient_is_that_of_what_is_computed(join):
    for fused in (whole(), [Pixels(), Pixels(channels=2, stride=1)]):
        layers = ["last", "last"] if join == "features" else None
        fusion = LateFusion(3, fused, join, layers).double()
        image = IMAGE.clone().requires_grad_()
        assert torch.autograd.gradcheck(fusion, (image,))


def test_the_gradient_to_the_image_is_the_mean_of_the_networks():
    one, other = whole()
    image = IMAGE.clone().requires_grad_()

    def gradient(network):
        return torch.autograd.grad(network(image)[:, 1].sum(), image)[0]

    want = (gradient(one) + gradient(other)) / 2
    assert torch.allclose(gradient(LateFusion(3, [one, other], "logits")), want, rtol=0, atol=1e-14)


def test_probabilities_of_networks_that_are_very_sure_stay_finite():
    one, other = whole()
    one.last.weight.data *= 1e4
    other.last.weight.data *= 1e4
    logits = LateFusion(3, [one, other], "probabilities").float()(IMAGE.float())
    assert logits.isfinite().all() and torch.allclose(logits.exp().sum(1), torch.ones(2))


def test_segmentation_networks_of_other_resolutions_meet_at_the_finest():
    torch.manual_seed(0)
    coarse, fine = Pixels(channels=2, stride=4), Pixels(channels=3, stride=2)
    fusion = LateFusion(5, [coarse, fine]).double()
    image = uniform(2, 3, 8, 8)
    maps = [network.body(image).tanh() for network in (coarse, fine)]
    maps[0] = nn.functional.interpolate(maps[0], (4, 4), mode="bilinear", align_corners=False)
    want = nn.functional.interpolate(fusion.head(torch.cat(maps, 1)), (8, 8), mode="bilinear", align_corners=False)
    assert fusion(image).shape == (2, 5, 8, 8) and torch.equal(fusion(image), want)


def test_each_network_has_its_own_normaliser():
    one, other = (Network("resnet_small", 3, mean=mean, std=(1, 1, 1)) for mean in ((0, 0, 0), (0.5, 0.5, 0.5)))
    fusion = LateFusion(3, [one, other], "logits").eval()
    image = uniform(2, 3, 16, 16).float()
    assert torch.equal(fusion(image), torch.stack([one(image), other(image)]).mean(0))
    assert {f"networks.{i}.normalize.mean" for i in (0, 1)} <= fusion.state_dict().keys()


def test_more_than_two_and_fusions_of_fusions():
    inner = LateFusion(3, members("resnet_small", "mnist_cnn"))
    fusion = LateFusion(4, [inner, *members("preact_resnet18"), *members("alexnet_bn")]).eval()
    assert fusion.layers[0] == "head" and fusion.head.in_features == 128 + 1024 + 512 + 4096
    assert fusion(uniform(2, 3, 64, 64).float()).shape == (2, 4)


def test_all_networks_are_trained_and_parts_frozen_by_their_names():
    fusion = LateFusion(3, [*members("resnet_small"), *members("preact_resnet18")])
    gradients = torch.autograd.grad(fusion.train()(uniform(4, 3, 8, 8).float())[:, 0].sum(), fusion.parameters())
    assert all(gradient is not None for gradient in gradients)
    module = Classifier(fusion, frozen=["networks.0"], lr_multipliers={"head": 10.0, "networks.1.model.conv1": 2.0})
    module.train()
    assert not fusion.networks[0].training and fusion.networks[1].training
    assert all(each.requires_grad == (i == 1) for i in (0, 1) for each in fusion.networks[i].parameters())
    groups = {group["lr"]: len(group["params"]) for group in module._make(None)[0].param_groups}
    assert groups == {0.02: len(list(fusion.networks[1].parameters())) - 1, 0.2: 2, 0.04: 1}


@pytest.mark.parametrize("attack", [FGSM(Linf(0.03)), PGD(Linf(0.03), steps=3), APGD(Linf(0.03), steps=5)], ids=repr)
@pytest.mark.parametrize("join", ["features", "logits", "probabilities"])
def test_it_is_attacked_as_a_whole(attack, join):
    fusion = LateFusion(3, whole(), join, ["last", "last"] if join == "features" else None).double().train()
    before, label = copy.deepcopy(fusion.state_dict()), fusion(IMAGE).argmax(1)
    adversarial = attack(fusion, IMAGE, label)
    loss = [nn.functional.cross_entropy(fusion(each), label) for each in (IMAGE, adversarial)]
    assert loss[1] > loss[0] and (adversarial - IMAGE).abs().max() <= 0.03 + 1e-12
    assert all(torch.equal(value, before[key]) for key, value in fusion.state_dict().items())
    assert fusion.training and all(parameter.grad is None for parameter in fusion.parameters())


@pytest.mark.parametrize("names", [("resnet_small", "preact_resnet18"), ("fcn_small", "fcn_efficientnet_lite0")])
def test_its_representation_is_that_of_all(names):
    fusion = LateFusion(3, members(*names)).eval()
    image = uniform(2, 3, 32, 32).float()
    found = Representation(fusion, image)
    representation, logits = found(image)
    assert found.name == "head" and found.units == fusion.head.weight.shape[1] == representation.shape[1]
    assert torch.equal(logits, fusion(image))


def test_nothing_of_an_image_is_kept():
    fusion = LateFusion(3, whole(), layers=["last", "last"]).double()
    fusion(IMAGE.clone().requires_grad_())
    copied = pickle.loads(pickle.dumps(copy.deepcopy(fusion)))
    assert torch.equal(copied(IMAGE), fusion(IMAGE))
    assert all(layer.features is None for layer in fusion.modules() if hasattr(layer, "features"))


def test_a_sample_does_not_depend_on_its_neighbours():
    fusion = LateFusion(3, [*members("resnet_small"), *members("preact_resnet18")]).double().eval()
    image = uniform(3, 3, 8, 8)
    assert torch.allclose(fusion(image)[1:2], fusion(image[1:2]), rtol=0, atol=1e-12)


def test_a_network_fused_with_itself_is_told_and_trained_as_two():
    (network,) = members("resnet_small")
    with pytest.warns(UserWarning, match=r"networks.0 and networks.1 have the same weights: .* with itself"):
        fusion = LateFusion(3, [network, network])
    one, other = (dict(each.named_parameters()) for each in fusion.networks)
    assert one.keys() == other.keys() and all(one[name] is not other[name] for name in one)
    assert fusion.eval()(uniform(2, 3, 8, 8).float()).shape == (2, 3)


def test_the_same_file_twice_is_told(tmp_path):
    file = tmp_path / "w.pt"
    torch.save(members(SMALL)[0].state_dict(), file)
    with pytest.warns(UserWarning, match="the same weights"):
        LateFusion(4, [Network("resnet_small", 3, backbone_weights=str(file)) for _ in range(2)])


def unused():
    network = Whole()
    network.spare = nn.Linear(5, 3).double()
    return network


def two_maps():
    network = Whole()
    network.scale = nn.Parameter(torch.ones(3).double())
    network.forward = lambda image: Whole.forward(network, image) * network.scale
    return network


def tokens():
    return nn.Sequential(nn.Flatten(2), nn.Linear(16, 3), nn.Flatten(1)).double()


SMALL = "resnet_small"
BAD = {
    "none": (list, {}, "networks: 0 given; it takes two or more"),
    "one": (lambda: whole(1), {}, "networks: 1 given"),
    "classes": (whole, {"num_classes": 1}, "num_classes=1 must be 2 or more"),
    "join": (whole, {"join": "votes"}, "join='votes' is none of features, logits, probabilities"),
    "layers and logits": (whole, {"join": "logits", "layers": [None, None]}, "layers is for join=features"),
    "too few layers": (whole, {"layers": ["last"]}, "layers: 1 given for 2 networks"),
    "no layer": (whole, {"layers": ["last", "lst"]}, "networks.1 has no 'lst'; it has last"),
    "no linear map": (lambda: [*members(SMALL, SMALL)], {"layers": ["model.backbone.0", None]},
                      "model.backbone.0 of networks.0 is Sequential, no linear map"),
    "last of 3 x 3": (lambda: [networks.fcn(), networks.fcn()], {}, "networks.0 (Sequential): its last layer is no"),
    "nothing": (lambda: [Whole(), nn.Flatten()], {"layers": ["last", None]}, "networks.1 (Flatten): its last layer"),
    "other classes": (lambda: [*members(SMALL), *members(SMALL, classes=4)], {"join": "logits"},
                      "networks.1 (resnet_small) has 4 classes, not num_classes=3: join=logits needs the same"),
}  # fmt: skip


@pytest.mark.parametrize(("made", "options", "line"), BAD.values(), ids=BAD)
def test_what_cannot_be_fused_is_told_at_once(made, options, line):
    with pytest.raises(NetworkError, match=one_line("LateFusion: ", line)):
        LateFusion(**{"num_classes": 3, "networks": made(), **options})


MISFITS = {
    "a user's other classes": (lambda: [Whole(), Whole(4)], {"join": "probabilities"}, "networks.1 (Whole) has 4"),
    "kinds": (lambda: [Whole(), Pixels()], {"layers": ["last", None]},
              "networks.0 (Whole) gives logits of whole images, and networks.1 (Pixels) of 4 x 4 pixels"),
    "kinds by logits": (lambda: [Pixels(), Whole()], {"join": "logits"}, "(Whole) of whole images: fuse classifiers"),
    "not used": (lambda: [Whole(), unused()], {"layers": ["last", None]}, "(Whole): spare is not used; name its last"),
    "not alone": (lambda: [two_maps(), Whole()], {"layers": ["last", "last"]}, "last does not make its logits alone"),
    "two branches": (lambda: members("lraspp_mobilenet_v3_large") * 2, {}, "high_classifier does not make its logits"),
    "tokens": (lambda: [tokens(), tokens()], {}, "(Sequential): 1 sees (2, 3, 16), no (B, K) or"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*the same weights")
@pytest.mark.parametrize(("made", "options", "line"), MISFITS.values(), ids=MISFITS)
def test_what_does_not_fit_together_is_told_when_images_are_seen(made, options, line):
    fusion = LateFusion(**{"num_classes": 3, "networks": made(), **options}).double().eval()
    image = uniform(2, 3, 32, 32) if line.startswith("high") else IMAGE
    with pytest.raises(NetworkError, match=one_line("LateFusion: ", line)):
        fusion(image)


def test_torchvisions_own_networks_fit_with_a_normaliser_before_them():
    torch.manual_seed(0)
    transformer = models.VisionTransformer(32, 16, 1, 2, 16, 32, num_classes=9)
    made = [nn.Sequential(nn.InstanceNorm2d(3), each) for each in (models.resnet18(num_classes=7), transformer)]
    fusion = LateFusion(3, made).eval()
    assert fusion.layers == ["1.fc", "1.heads.head"] and fusion.head.in_features == 512 + 16
    assert fusion(uniform(2, 3, 32, 32).float()).shape == (2, 3)

from collections import namedtuple
from urllib.error import URLError

import pytest
import torch
from networks import seeded, uniform
from one_line import one_line
from torch import nn
from torchvision import models

from attacks import FGSM, Linf
from lightning_modules import Network, NetworkError, network
from lightning_modules.network import IMAGENET_MEAN, IMAGENET_STD, Normalize

IMAGE = uniform(2, 3, 32, 32).float()


class DownloadError(Exception):
    pass


@pytest.fixture(autouse=True)
def published(monkeypatch):
    """Instead of downloading: raises `published["error"]`, or gives `published["state"]`."""
    box = {"error": DownloadError()}

    def load(url, **options):
        if "state" not in box:
            raise box["error"]
        return box["state"]

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", load)
    return box


@pytest.fixture(scope="module")
def fcn():
    return Network("fcn_resnet50", 21, aux=True)


def build(name="resnet_small", num_classes=3, **options):
    return seeded(lambda: Network(name, num_classes, **options))


def same(a, b):
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_0", "mobilenet_v3_small", "resnet_small"])
def test_a_classifier_by_name(name):
    built = Network(name, 7)
    assert built(IMAGE).shape == (2, 7)
    assert (built.name, built.num_classes) == (name, 7)


@pytest.mark.parametrize("name", network.OWN)
def test_networks_of_our_own_by_name(name):
    with torch.device("meta"):  # shapes alone: some are large
        built = Network(name, 7).eval()
        logits = built(torch.empty(2, 3, 64, 64))
    assert type(built.model) is network.OWN[name]
    assert logits.shape[:2] == (2, 7)


@pytest.mark.parametrize("name", ["fcn_small", "lraspp_mobilenet_v3_large"])
def test_a_segmentation_network_by_name(name):
    assert Network(name, 7).eval()(IMAGE).shape == (2, 7, 32, 32)


def test_the_auxiliary_head_speaks_in_train_mode_only(fcn):
    output = fcn.train()(IMAGE)
    assert output.keys() == {"out", "aux"}
    assert output["out"].shape == output["aux"].shape == (2, 21, 32, 32)
    assert not torch.equal(output["out"], output["aux"])
    with torch.no_grad():
        logits = fcn.eval()(IMAGE)
        assert torch.equal(logits, fcn.model(fcn.normalize(IMAGE))["out"])


class NamedTuple(nn.Module):
    """Gives what GoogLeNet and Inception do in train mode."""

    def __init__(self, num_classes):
        super().__init__()
        self.head = nn.Conv2d(3, num_classes, 1)

    def forward(self, image):
        logits = self.head(image).mean((2, 3))
        return namedtuple("Outputs", "logits aux_logits")(logits, logits + 1) if self.training else logits


def test_a_named_tuple_becomes_a_dict(monkeypatch):
    monkeypatch.setitem(network.OWN, "named_tuple", NamedTuple)
    built = build("named_tuple")
    output = built.train()(IMAGE)
    torch.testing.assert_close(output["aux"], output["out"] + 1)
    assert torch.equal(built.eval()(IMAGE), output["out"])


# The normaliser.


def test_a_standard_deviation_of_0_is_refused():
    with pytest.raises(NetworkError, match=one_line("std=[0, 1, 1]", "above 0")):
        build(std=(0, 1, 1))


def test_the_normaliser_is_inside():
    mean, std = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)
    built = build(mean=mean, std=std).eval()
    by_hand = (IMAGE - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    torch.testing.assert_close(built(IMAGE), built.model(by_hand))


def test_it_normalises_like_imagenet_unless_told_otherwise():
    normalize = build().normalize
    assert normalize.mean.flatten().tolist() == pytest.approx(IMAGENET_MEAN)
    assert normalize.std.flatten().tolist() == pytest.approx(IMAGENET_STD)
    assert build(mean=(0, 0, 0)).normalize.mean.flatten().tolist() == [0, 0, 0]


def test_published_weights_bring_their_normaliser(published):
    original = models.resnet18()
    published["state"] = original.state_dict()
    built = Network("resnet18", 1000, weights="IMAGENET1K_V1")
    transforms = models.ResNet18_Weights.IMAGENET1K_V1.transforms()
    assert same(built.model, original)
    assert built.normalize.mean.flatten().tolist() == pytest.approx(transforms.mean)
    assert built.normalize.std.flatten().tolist() == pytest.approx(transforms.std)


def test_published_weights_may_have_another_normaliser_than_imagenets(monkeypatch):
    monkeypatch.setattr(network, "_build", lambda *_: nn.Identity())
    normalize = Network("efficientnet_v2_l", 1000, weights="DEFAULT").normalize
    assert normalize.mean.flatten().tolist() == normalize.std.flatten().tolist() == [0.5] * 3
    assert Network("efficientnet_v2_l", 1000, weights="DEFAULT", mean=(0, 0, 0)).normalize.mean.max() == 0


@pytest.mark.parametrize("name", ["efficientnet_lite0", "fcn_efficientnet_lite0"])
def test_an_architecture_may_have_another_normaliser_than_imagenets(name):
    """The pixels of EfficientNet-Lite are `(value - 127) / 128`."""
    built = Network(name, 3)
    pixels = torch.tensor([0, 127, 255]).view(3, 1, 1) / 255
    torch.testing.assert_close(built.normalize(pixels).flatten(), torch.tensor([-127, 0, 128]) / 128)
    normalize = Network(name, 3, mean=(0, 0, 0)).normalize
    assert normalize.mean.max() == 0 and normalize.std.flatten().tolist() == pytest.approx([128 / 255] * 3)


def test_saturated_pixels_have_a_gradient():
    image = IMAGE.round().requires_grad_()
    Normalize(IMAGENET_MEAN, IMAGENET_STD)(image).sum().backward()
    torch.testing.assert_close(image.grad[0, :, 0, 0], 1 / torch.tensor(IMAGENET_STD))


def test_an_attack_is_the_same_whatever_the_normaliser_of_an_equal_function():
    plain, doubled = build(std=(0.5, 0.5, 0.5)), build(std=(1, 1, 1))
    doubled.model.backbone[0][0].weight.data *= 2
    label = torch.tensor([0, 1])
    attacked = FGSM(Linf("8/255"))(plain, IMAGE, label)
    assert torch.equal(attacked, FGSM(Linf("8/255"))(doubled, IMAGE, label))
    assert (attacked - IMAGE).abs().max() == pytest.approx(8 / 255)


def test_channels_last_is_the_same_network():
    fast, plain = build(channels_last=True).double(), build().double()
    assert fast.model.backbone[1][0].conv1.weight.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(fast(IMAGE.double()), plain(IMAGE.double()))


# Weights from files.


@pytest.mark.parametrize("name", ["resnet_small", "fcn_small", "squeezenet1_0"])
def test_weights_make_the_round_trip_through_a_file(tmp_path, name):
    saved = Network(name, 3, mean=(0, 0, 0))
    torch.save(saved.state_dict(), tmp_path / "weights.pt")
    assert same(Network(name, 3, weights=str(tmp_path / "weights.pt")), saved)


def test_a_file_in_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    saved = Network("resnet_small", 3)
    torch.save(saved.state_dict(), "weights.pt")
    assert same(Network("resnet_small", 3, weights="weights.pt"), saved)
    assert same(Network("resnet_small", 3, weights="./weights.pt"), saved)


def test_a_file_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    torch.save(build().state_dict(), tmp_path / "weights.pt")
    network = Network("resnet_small", 3, weights="~/weights.pt")
    assert same(network, build()) and network.weights == str(tmp_path / "weights.pt")


def test_backbone_weights_make_the_round_trip_through_a_file(tmp_path):
    name, path = "lraspp_mobilenet_v3_large", tmp_path / "backbone.pt"
    saved = Network(name, 3)
    torch.save(saved.model.backbone.state_dict(), path)
    loaded = Network(name, 5, backbone_weights=str(path))
    assert same(loaded.model.backbone, saved.model.backbone)


def test_weights_of_another_number_of_classes_are_refused(tmp_path):
    path = tmp_path / "weights.pt"
    torch.save(Network("resnet_small", 3).state_dict(), path)
    with pytest.raises(NetworkError, match=r"weights.pt: .*2 of another shape \(model.fc.bias, model.fc.weight\)"):
        Network("resnet_small", 4, weights=str(path))


# What is refused: each in one line.


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ({"name": "resnt18"}, ["unknown network 'resnt18'; did you mean resnet18"]),
        ({"name": "fcn_smal"}, ["did you mean fcn_small"]),
        ({"name": "qqqqqq"}, ["unknown network 'qqqqqq'; see torchvision.models"]),
        ({"name": "fasterrcnn_resnet50_fpn"}, ["unknown network 'fasterrcnn_resnet50_fpn'"]),
        ({"name": "resnt18", "weights": "DEFAULT"}, ["did you mean resnet18"]),
        (
            {"name": "resnet18", "weights": "V9"},
            ["resnet18 has no", "'V9' (it has: IMAGENET1K_V1, DEFAULT)", "./weights.pt"],
        ),
        ({"name": "resnet50", "weights": "V9"}, ["(it has: IMAGENET1K_V1, IMAGENET1K_V2, DEFAULT)"]),
        ({"name": "resnet_small", "weights": "DEFAULT"}, ["resnet_small has no", "(it has: none)"]),
        ({"name": "resnet18", "weights": "DEFAULT"}, ["resnet18 with num_classes=3", "1000"]),
        ({"name": "resnet18", "weights": "/nowhere/weights.pt"}, ["/nowhere/weights.pt: no such weights file"]),
        ({"name": "resnet18", "backbone_weights": "DEFAULT"}, ["resnet18 is no segmentation network"]),
        ({"name": "resnet18", "backbone_weights": "./no.pt"}, ["no.pt: no such weights file"]),
        ({"name": "lraspp_mobilenet_v3_large", "backbone_weights": "./no.pt"}, ["no.pt: no such weights file"]),
        ({"name": "lraspp_mobilenet_v3_large", "backbone_weights": "V9"}, ["lraspp_mobilenet_v3_large", "V9"]),
        ({"name": "fcn_small", "backbone_weights": "DEFAULT"}, ["fcn_small has no", "a file will do"]),
        ({"name": "resnet18", "aux": True}, ["resnet18 has no auxiliary head"]),
        ({"name": "fcn_small", "aux": True}, ["fcn_small has no auxiliary head"]),
    ],
    ids=str,
)
def test_what_does_not_exist_or_fit_is_refused_in_one_line(arguments, parts):
    with pytest.raises(NetworkError, match=one_line(*parts)):
        Network(num_classes=3, **arguments)


@pytest.mark.parametrize(("weights", "version"), [("DEFAULT", "V2"), ("IMAGENET1K_V2", "V2"), ("IMAGENET1K_V1", "V1")])
def test_published_weights_are_found_by_name(weights, version, monkeypatch):
    seen = []
    monkeypatch.setattr(network, "_build", lambda name, classes, published, *_: seen.append(published) or nn.Identity())
    Network("resnet50", 1000, weights=weights)
    assert seen == [models.ResNet50_Weights[f"IMAGENET1K_{version}"]]


def test_weights_that_cannot_be_fetched_are_one_line(published):
    published["error"] = URLError("no route to host")
    with pytest.raises(NetworkError, match=one_line("resnet18: ", "no route to host", "; give a file")):
        Network("resnet18", 1000, weights="DEFAULT")


def test_a_network_without_weights_downloads_nothing():
    Network("lraspp_mobilenet_v3_large", 3)


def test_published_segmentation_weights_do_not_need_the_auxiliary_head_to_be_mentioned(fcn, published):
    published["state"] = fcn.model.state_dict()
    built = Network("fcn_resnet50", 21, weights="DEFAULT")
    assert same(built.model.backbone, fcn.model.backbone)
    assert same(built.model.classifier, fcn.model.classifier)
    assert isinstance(built.train()(IMAGE), torch.Tensor)
    assert not any("aux" in name for name, _ in built.named_parameters())


def test_a_classifiers_weights_serve_a_backbone(tmp_path):
    """The head is left out."""
    classifier = models.resnet50(weights=None)
    torch.save(classifier.state_dict(), tmp_path / "resnet50.pt")
    network = Network("fcn_resnet50", 21, backbone_weights=str(tmp_path / "resnet50.pt"))
    assert torch.equal(network.model.backbone.layer4[2].conv3.weight, classifier.layer4[2].conv3.weight)


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_0", "resnet_small", "efficientnet_lite0"])
def test_a_classifier_of_other_classes_takes_all_but_its_last_layer(name, tmp_path):
    saved = Network(name, 7, mean=(0.1, 0.2, 0.3))
    torch.save(saved.state_dict(), tmp_path / "weights.pt")
    built = build(name, backbone_weights=str(tmp_path / "weights.pt"))
    theirs, ours, untrained = saved.state_dict(), built.state_dict(), build(name).state_dict()
    new = {key for key in ours if ours[key].shape != theirs[key].shape}
    assert len(new) == 2 and all(torch.equal(ours[key], untrained[key]) for key in new)
    assert all(torch.equal(ours[key], theirs[key]) for key in ours.keys() - new)


@pytest.mark.parametrize("classes", [3, 1000])
def test_a_file_of_efficientnet_lite0_alone_is_its_weights_and_an_fcns_backbone(classes, tmp_path):
    """As the published file is: neither prefix nor normaliser."""
    classifier = network.EfficientNetLite0(classes)
    path = tmp_path / "efficientnet_lite0.pth"
    torch.save(classifier.state_dict(), path)
    built = Network("efficientnet_lite0", classes, weights=str(path))
    fcn = Network("fcn_efficientnet_lite0", 3, backbone_weights=str(path))
    assert same(built.model, classifier)
    assert torch.equal(fcn.normalize.mean, built.normalize.mean)
    theirs = {key: value for key, value in classifier.state_dict().items() if not key.startswith("_fc.")}
    backbone = fcn.model.backbone.state_dict()
    assert backbone.keys() == theirs.keys() and all(torch.equal(backbone[key], theirs[key]) for key in theirs)

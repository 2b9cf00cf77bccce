import json

import pytest
import torch
import torch.nn.functional as F
from networks import linear, per_pixel, ragged_labels, uniform

from callbacks import Alignment
from callbacks.insight.alignment import margin_gradient, spectral_slope, tangent_share
from cli import main

ARGS = [
    *("--config", "quickstart.yaml", "--trainer.accelerator", "cpu", "--trainer.logger", "false"),
    *("--data.size", "16", "--data.train_samples", "40", "--data.batch_size", "4", "--data.val_samples", "12"),
    *("--attack.train", "null", "--attack.evaluate", "{}", "--trainer.max_epochs", "2", "--trainer.callbacks", "null"),
    *("--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"),
    *("--trainer.callbacks+=Alignment", "--trainer.callbacks.samples", "6"),
]
CLASSIFIER = ["--data.labels", "class", "--model.network.name", "resnet_small", "--model.network.num_classes", "4"]


def batch(size=4, classes=3):
    return {"image": uniform(3, 3, size, size), "label": torch.arange(3) % classes, "index": torch.arange(3)}


def test_the_cosine_of_a_linear_network_is_that_of_its_weights():
    network, given = linear(classes=3), batch()
    order = network(given["image"]).argsort(1, descending=True)
    weight = network[1].weight
    found = Alignment(among=0).measure(network, given)["cosine"]
    for i in range(3):
        gradient = weight[order[i, 0]] - weight[order[i, 1]]
        image = given["image"][i] - given["image"][i].mean((1, 2), keepdim=True)
        expected = F.cosine_similarity(image.flatten(), gradient, dim=0).abs()
        assert found[i].item() == pytest.approx(expected.item())


def test_brightness_does_not_count():
    network, given = linear(classes=3), batch()
    brighter = {**given, "image": given["image"] + torch.tensor([0.5, -0.5, 1.0]).view(3, 1, 1)}
    bias = network[1].weight.detach().view(3, 3, 16).sum(2) @ torch.tensor([0.5, -0.5, 1.0]).double()
    same = linear(classes=3)
    same[1].bias.data -= bias
    one, other = (Alignment(among=0).measure(*each)["cosine"] for each in ((network, given), (same, brighter)))
    torch.testing.assert_close(one, other)


def test_void_pixels_have_no_margin_and_nothing_depends_on_the_batch():
    network, image, label = per_pixel(), uniform(4, 3, 6, 6), ragged_labels()
    gradient = margin_gradient(network, image, label)
    assert not gradient[(label == 255)[:, None].expand_as(gradient)].any() and gradient[:3].flatten(1).any(1).all()
    torch.testing.assert_close(margin_gradient(network, image[1:2], label[1:2]), gradient[1:2])


def test_targets_are_the_angle_to_other_classes():
    network, given = linear(classes=3), batch()
    measure = Alignment(samples=1, targets=40, per_class=1, among=0)
    data = [{"image": uniform(3, 4, 4, seed=i).float(), "label": i % 3} for i in range(4)]

    class Data:
        classes = ("a", "b", "c")

    measure._learn(Data(), data)
    exemplars = [data[i]["image"].mul(255).round().div(255).double() for i in (3, 1, 2)]  # the first is measured
    found, share = measure.measure(network, given)["targets"], network(given["image"]).softmax(1)
    weight = network[1].weight
    for i in range(3):
        angles = [
            F.cosine_similarity(weight[t] - share[i] @ weight, (exemplars[t] - given["image"][i]).flatten(), dim=0)
            for t in range(3)
            if t != i
        ]
        part = (found[i] - angles[0]) / (angles[1] - angles[0])
        assert 0.2 < part < 0.8, "a mean over both, by lot"


def test_a_gradient_between_training_images_is_tangent_and_one_across_is_not():
    basis = torch.linalg.qr(uniform(48, 10).float() - 0.5).Q.T
    weights = uniform(60, 10, seed=1).float() - 0.5
    training = ((0.5 + (weights @ basis).view(60, 3, 4, 4) / 2) * 255).round().byte()
    image = 0.5 + torch.zeros(2, 3, 4, 4)
    inside = basis[3].view(3, 4, 4)
    across = uniform(48, seed=2).float() - 0.5
    across -= (basis @ across) @ basis
    shares = tangent_share(torch.stack([inside, across.view(3, 4, 4)]), image, training)
    assert shares[0] > 0.95 and shares[1] < 0.3
    alone = tangent_share(inside[None], image[:1], training)
    torch.testing.assert_close(alone, shares[:1])


@pytest.mark.parametrize("exponent", [0.0, -1.0, -2.0])
def test_the_slope_is_that_of_the_power(exponent):
    size = 64
    frequency = torch.fft.fftfreq(size).double() * size
    k = torch.hypot(frequency[:, None], frequency).clamp(min=1)
    noise = torch.fft.fft2(torch.randn(4, 3, size, size, generator=torch.Generator().manual_seed(0)).double())
    image = torch.fft.ifft2(noise * k ** (exponent / 2)).real
    assert spectral_slope(image).mean().item() == pytest.approx(exponent, abs=0.1)


def test_a_network_agrees_with_itself_alone():
    network, given = linear(classes=3), batch()
    assert Alignment(among=0, other=linear(classes=3)).measure(network, given)["agreement"] == pytest.approx([1] * 3)
    other = linear(classes=3)
    other[1].weight.data = uniform(3, 48, seed=9) - 0.5
    assert Alignment(among=0, other=other).measure(network, given)["agreement"].abs().max() < 0.9


@pytest.mark.parametrize("network", [[], CLASSIFIER])
def test_a_run_has_it_beside_its_metrics(tmp_path, monkeypatch, network):
    monkeypatch.chdir(tmp_path)
    main(["fit", *ARGS, *network])
    found = json.loads((tmp_path / "runs/quickstart/results.json").read_text())["insight"]["alignment"]
    assert found.keys() == {"cosine", "targets", "tangent", "slope"}
    assert 0 <= found["cosine"] <= 1 and -1 <= found["targets"] <= 1 and 0 <= found["tangent"] <= 1
    main(["validate", *ARGS, *network, "--ckpt_path", "last"])
    again = json.loads((tmp_path / "runs/quickstart_validate/results.json").read_text())["insight"]["alignment"]
    assert again == pytest.approx(found, rel=1e-4)
    main(["report", "runs/quickstart"])


def test_mistakes_are_one_line_before_training(tmp_path, monkeypatch, capsys):
    for make, message in (
        (lambda: Alignment(samples=0), "samples=0: a number above 0"),
        (lambda: Alignment(targets=0), "targets=0: a number above 0"),
        (lambda: Alignment(among=7), "among=7: more than 20 images"),
    ):
        with pytest.raises(ValueError, match=message):
            make()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(["fit", *ARGS, "--trainer.callbacks.samples", "12"])
    assert "Alignment: samples=12 of 12: leave some to be exemplars" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "runs").exists()

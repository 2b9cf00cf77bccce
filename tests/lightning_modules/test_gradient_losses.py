import math
import warnings

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import Trainer
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from networks import linear, ragged_labels, seeded, uniform
from torch import nn
from torchvision.models import VisionTransformer

from attacks.exemplars import Exemplars
from attacks.objectives import cross_entropy
from datamodules import Shapes
from lightning_modules import Classifier, CrossEntropyLoss, GradientAlignment, GradientNorm, Network, SaliencyAlignment
from lightning_modules.gradient_losses import cosine

MAPS = {"image": uniform(4, 3, 6, 6), "label": ragged_labels()}
CLASSES = {"image": uniform(4, 3, 6, 6), "label": torch.tensor([0, 1, 2, 1])}


def smooth(dense, classes=3):
    """A small network with second derivatives; float64."""
    head = [nn.Conv2d(5, classes, 1)] if dense else [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(20, classes)]
    return seeded(lambda: nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.Softplus(), *head)).double()


def aligned(dense, **options):
    loss = GradientAlignment(**options)
    data = [
        {"image": uniform(3, 6, 6, seed=9 + i), "label": MAPS["label"][i % 3] if dense else i % 3} for i in range(9)
    ]
    loss.exemplars = Exemplars(data, 3, 3)
    loss.exemplars.means = loss.exemplars.means.double()
    return loss


def losses(dense):
    return [aligned(dense), aligned(dense, targets=3, towards="mean"), GradientNorm(), GradientNorm(step=0.3),
            SaliencyAlignment()]  # fmt: skip


def value(loss, network, batch):
    torch.manual_seed(0)
    return loss(network, batch).mean()


@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("which", [0, 1, 2, 4])  # the third holds the direction of its step still
def test_the_gradient_to_the_weights_is_that_of_finite_differences(dense, which):
    loss, network, batch = losses(dense)[which], smooth(dense), MAPS if dense else CLASSES
    weights = list(network.parameters())
    gradients = torch.autograd.grad(value(loss, network, batch), weights)
    plain = torch.autograd.grad(value(CrossEntropyLoss(), network, batch), weights)
    assert any(not torch.allclose(g, w) for g, w in zip(gradients, plain, strict=True)), "the penalty counts"
    for weight, gradient, without in zip(weights, gradients, plain, strict=True):
        place, kept = int((gradient - without).abs().argmax()), weight.detach().clone()
        shift = torch.zeros(weight.numel(), dtype=torch.float64)
        shift[place] = 1e-5
        ends = []
        for sign in (1, -1):
            weight.data = kept + sign * shift.view_as(kept)
            ends.append(value(loss, network, batch).item())
        weight.data = kept
        expected = (ends[0] - ends[1]) / 2e-5
        assert gradient.flatten()[place].item() == pytest.approx(expected, rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("dense", [True, False])
def test_without_weight_it_is_cross_entropy_and_with_it_the_penalty_is_added(dense):
    network, batch = smooth(dense), MAPS if dense else CLASSES
    plain = CrossEntropyLoss()(network, batch)
    for loss in losses(dense):
        weighted = value(loss, network, batch)
        assert weighted.item() == pytest.approx(plain.mean().item() + loss.weight * loss.parts["penalty"].item())
        assert loss.parts["cross_entropy"].item() == pytest.approx(plain.mean().item())
        loss.weight = 0
        torch.testing.assert_close(loss(network, batch), plain)


def test_alignment_is_the_angle_to_another_class_by_hand():
    network, loss = linear(classes=3, size=4), GradientAlignment(weight=1, towards="mean")
    means = uniform(3, 3, 4, 4, seed=5)
    loss.exemplars = Exemplars([{"image": means[i].float(), "label": i} for i in range(3)], 3, 1)
    loss.exemplars.means = means
    image, label = uniform(6, 3, 4, 4), torch.tensor([0, 1, 2, 0, 1, 2])
    torch.manual_seed(3)
    found = loss(network, {"image": image, "label": label}) - cross_entropy(network(image), label)
    torch.manual_seed(3)
    target = loss.exemplars.aim(image, label, torch.rand(6, 3), "mean").label
    weight, share = network[1].weight, network(image).softmax(1)
    for i in range(6):
        towards = weight[target[i]] - share[i] @ weight  # d log p_t / dx of a linear network
        expected = 1 - F.cosine_similarity(towards, (means[target[i]] - image[i]).flatten(), dim=0)
        torch.testing.assert_close(found[i], expected)


def test_the_norm_is_that_of_each_samples_own_loss():
    network, label = linear(classes=3), torch.tensor([0, 1, 2, 1, 0])
    image = uniform(5, 3, 4, 4)
    residual = network(image).softmax(1) - F.one_hot(label, 3)
    expected = (residual @ network[1].weight).square().sum(1)
    batch = {"image": image, "label": label}
    plain = cross_entropy(network(image), label)
    torch.testing.assert_close(GradientNorm(2.0)(network, batch) - plain, 2 * expected)
    alone = GradientNorm(2.0)(network, {"image": image[:1], "label": label[:1]})
    torch.testing.assert_close(alone[0], plain[0] + 2 * expected[0])
    torch.testing.assert_close(GradientNorm(2.0, step=1e-5)(network, batch) - plain, 2 * expected, rtol=1e-4, atol=0)


def test_saliency_compares_the_image_with_both_classes():
    network = linear(classes=3)
    image, label = uniform(2, 3, 4, 4), torch.tensor([0, 2])
    logits, maps = network(image), network[1].weight.view(3, 3, 4, 4).abs().mean(1)
    for i in range(2):
        others = [c for c in range(3) if c != label[i]]
        runner_up = max(others, key=lambda c: logits[i, c])
        seen = image[i].mean(0)
        like = [F.cosine_similarity(seen.flatten(), maps[c].flatten(), dim=0) for c in (label[i], runner_up)]
        found = SaliencyAlignment(1.0)(network, {"image": image, "label": label})[i] - cross_entropy(logits, label)[i]
        torch.testing.assert_close(found, F.softplus(like[1] - like[0]))


def test_an_all_void_label_map_costs_nothing_and_has_no_gradient():
    batch, network = {**MAPS, "label": torch.full_like(MAPS["label"], 255)}, smooth(True)
    for loss in losses(True):
        total = loss(network, batch).sum()
        assert total == 0
        gradients = torch.autograd.grad(total, list(network.parameters()), allow_unused=True)
        assert all(each is None or not each.any() for each in gradients)


def test_a_dict_and_its_auxiliary_head_are_taken():
    network = Network("fcn_resnet50", 3, aux=True).train()
    batch = {"image": uniform(2, 3, 32, 32).float(), "label": torch.zeros(2, 32, 32, dtype=torch.long)}
    loss = GradientNorm(1.0)(network, batch)
    loss.mean().backward()
    assert all(p.grad is not None for p in network.model.aux_classifier.parameters())


def test_the_cosine_of_small_gradients_is_exact_and_of_none_is_0():
    one, other = uniform(3, 3, 4, 4).float(), uniform(3, 3, 4, 4, seed=1).float()
    expected = F.cosine_similarity(one.flatten(1).double(), other.flatten(1).double()).float()
    torch.testing.assert_close(cosine(one * 1e-30, other), expected)
    assert (cosine(torch.zeros(2, 3, 4, 4), other[:2]) == 0).all()


def test_networks_with_fused_attention_have_second_derivatives():
    """Torch 2.15's fused attention on a CPU has none."""
    network = VisionTransformer(32, 8, num_layers=1, num_heads=2, hidden_dim=16, mlp_dim=16, num_classes=3)
    nn.init.normal_(network.heads.head.weight)  # zeros, in torchvision
    batch = {"image": torch.rand(2, 3, 32, 32), "label": torch.tensor([1, 2])}
    GradientNorm(1.0)(network, batch).mean().backward()
    assert network.conv_proj.weight.grad.any()
    image = batch["image"].requires_grad_()
    (gradient,) = torch.autograd.grad(network(image).sum(), image, create_graph=True)
    with pytest.raises(RuntimeError, match="derivative for aten::_scaled_dot_product"):
        gradient.square().sum().backward()


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_in_mixed_precision_it_is_the_same_in_float32(precision):
    network = Network("fcn_small", 5)
    batch = {"image": uniform(2, 3, 16, 16).float(), "label": torch.zeros(2, 16, 16, dtype=torch.long)}
    plain = GradientNorm(1.0)(network, batch)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision != "32-true"):
        loss = GradientNorm(1.0)(network, batch)
    assert loss.dtype == torch.float32 and torch.equal(loss, plain)


SHAPES = {"size": 16, "train_samples": 8, "val_samples": 4, "batch_size": 2, "num_workers": 0}


@pytest.mark.parametrize("labels", ["map", "class"])
@pytest.mark.parametrize("options", [{}, {"accumulate_grad_batches": 2, "precision": "bf16-mixed"}])
def test_it_trains(tmp_path, labels, options):
    torch.manual_seed(0)
    name, classes = ("fcn_small", 5) if labels == "map" else ("resnet_small", 4)
    loss = GradientAlignment(5.0, per_class=2)
    module = Classifier(Network(name, classes), loss)
    trainer = Trainer(
        default_root_dir=tmp_path, max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, limit_val_batches=0, **options,
    )  # fmt: skip
    before = [p.detach().clone() for p in module.network.parameters()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(module, datamodule=Shapes(labels=labels, **SHAPES))
    assert any(not torch.equal(a, b) for a, b in zip(before, module.network.parameters(), strict=True))
    metrics = trainer.callback_metrics
    assert 0 < metrics["train/penalty"] < 2
    total = metrics["train/cross_entropy"] + 5 * metrics["train/penalty"]
    assert metrics["train/loss"].item() == pytest.approx(total.item(), rel=1e-4)


def test_what_is_out_of_range_or_has_no_exemplars_is_one_line():
    for make, message in (
        (lambda: GradientNorm(-1), "GradientNorm: weight=-1 must be 0 or more"),
        (lambda: GradientNorm(step=0), "GradientNorm: step=0 must be above 0, or null"),
        (lambda: SaliencyAlignment(math.nan), "SaliencyAlignment: weight=nan must be 0 or more"),
        (lambda: GradientAlignment(targets=0), "GradientAlignment: targets=0 must be 1 or more"),
        (lambda: GradientAlignment(aux_weight=-1), "GradientAlignment: aux_weight=-1 must be 0 or more"),
    ):
        with pytest.raises(ValueError, match=message):
            make()
    with pytest.raises(MisconfigurationException, match=r"use a DataModule with plain_training_set"):
        GradientAlignment().learn(None)
    with pytest.raises(MisconfigurationException, match="has no exemplars: call learn"):
        GradientAlignment()(smooth(False), CLASSES)

    class OneClass(Shapes):
        def plain_training_set(self):
            return [{"image": torch.rand(3, 4, 4), "label": 0}] * 3

    with pytest.raises(MisconfigurationException, match="GradientAlignment: 3 images hold 1 classes"):
        GradientAlignment().learn(OneClass())

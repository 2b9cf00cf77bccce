import json

import pytest
import torch
from networks import fcn, seeded, uniform
from torch import nn

from attacks import PGD, GaussianNoise, Linf
from callbacks import Attack, Results, SanityGate
from callbacks.evaluation.sanity import probe, verdict
from lightning_modules import Classifier

IMAGE = uniform(6, 3, 8, 8, seed=9)
BALL = Linf(0.1)

CERTAIN = "predictions are seldom certain"
TWO_LOOKS, ANY, ZERO = "two looks agree", "any image at all breaks all but one answer", "gradients are seldom zero"
BLIND, OTHER = "without gradients an attack is weaker", "with another network's gradients an attack is weaker"


def honest(dense):
    if dense:
        return fcn().eval()
    return seeded(lambda: nn.Sequential(fcn(), nn.Flatten(), nn.Linear(3 * 64, 4).double())).eval()


def truth(network):
    """Labels that a network gets right, with margins of all sizes."""
    with torch.no_grad():
        return network(IMAGE).argmax(1)


def failed(network, label, image=IMAGE):
    batch = {"image": image, "label": label, "index": torch.arange(len(image))}
    return {check.name for check in verdict(probe(network, batch, BALL, 20, 60)) if not check.passed}


class Cheat(nn.Module):
    """A network with something in its way."""

    def __init__(self, network, before=lambda image: image, after=lambda logits: logits):
        super().__init__()
        self.network, self.before, self.after = network, before, after

    def forward(self, image):
        return self.after(self.network(self.before(image)))


both = pytest.mark.parametrize("dense", [True, False], ids=["maps", "images"])


@both
def test_an_honest_network_passes(dense):
    network = honest(dense)
    assert failed(network, truth(network)) == set()


def test_an_honest_network_passes_though_some_is_void_and_an_image_all():
    network = honest(dense=True)
    label = truth(network)
    label[0, :4], label[1] = 255, 255
    assert failed(network, label) == set()


@both
def test_logits_times_a_thousand_are_caught(dense):
    network = honest(dense).float()
    label = truth(network.double())
    cheat = Cheat(network.float(), after=lambda logits: 1000 * logits)
    assert CERTAIN in failed(cheat, label, IMAGE.float())


@both
def test_a_detached_path_is_caught(dense):
    network = honest(dense)
    cheat = Cheat(network, before=lambda image: image.detach() + 0 * image)
    assert ZERO in failed(cheat, truth(network))


@both
def test_a_path_that_leads_elsewhere_is_caught(dense):
    """The gradient is nowhere zero, and of another function."""
    network = honest(dense)
    cheat = Cheat(network, before=lambda image: image.detach() + 1e-4 * (image.flip(-1) - image.flip(-1).detach()))
    assert failed(cheat, truth(network)) & {ANY, BLIND}


@both
def test_a_quantised_input_is_caught(dense):
    network = honest(dense)
    cheat = Cheat(network, before=lambda image: (8 * image).round() / 8)
    assert ZERO in failed(cheat, truth(cheat))


@both
def test_a_random_layer_is_caught(dense):
    network = honest(dense)
    cheat = Cheat(network, before=lambda image: image + 0.05 * torch.randn_like(image))
    assert TWO_LOOKS in failed(cheat, truth(network))


@both
def test_leaked_labels_are_caught(dense):
    """The network knows the labels of these images, and finds them by what they look like."""
    network = honest(dense)
    classes = 3 if dense else 4
    label = (truth(network) + torch.arange(6).view(-1, *[1] * (2 * dense))) % classes

    def known(image):
        sample = torch.cdist(image.flatten(1), IMAGE.flatten(1)).argmin(1)
        return nn.functional.one_hot(label[sample], classes).movedim(-1, 1).double()

    class Leak(nn.Module):
        def forward(self, image):
            return network(image) + 50 * known(image)

    assert ANY in failed(Leak(), label)


@both
def test_a_network_that_gives_one_answer_hides_nothing(dense):
    """Such as one that has learnt the background and nothing else."""
    network = honest(dense)
    label = torch.where(truth(network) == 0, 0, 1)
    answer = torch.tensor([5.0, 0, 0, 0])[: 3 if dense else 4].view(-1, *[1] * (2 * dense))
    biased = Cheat(network, after=lambda logits: logits / logits.abs().max() + answer)
    assert failed(biased, label) == set()


@both
def test_a_network_that_reads_the_labels_off_the_attack_is_caught(dense):
    """Label leaking (Kurakin et al. 2017): what FGSM adds makes the true class more likely."""
    network = honest(dense)
    cheat = Cheat(network, before=lambda image: 2 * image.detach() - image)
    assert "noise is weaker than FGSM, FGSM than PGD" in failed(cheat, truth(network))


# With a Trainer.


def run(make_trainer, noise_loader, network, command="test", evaluate=None):
    attack = Attack(None, {"pgd": PGD(BALL, steps=2)} if evaluate is None else evaluate)
    gate = SanityGate(samples=5, steps=4, queries=5)
    trainer = make_trainer(callbacks=[Results(), gate, attack])
    arguments = (noise_loader(batch_size=2),) if command != "fit" else (noise_loader(), noise_loader())
    getattr(trainer, command)(Classifier(network), *arguments)
    return gate


def test_so_many_samples_are_checked_and_the_result_is_kept(make_trainer, noise_loader, tmp_path):
    seen = []
    network = fcn().float()
    network.register_forward_hook(lambda module, args, output: seen.append(len(args[0])))
    gate = run(make_trainer, noise_loader, network)
    assert len(gate.checks) == 10
    sanity = json.loads((tmp_path / "results.json").read_text())["sanity"]
    assert sanity["passed"] == all(check.passed for check in gate.checks)
    assert {check["name"] for check in sanity["checks"]} == {check.name for check in gate.checks}


def test_a_failed_check_is_told_and_kept(make_trainer, noise_loader, tmp_path):
    cheat = Cheat(fcn().float(), before=lambda image: image.detach() + 0 * image)
    with pytest.warns(UserWarning, match="cannot be trusted.*gradients are seldom zero.*100.0% are exactly zero"):
        run(make_trainer, noise_loader, cheat)
    assert not json.loads((tmp_path / "results.json").read_text())["sanity"]["passed"]


@pytest.mark.parametrize(
    ("command", "evaluate"), [("fit", None), ("test", {}), ("test", {"noise": GaussianNoise(0.1)})]
)
def test_there_is_no_gate_in_training_nor_without_a_radius(make_trainer, noise_loader, tmp_path, command, evaluate):
    gate = run(make_trainer, noise_loader, fcn().float(), command, evaluate)
    assert gate.checks == []
    assert json.loads((tmp_path / "results.json").read_text())["sanity"] is None


def test_the_gate_changes_nothing(make_trainer, noise_loader, tmp_path):
    network = fcn().float()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with_gate = run(make_trainer, noise_loader, network)
    assert with_gate.checks
    found = json.loads((tmp_path / "results.json").read_text())["metrics"]
    attack = Attack(None, {"pgd": PGD(BALL, steps=2)})
    make_trainer(callbacks=[Results(), attack]).test(Classifier(network), noise_loader(batch_size=2), verbose=False)
    assert json.loads((tmp_path / "results.json").read_text())["metrics"] == found
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())

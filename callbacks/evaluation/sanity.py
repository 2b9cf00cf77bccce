"""The sanity gate: does a robustness number mean what it says, or does the network hide its gradients?"""

import copy
import math
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.rank_zero import rank_zero_info, rank_zero_warn
from torch import Tensor, nn

from attacks import APGD, FGSM, PGD, Box, CosPGD, Linf, Square, Transfer, undisturbed
from attacks.adversary import outside_inference
from attacks.apgd import wrong_share
from attacks.constraints import Ball
from attacks.contract import ball_of
from attacks.ensemble import parts
from attacks.objectives import cross_entropy, logits_of, valid_mean, valid_pixels
from attacks.seeds import mix
from callbacks.attack import Attack
from callbacks.interruption import interruptible


@dataclass
class Check:
    """One thing that holds for every network whose gradients tell the truth."""

    name: str
    passed: bool
    found: str


class SanityGate(Callback):
    """Checks on a few samples of `validate` and `test` that attacks find what there is to find.

    A network that fails is reported as such: what its robustness is, the attacks cannot say. With the largest radius of
    the evaluation attacks: two looks at an image agree; eps 0 is the identity; the loss grows with steps, with eps, and
    from noise to FGSM to PGD; an image that may be any (eps 1) breaks everything, but for one answer that a network may
    give to all; attacks that see no gradient (`Square`) or another network's (its weights a little off, its logits
    tame) are weaker than APGD; few predictions leave nothing to other classes, and few gradients are exactly zero
    (Athalye et al. 2018, Carlini et al. 2019).

    Args:
        samples: how many samples to check, of the first batches.
        steps: of the attacks with gradients.
        queries: of Square.
    """

    def __init__(self, samples: int = 16, steps: int = 20, queries: int = 100) -> None:
        self.samples, self.steps, self.queries = samples, steps, queries
        self.checks: list[Check] = []
        """What the last evaluation found; empty where no attack has a radius."""
        self._values: list[dict[str, Tensor]] = []

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.checks, self._values = [], []
        if trainer.state.fn != TrainerFn.FITTING and _radius(trainer) is None:
            rank_zero_info("The sanity gate has nothing to look at: no evaluation attack has a radius, Linf or L2")

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if trainer.state.fn == TrainerFn.FITTING or not trainer.is_global_zero:
            return
        ball = _radius(trainer)
        wanted = self.samples - sum(len(values["clean"]) for values in self._values)
        if ball is not None and wanted > 0:
            part = {key: batch[key][:wanted] for key in ("image", "label", "index")}
            network = pl_module.get_submodule("network")
            with interruptible(network):
                self._values.append(probe(network, part, ball, self.steps, self.queries))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not sum(len(values["clean"]) for values in self._values):
            return
        names = self._values[0]
        self.checks = verdict({name: torch.cat([values[name] for values in self._values]) for name in names})
        for check in self.checks:
            if not check.passed:
                rank_zero_warn(f"The robustness measured here cannot be trusted. Not so: {check.name} ({check.found})")

    def found(self) -> dict[str, Any] | None:
        """Whether the network passed, and each check; None where there were none."""
        checks = [asdict(check) for check in self.checks]
        return {"passed": all(check["passed"] for check in checks), "checks": checks} if checks else None

    on_test_start = on_validation_start
    on_test_batch_start = on_validation_batch_start
    on_test_epoch_end = on_validation_epoch_end


def probe(network: nn.Module, batch: dict[str, Any], ball: Ball, steps: int, queries: int) -> dict[str, Tensor]:
    """What the checks look at, of each sample, `(B,)`: losses, and shares of right pixels where the name says `right`.

    `any right of each class` is `(B, C)`.

    Args:
        network: from images in `[0, 1]` to logits.
        batch: `image` float32 `(B, 3, H, W)`, `label` int64 and `index` int64 `(B,)`.
        ball: the set of the attacks.
        steps: of the attacks with gradients.
        queries: of Square.
    """
    with undisturbed(network):
        image, label, seed = outside_inference(batch["image"]), outside_inference(batch["label"]), mix(batch["index"])
        everything = type(ball)(1 if isinstance(ball, Linf) else math.sqrt(image[0].numel()))
        attacks = {
            "FGSM": FGSM(ball),
            "PGD-1": PGD(ball, 1),
            "PGD": PGD(ball, steps),
            "half eps": PGD(type(ball)(ball.eps / 2), steps),
            "twice eps": PGD(type(ball)(min(2 * ball.eps, everything.eps)), steps),
            "any": CosPGD(everything, steps),  # PGD would go on raising the loss of what is wrong already
            "APGD": APGD(ball, steps),
            "Square": Square(ball, queries),
            "transfer": Transfer(APGD(ball, steps), _Neighbour(network, image)),
        }
        images = {"clean": image, "random": (ball & Box()).random_start(image, seed)}
        images |= {name: attack(network, image, label, seed) for name, attack in attacks.items()}
        values = {}
        with torch.no_grad():
            for name, each in images.items():
                logits = logits_of(network(each))
                values[name] = cross_entropy(logits, label)
                values[f"{name} right"] = 1 - wrong_share(logits, label)
                if name == "any":
                    right = label.where(logits.argmax(1) == label, -1)
                    classes = [valid_mean((right == c).to(logits.dtype), label) for c in range(logits.shape[1])]
                    values["any right of each class"] = torch.stack(classes, 1)
            change = (logits_of(network(each)) - logits).abs().flatten(1).amax(1)
            values["change"] = change / logits.abs().flatten(1).amax(1).clamp(min=1e-12)
            still = PGD(type(ball)(0), 2)(network, image, label, seed)
            values["moved"] = (still - image).abs().flatten(1).amax(1)
            probability = logits_of(network(image)).softmax(1)
            values["certain"] = valid_mean(((probability > 0).sum(1) == 1).to(probability.dtype), label)
        image = image.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(cross_entropy(logits_of(network(image)), label).sum(), image)
        values["zeros"] = (gradient == 0).flatten(1).to(image.dtype).mean(1)
    counts = valid_pixels(label).view(len(label), -1).any(1)  # an image that is all void tells nothing
    return {name: value.detach()[counts].double().cpu() for name, value in values.items()}


def verdict(values: dict[str, Tensor]) -> list[Check]:
    """The checks, from what `probe` found."""
    mean = {name: float(value.mean()) for name, value in values.items()}
    # A network that has learnt little, or little but the background, gives one answer, and that no image can change.
    right = values["any right of each class"].mean(0)
    besides = float(right.sum() - right.max())

    def grows(title: str, *names: str) -> Check:
        # The last step may overshoot: a little may be lost.
        passed = all(mean[after] >= 0.98 * mean[before] - 1e-4 for before, after in pairwise(names))
        return Check(title, passed, "loss " + ", ".join(f"{name} {mean[name]:.4g}" for name in names))

    def weaker(title: str, name: str) -> Check:
        own, other = mean["APGD right"], mean[f"{name} right"]
        # Of a few images one may fall by chance; and to raise the loss of a label map is not quite to break its pixels.
        return Check(title, own <= other + 0.1, f"right under {name} {other:.1%}, under APGD {own:.1%}")

    return [
        Check("two looks agree", mean["change"] < 1e-3, f"logits change by {mean['change']:.2g} of their size"),
        Check("eps 0 is the identity", mean["moved"] == 0, f"pixels move by {mean['moved']:.2g}"),
        grows("the loss grows with steps", "clean", "PGD-1", "PGD"),
        grows("the loss grows with eps", "clean", "half eps", "PGD", "twice eps"),
        grows("noise is weaker than FGSM, FGSM than PGD", "random", "FGSM", "PGD"),
        Check("any image at all breaks all but one answer", besides < 0.1, f"{besides:.1%} stay right besides"),
        weaker("without gradients an attack is weaker", "Square"),
        weaker("with another network's gradients an attack is weaker", "transfer"),
        Check("predictions are seldom certain", mean["certain"] < 0.5, f"{mean['certain']:.1%} leave others exactly 0"),
        # A network in its first steps may have an image or two of such large logits that no gradient is left.
        Check("gradients are seldom zero", mean["zeros"] < 0.5, f"{mean['zeros']:.1%} are exactly zero"),
    ]


class _Neighbour(nn.Module):
    """A network near another: its weights a little off, its logits of ordinary size, so that no softmax saturates."""

    def __init__(self, network: nn.Module, image: Tensor, noise: float = 0.02) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        with undisturbed(network), torch.no_grad():
            self.network = copy.deepcopy(network)
            self.scale = logits_of(network(image)).std().clamp(min=1e-12) / 2
            for parameter in self.network.parameters():
                off = torch.randn(parameter.shape, generator=generator).to(parameter)
                parameter.add_(off * parameter.std(correction=0), alpha=noise)

    def forward(self, image: Tensor) -> Tensor:
        return logits_of(self.network(image)) / self.scale


def _radius(trainer: Trainer) -> Ball | None:
    """The largest set of the evaluation attacks, of the kind of the first that has a radius above 0."""
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    attacks = [attack for each in callbacks if isinstance(each, Attack) for attack in each.evaluate.values()]
    found = [ball for attack in attacks for part, _ in parts(attack) if (ball := ball_of(part)) and ball.eps > 0]
    return max((ball for ball in found if type(ball) is type(found[0])), key=lambda ball: ball.eps, default=None)

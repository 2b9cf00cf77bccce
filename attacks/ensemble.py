"""Several attacks as one, and attacks made on another network."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from attacks.adversary import Adversary, AttackCallable, attacked, shown
from attacks.apgd import MostWrong
from attacks.objectives import cross_entropy, logits_of


class Ensemble(Adversary):
    """The worst of several attacks, for each sample: the image with the most wrong pixels, or the wrong class.

    Samples that one attack broke, all their pixels wrong, are not attacked again by the next.

    Args:
        attacks: run in this order; the clean image is the first candidate.
    """

    def __init__(self, attacks: Sequence[Adversary | AttackCallable]) -> None:
        if not attacks:
            raise ValueError("Ensemble: give it one attack or more")
        self.attacks = list(attacks)
        self._winners: list[str] = []

    @property
    def winners(self) -> list[str]:
        """Of each sample of the last call, the attack its image is from, or `clean`.

        An attack goes by its class or function, and by its place, `SEA-2`, where several are of that.
        """
        return self._winners

    def perturb(self, network: nn.Module, image: Tensor, label: Tensor, seed: Tensor, region: Tensor | None) -> Tensor:
        result, open_ = image.clone(), torch.ones(len(image), dtype=torch.bool, device=image.device)
        best = MostWrong(label)
        self._look(best, network, image, label)
        self._winners = ["clean"] * len(image)
        classes = [getattr(attack, "__name__", type(attack).__name__) for attack in self.attacks]
        for place, (attack, name) in enumerate(zip(self.attacks, classes, strict=True), start=1):
            assert best.wrong is not None and best.image is not None
            open_ = best.wrong < 1
            if not open_.any():
                break
            part = None if region is None else region[open_]
            result = best.image.clone()
            result[open_] = attacked(attack, network, image[open_], label[open_], seed[open_.cpu()], part)
            better = self._look(best, network, result, label)
            name = f"{name}-{place}" if classes.count(name) > 1 else name
            self._winners = [name if won else before for won, before in zip(better, self._winners, strict=True)]
        assert best.image is not None
        return best.image

    @staticmethod
    def _look(best: MostWrong, network: nn.Module, image: Tensor, label: Tensor) -> list[bool]:
        """Show images to `best`; returns which of them it keeps."""
        with torch.no_grad():
            logits = logits_of(network(image))
        return best.update(image, cross_entropy(logits, label), logits).tolist()


class Transfer(Adversary):
    """An attack crafted on a surrogate network, to be measured on the one that is evaluated.

    Args:
        attack: what is run on the surrogate.
        surrogate: from pixels in `[0, 1]` to logits, for the same classes.
    """

    def __init__(self, attack: Adversary | AttackCallable, surrogate: nn.Module) -> None:
        self.attack, self.surrogate = attack, surrogate

    def perturb(self, network: nn.Module, image: Tensor, label: Tensor, seed: Tensor, region: Tensor | None) -> Tensor:
        return attacked(self.attack, self.surrogate.to(image.device), image, label, seed, region)

    def __repr__(self) -> str:
        name = getattr(self.surrogate, "name", type(self.surrogate).__name__)
        return f"Transfer({shown(self.attack)}, surrogate={name})"


def parts(attack: Any, surrogate: nn.Module | None = None) -> Iterator[tuple[Any, nn.Module | None]]:
    """An attack, and then those it is made of, each with the surrogate that it runs on, if any."""
    yield attack, surrogate
    if isinstance(attack, Transfer):
        yield from parts(attack.attack, attack.surrogate)
    elif isinstance(attack, Ensemble):
        for each in attack.attacks:
            yield from parts(each, surrogate)

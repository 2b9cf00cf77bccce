"""The base class of attacks, and the promise they keep: the network is left as it was found."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from attacks.contract import checked

AttackCallable = Callable[..., Tensor]
"""`attack(network, image, label, seed=None, region=None) -> image`: any callable of this shape is an attack."""


@contextmanager
def undisturbed(network: nn.Module) -> Iterator[None]:
    """Eval mode and gradients inside; outside, also after an exception, everything is exactly as before.

    Covers every buffer, every module's `training`, every parameter's `grad` and `requires_grad`, and the global random
    generators of the CPU and of the network's device. Leaves inference mode, so gradients exist in validation too.
    """
    modes = [(module, module.training) for module in network.modules()]
    parameters = [(p, p.grad, p.requires_grad) for p in network.parameters()]
    buffers = [buffer.data for buffer in network.buffers()]  # by `data`: a graph made before may hold a buffer
    values = [buffer.clone() for buffer in buffers]
    devices = {p.device.index for p, _, _ in parameters if p.device.type == "cuda"}
    try:
        with torch.random.fork_rng(devices=devices), torch.inference_mode(False), torch.enable_grad():
            network.eval()
            for parameter, _, _ in parameters:
                parameter.grad = None  # a foreign attack's `.backward()` must not add to what is there
            yield
    finally:
        # By attribute: `train()` may be overridden, and would un-freeze a frozen batch norm.
        for module, training in modes:
            module.training = training
        for parameter, grad, requires_grad in parameters:
            parameter.grad = grad
            parameter.requires_grad_(requires_grad)
        for buffer, value in zip(buffers, values, strict=True):
            buffer.copy_(value)


def outside_inference(tensor: Tensor) -> Tensor:
    """The tensor, copied if it was made in inference mode, so that autograd may save it."""
    return tensor.clone() if tensor.is_inference() else tensor


class Adversary(ABC):
    """An attack: `attack(network, image, label, seed=None, region=None) -> image`.

    A subclass says how to perturb; calling it takes care of modes, gradients, random generators and inference mode,
    and looks at what comes back. Where it has a `constraint`, `Linf` or `L2`, the image must lie in it.
    """

    def __call__(
        self,
        network: nn.Module,
        image: Tensor,
        label: Tensor,
        seed: Tensor | None = None,
        region: Tensor | None = None,
    ) -> Tensor:
        """Perturb a batch.

        Args:
            network: from pixels in `[0, 1]` to logits `(B, C)` or `(B, C, H, W)`, or `{"out": logits}`.
            image: floating point `(B, C, H, W)` in `[0, 1]`; is not changed.
            label: int64 `(B,)` or `(B, H, W)`, void pixels 255.
            seed: int64 `(B,)`, one per sample; all noise is a function of it. Without it, the sample's place in the
                batch is its seed, so a call can be repeated: pass fresh seeds to draw fresh noise.
            region: bool `(B, 1, H, W)`; nothing moves where it is false.

        Returns:
            The perturbed image, detached, in `[0, 1]`.

        Raises:
            AttackError: if what the attack gives is anything else, or it changed the network.
        """
        return _held(self.perturb, self, network, image, label, seed, region)

    @abstractmethod
    def perturb(self, network: nn.Module, image: Tensor, label: Tensor, seed: Tensor, region: Tensor | None) -> Tensor:
        """The attack itself, inside `undisturbed(network)`."""

    def __repr__(self) -> str:
        settings = ", ".join(f"{k}={shown(v)}" for k, v in vars(self).items() if not k.startswith("_"))
        return f"{type(self).__name__}({settings})"


def attacked(
    attack: Adversary | AttackCallable,
    network: nn.Module,
    image: Tensor,
    label: Tensor,
    seed: Tensor | None = None,
    region: Tensor | None = None,
) -> Tensor:
    """The image under an attack, ours or anybody's, held to what `Adversary` promises."""
    if isinstance(attack, Adversary) and type(attack).__call__ is Adversary.__call__:  # holds itself to it
        return attack(network, image, label, seed, region)

    def by_name(network: nn.Module, image: Tensor, label: Tensor, seed: Tensor, region: Tensor | None) -> Tensor:
        return attack(network, image, label, seed=seed, region=region)

    return _held(by_name, attack, network, image, label, seed, region)


def _held(
    run: Callable[..., Tensor],
    attack: object,
    network: nn.Module,
    image: Tensor,
    label: Tensor,
    seed: Tensor | None,
    region: Tensor | None,
) -> Tensor:
    if seed is None:
        seed = torch.arange(len(image))
    with undisturbed(network):
        image, label = outside_inference(image.detach()), outside_inference(label)
        region = None if region is None else outside_inference(region)
        return outside_inference(checked(run, attack, network, image, label, seed, region))


def made_by(factory: object) -> object:
    """The class, or function, that a partial gives some arguments to, as configs make them; else what is given."""
    if isinstance(factory, partial):
        return next((argument for argument in factory.args if isinstance(argument, type)), factory.func)
    return factory


def shown(value: object) -> str:
    """What something is called, in a line: its name, or as it shows itself but for its place in memory."""
    if isinstance(value, Tensor):
        return f"Tensor{tuple(value.shape)}"
    value = made_by(value)
    return getattr(value, "__name__", None) or " ".join(re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value)).split())

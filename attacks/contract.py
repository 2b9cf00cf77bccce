"""What an attack promises, and the look at whether it kept it: its image is measured, and trained on, as it comes."""

import math
import re
from collections.abc import Callable

import torch
from torch import Tensor, nn

from attacks.constraints import Ball, Linf
from attacks.objectives import logits_of

ROUNDING = 1e-6
"""By how much a pixel may miss a bound: what float32 rounds by, several times over."""


class AttackError(ValueError):
    """An attack that does not give what it promises; the message says what it should."""


def ball_of(attack: object) -> Ball | None:
    """The ball an attack stays in, if it has one."""
    constraint = getattr(attack, "constraint", None)
    return constraint if isinstance(constraint, Ball) else None


def checked(
    run: Callable[..., Tensor],
    attack: object,
    network: nn.Module,
    image: Tensor,
    label: Tensor,
    seed: Tensor,
    region: Tensor | None,
) -> Tensor:
    """Run an attack on copies of what it is given, and look at what comes back; a wait for a GPU or two.

    Inside `undisturbed(network)`.

    Args:
        run: does the attack: `run(network, image, label, seed, region)`.
        attack: whose `constraint` the image must lie in, if it has one. Unless it is of this room, the network's
            weights are summed up before and after, to the bit.
        network: from pixels to logits.
        image: floating point `(B, C, H, W)` in `[0, 1]`.
        label: int64 `(B,)` or `(B, H, W)`.
        seed: int64 `(B,)`.
        region: bool `(B, 1, H, W)`, or None.

    Raises:
        AttackError: unless what comes back is a tensor of the image's shape, dtype and device, finite, in `[0, 1]`,
            inside the ball, equal to the image outside the region, and the network's weights and hooks are as before.
    """
    own = type(attack).__module__.startswith("attacks.")
    weights, made = (None, None) if own else (_digest(network), _made_of(network))
    try:
        found = run(network, image.clone(), label.clone(), seed, None if region is None else region.clone())
    except StopIteration as error:  # Lightning takes it as the end of the data
        raise AttackError("it raised StopIteration: catch it, or give `next` a default") from error
    except SystemExit as error:
        if type(error) is not SystemExit:  # of a signal
            raise
        raise AttackError("it called `sys.exit`: raise an error instead") from error
    except RuntimeError as error:
        if "in-place" in str(error) and _writes(network, image):
            raise AttackError(
                "the network changes the image it is given, in place: let it work on another, image = image - mean"
            ) from error
        if not re.search("grad|graph", str(error)) or _has_gradient(network, image):
            raise
        raise AttackError(
            "the network's logits have no gradient to the image (is there a detach, a no_grad or a rounding in it?): "
            "take an attack without gradients, such as Square"
        ) from error
    except (Exception, KeyboardInterrupt):
        raise
    except BaseException as error:  # such as GeneratorExit: no error, which would go unseen or be taken for an end
        raise AttackError(f"it raised {type(error).__name__}, no Exception: raise a ValueError instead") from error
    if weights is not None and not torch.equal(weights, _digest(network)):
        raise AttackError("it changed the network's weights: let it work on a copy, copy.deepcopy(network)")
    if made is not None and made != _made_of(network):
        raise AttackError(
            "it left a hook on the network, or replaced its forward: remove it, handle.remove(), or let it work on a "
            "copy, copy.deepcopy(network)"
        )
    _look_at_kind(found, image)
    found = found.detach()
    if found.numel():
        _look_at_values(found, image, ball_of(attack), region, network)
    return found


def _look_at_kind(found: object, image: Tensor) -> None:
    if not isinstance(found, Tensor):
        kind = "nothing" if found is None else f"a {type(found).__name__}"
        raise AttackError(f"it returned {kind}: an attack returns the adversarial image, a tensor")
    if found.layout is not torch.strided:
        raise AttackError("it returned a sparse tensor: return to_dense() of it")
    if found.shape != image.shape:
        raise AttackError(f"it returned an image {tuple(found.shape)} for one of {tuple(image.shape)}")
    if found.dtype != image.dtype:
        got, wanted = str(found.dtype).removeprefix("torch."), str(image.dtype).removeprefix("torch.")
        remedy = "divide bytes by 255" if not found.dtype.is_floating_point else "16 bits round the perturbation"
        raise AttackError(f"it returned an image of {got}, not {wanted} in [0, 1] ({remedy})")
    if found.device != image.device:
        raise AttackError(f"it returned an image on {found.device}, not on {image.device}, where the batch is")


def _look_at_values(found: Tensor, image: Tensor, ball: Ball | None, region: Tensor | None, network: nn.Module) -> None:
    moved = outside = found.new_zeros(())
    if ball is not None or region is not None:
        change = (found - image).abs_()
        if ball is not None:
            moved = change.amax() if isinstance(ball, Linf) else change.flatten(1).norm(dim=1).amax()
        if region is not None:
            outside = change.masked_fill_(region, 0).amax()
    lowest, highest, distance, strayed = torch.stack([*found.aminmax(), moved, outside]).tolist()
    if not (lowest >= -ROUNDING and highest <= 1 + ROUNDING):
        raise AttackError(_about_range(lowest, highest, network, image))
    if ball is not None and distance > ball.eps * (1 + 1e-4) + ROUNDING:
        raise AttackError(_about_distance(distance, ball, image))
    if strayed > ROUNDING:
        raise AttackError(
            f"its image moves by {strayed:.4g} outside of `region`, where there is padding: "
            "return torch.where(region, adversarial, image)"
        )


def _about_range(lowest: float, highest: float, network: nn.Module, image: Tensor) -> str:
    if math.isfinite(lowest) and math.isfinite(highest):
        return f"its image has values from {lowest:.4g} to {highest:.4g}, not in [0, 1]: clamp it"
    with torch.no_grad():
        if not logits_of(network(image)).isfinite().all():
            return "the network's logits are NaN or infinite on the clean images already: look at its weights"
    return "its image holds NaN or infinite values"


def _about_distance(distance: float, ball: Ball, image: Tensor) -> str:
    lowest, highest = torch.stack(image.aminmax()).tolist()
    if not (lowest >= -ROUNDING and highest <= 1 + ROUNDING):
        return f"it was given an image with values from {lowest:.4g} to {highest:.4g}, not in [0, 1]"
    return f"its image is {distance:.4g} away from the clean one, outside of its {ball!r}"


def _has_gradient(network: nn.Module, image: Tensor) -> bool:
    image = image.clone().requires_grad_()
    logits = logits_of(network(image))
    return logits.requires_grad and torch.autograd.grad(logits.sum(), image, allow_unused=True)[0] is not None


def _writes(network: nn.Module, image: Tensor) -> bool:
    """Whether a forward changes the image it is given."""
    given = image.clone()
    with torch.no_grad():
        network(given)
    return not torch.equal(given, image)


def _made_of(network: nn.Module) -> list[tuple[object, ...]]:
    """What else than weights a forward depends on, of each module: its hooks, and a `forward` of its own."""
    kinds = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
    return [
        (module, vars(module).get("forward"), *(tuple(getattr(module, kind)) for kind in kinds))
        for module in network.modules()
    ]


def _digest(network: nn.Module) -> Tensor:
    """A number for each tensor of weights, which changes if any bit does: their sum as integers, overflow and all."""
    kinds = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    sums = []
    for weight in network.parameters():
        kind = kinds[weight.element_size()]
        sums.append(weight.detach().view(kind).sum(dtype=kind).long())
    return torch.stack([each.to(sums[0].device) for each in sums]) if sums else torch.empty(0)

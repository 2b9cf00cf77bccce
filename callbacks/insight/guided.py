"""Guided backpropagation: what of a gradient is negative stops at every ReLU (Springenberg et al. 2015)."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

_Node = Any
"""A node of autograd's graph, as torch gives them."""


def guided_gradient(value: Tensor, image: Tensor) -> Tensor:
    """The gradient of a value to the image, of which each ReLU passes down only what is above 0 (eq. 14 of the paper).

    The ReLUs are found in the graph that autograd has made, not among the modules: so functional ones count
    (`F.relu`, `F.relu6`, `clamp(min=0)`), those that work in place, and each call of one that is used again. ReLU6
    counts, and so does any clamp from 0 up, but one to 1, which is the box of pixels.

    Args:
        value: a scalar, just computed from the image.
        image: `(B, 3, H, W)`, with a gradient.

    Raises:
        ValueError: if there is no ReLU between them.
    """
    relus = [node for node in _nodes(value.grad_fn) if _is_relu(node)]
    if not relus:
        raise ValueError("guided: a network without ReLUs has no guided backpropagation; leave it out of methods")
    for node in relus:
        node.register_prehook(
            lambda gradients: tuple(each if each is None else each.clamp(min=0) for each in gradients)
        )
    (gradient,) = torch.autograd.grad(value, image)
    return gradient


def _nodes(last: _Node) -> Iterator[_Node]:
    """All nodes of a graph, each once."""
    waiting, seen = [last], {last}
    while waiting:
        node = waiting.pop()
        yield node
        for before, _ in node.next_functions:
            if before is not None and before not in seen:
                seen.add(before)
                waiting.append(before)


def _is_relu(node: _Node) -> bool:
    kind = node.name()
    if kind == "ReluBackward0":
        return True
    if kind == "ThresholdBackward0":
        return node._saved_threshold == 0
    if kind == "HardtanhBackward0":  # of ReLU6, too
        return node._saved_min_val == 0 and node._saved_max_val != 1
    if kind == "ClampBackward1":
        return node._saved_min == 0 and node._saved_max != 1
    return kind == "ClampMinBackward0" and node._saved_min == 0

"""Decision insight: the features that weigh most in what a network decided, accentuated."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from attacks.constraints import Constraint, Number
from attacks.objectives import valid_pixels
from callbacks.synthesis.base import Plan, Plans
from callbacks.synthesis.callback import above_0
from callbacks.synthesis.objectives import ClippedActivation, activations
from callbacks.synthesis.painting import Painting
from callbacks.synthesis.representation import Representation, pooled
from callbacks.synthesis.representation_task import RepresentationTask


@dataclass
class Decision:
    """What a network decided about the images of a batch, and the units that weigh most in it.

    `predicted` is the class, int64 `(B,)`; of a segmentation network the one that most pixels are, class 0 only where
    there is no other. `region` are its pixels, bool `(B, 1, H, W)`; None of a classifier. `units` are the k heaviest,
    int64 `(B, k)`, and `shares` what each adds to the class's logit, as a share of all that speaks for it.
    """

    predicted: Tensor
    region: Tensor | None
    units: Tensor
    shares: Tensor

    def right(self, label: Tensor) -> Tensor:
        """1 where the decision is right and 0 where not, `(B,)`; of a region, the share of its labelled pixels."""
        if self.region is None:
            return (label == self.predicted).to(self.shares)
        labelled = self.region.squeeze(1) & valid_pixels(label)
        right = labelled & (label == self.predicted.view(-1, 1, 1))
        return right.flatten(1).sum(1).to(self.shares) / labelled.flatten(1).sum(1)


@dataclass
class Accentuation(Plan):
    """A plan, and what is known of the decision before it is painted: scores, `(B,)` each."""

    known: dict[str, Tensor] = field(default_factory=dict)


class DecisionInsight(RepresentationTask):
    """Accentuates the features that weigh most in a decision, right or wrong (Engstrom et al. 2019, eq. 8).

    Those are the k units with the largest R(x)_i W_ic, where W is the last linear map and c the predicted class; a
    picture for each, which raises that unit until it is the highest (eq. 7): a unit that leads already stays. Of a
    segmentation network's dense representation the units are means over the pixels of the predicted class, see
    `Decision`. The defaults are the paper's.

    Scores `share`, what the unit adds to the logit of all that speaks for the class; `right`, whether the decision is,
    or in what share of its pixels; the unit in the result, `activation`, and in the image, `activation_start`.

    Args:
        k: how many units.

    Raises:
        ValueError: if k is not above 0.
    """

    task = "decision_insight"

    def __init__(
        self,
        constraint: Constraint | float = 40.0,
        steps: int = 60,
        step_size: Number = 1.0,
        k: int = 3,
        **kwargs: Any,
    ) -> None:
        super().__init__(constraint, steps, step_size, **kwargs)
        self.k = above_0(k, "k")

    def plans(self, network: nn.Module, batch: dict[str, Any], seed: Tensor) -> Plans:
        image = batch["image"]
        representation = self.represent(network, image)
        decision = decide(representation, image, self.k)
        known = {"right": decision.right(batch["label"])} if "label" in batch else {}
        for number in range(self.k):
            objective = ClippedActivation(representation, decision.units[:, number], decision.region)
            known["share"] = decision.shares[:, number]
            yield Accentuation(image, objective, self.constraint, f"feature_{number + 1}", known=dict(known))

    def scores(self, painting: Painting, plan: Plan) -> dict[str, Tensor]:
        assert isinstance(plan, Accentuation)
        return plan.known | activations(plan.objective, painting.start, painting.result)


def decide(representation: Representation, image: Tensor, k: int) -> Decision:
    """What a network decides about images `(B, 3, H, W)`, and the k units with the largest R(x)_i W_ic (eq. 8).

    Raises:
        ValueError: if the representation has fewer units, or the layer behind it does not make the logits.
    """
    with torch.no_grad():
        found, logits = representation(image)
    weight = representation.weight
    if len(weight) != logits.shape[1]:
        raise ValueError(f"layer={representation.name}: makes {len(weight)} values, no {logits.shape[1]} logits")
    if k > representation.units:
        raise ValueError(f"k={k}: the representation ({representation.name}) has {representation.units} units")
    predicted, region = logits.argmax(1), None
    if predicted.ndim > 1:
        seen, predicted = predicted, most_frequent(predicted, logits.shape[1])
        region = (seen == predicted.view(-1, 1, 1)).unsqueeze(1)
    added = pooled(found, region) * weight[predicted]
    top = added.topk(k)
    for_it = added.clamp(min=0).sum(1, keepdim=True).clamp(min=torch.finfo(added.dtype).tiny)
    return Decision(predicted, region, top.indices, top.values / for_it)


def most_frequent(label: Tensor, classes: int) -> Tensor:
    """The class that most pixels of a label map `(B, H, W)` are, `(B,)`; class 0 only where there is no other."""
    counts = torch.stack([(label == index).flatten(1).sum(1) for index in range(classes)], 1)
    return torch.where(counts[:, 1:].any(1), counts[:, 1:].argmax(1) + 1, 0)

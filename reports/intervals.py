"""How far off a share may be that was measured on a sample of images."""

import math
from typing import Any

Interval = tuple[float, float]
"""Lower and upper end of a 95 % confidence interval, as fractions of 1."""


def wilson(share: float, count: float) -> Interval:
    """The 95 % interval of a share of right answers among `count` independent samples (Wilson 1927).

    Unlike share +- 1.96 standard errors it stays in `[0, 1]`, and has a width where all answers are right.

    Raises:
        ValueError: if `share` is not in `[0, 1]`, or `count` is not above 0.
    """
    if not (0 <= share <= 1 and 0 < count < math.inf):
        raise ValueError(f"share={share} of count={count}: a share between 0 and 1 of 1 or more samples")
    z = 1.959963984540054  # the normal distribution's 97.5 % quantile
    scale = 1 / (1 + z * z / count)
    centre = (share + z * z / (2 * count)) * scale
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count)) * scale
    return (0.0 if share == 0 else max(centre - half, 0.0)), (1.0 if share == 1 else min(centre + half, 1.0))


def with_interval(metrics: dict[str, Any]) -> dict[str, Any]:
    """Metrics of image-level labels with `accuracy_interval`, unless it is there; those of label maps as they are.

    The pixels of a label map are not independent: its intervals need the single images, see
    `callbacks.evaluation.bootstrap`.
    """
    accuracy, samples = metrics.get("accuracy"), metrics.get("samples")
    if "miou" in metrics or "accuracy_interval" in metrics or not samples or accuracy is None or math.isnan(accuracy):
        return metrics
    return {**metrics, "accuracy_interval": list(wilson(accuracy, samples))}

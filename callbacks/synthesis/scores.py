"""How good a painting is, in numbers: one for each sample, none of which depends on the others in its batch."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchmetrics.functional.image import structural_similarity_index_measure

from attacks import undisturbed
from attacks.objectives import logits_of, valid_pixels
from callbacks.synthesis.objectives import MatchRepresentation
from callbacks.synthesis.painting import Painting
from callbacks.synthesis.perceptual import LPIPS, feature_maps
from callbacks.synthesis.representation import Representation

HIGHEST_PSNR = 100.0
"""In dB, of equal images too, whose PSNR is infinite: one grey level in one pixel of 224 x 224 makes 99.9 dB."""

SMALLEST = 6
"""Pixels a side from which there is an SSIM: its windows of 11 pixels are mirrored at the borders."""


def common_scores(painting: Painting, judge: nn.Module | None = None) -> dict[str, Tensor]:
    """The scores that every task has, as far as they apply, `(B,)` each; NaN where there is nothing to measure.

    Beside each stands that of the start (`..._start`), so that one sees what painting brought.

    - with a hole that labels are wanted for, so that the original is to be restored: `psnr`, `ssim` and, with a judge,
      `unweighted_lpips`, inside it and against the original;
    - with a judge and labels that are wanted: `judged`, how far it sees them in the result, and `judged_original`, in
      the original: what the judge makes of a real picture.
    """
    scores: dict[str, Tensor] = {}
    if painting.hole is not None and painting.wanted is not None:
        scores |= likeness(painting, judge)
    if judge is not None and painting.wanted is not None:
        pictures = {"": painting.result, "_start": painting.start, "_original": painting.original}
        if painting.original.shape != painting.result.shape:  # a smaller one, to be made large
            del pictures["_original"]
        for name, image in pictures.items():
            scores[f"judged{name}"] = judged(seen_by(judge, image), painting.wanted, painting.hole)
    return scores


def likeness(painting: Painting, judge: nn.Module | None = None) -> dict[str, Tensor]:
    """How like its original a painting is, and its start: `psnr`, `ssim` and, with a judge, `unweighted_lpips`.

    Inside the hole, or where there is none, of the whole image. The last is `LPIPS` by the judge's feature maps; it is
    left out where the judge has none.
    """
    original, hole = painting.original, painting.hole
    pictures = {"": painting.result, "_start": painting.start}
    scores = {f"psnr{name}": psnr(image, original, hole) for name, image in pictures.items()}
    if min(original.shape[2:]) >= SMALLEST:
        scores |= {f"ssim{name}": ssim(image, original, hole) for name, image in pictures.items()}
    if judge is not None:
        with undisturbed(judge), torch.no_grad():
            original = _for(judge, original)
            layers = feature_maps(_on(judge, original), original)
            for name, image in pictures.items() if layers else ():
                scores[f"unweighted_lpips{name}"] = LPIPS(judge, original, layers)(_for(judge, image), original, hole)
    return scores


def psnr(image: Tensor, original: Tensor, hole: Tensor | None = None) -> Tensor:
    """Peak signal-to-noise ratio, -10 log10 of the mean squared difference, in dB, `(B,)`; `HIGHEST_PSNR` at most.

    Args:
        image: `(B, 3, H, W)` in `[0, 1]`, like `original`.
        hole: bool `(B, 1, H, W)`; only what is inside counts.
    """
    error = _mean((image - original).square(), hole)
    return -10 * error.clamp(min=10 ** (-HIGHEST_PSNR / 10)).log10()


def ssim(image: Tensor, original: Tensor, hole: Tensor | None = None) -> Tensor:
    """Structural similarity (Wang et al. 2004; Gaussian windows of sigma 1.5), 1 for equal images, `(B,)`.

    The mean over the windows whose middle is inside the hole; they reach 5 pixels beyond it.

    Args:
        image: `(B, 3, H, W)` in `[0, 1]`, like `original`; 6 pixels a side or more.
        hole: bool `(B, 1, H, W)`.
    """
    values = []
    for i, (one, other) in enumerate(zip(image.float(), original.float(), strict=True)):
        rows, columns = (slice(None),) * 2 if hole is None else _around(hole[i, 0], beyond=5)
        one, other = (each[None, :, rows, columns] for each in (one, other))
        _, windows = structural_similarity_index_measure(
            one, other, data_range=1.0, reduction="none", return_full_image=True
        )
        inside = None if hole is None else hole[i : i + 1, :, rows, columns]
        values.append(_mean(windows, inside))
    return torch.cat(values)


def judged(logits: Tensor, wanted: Tensor, hole: Tensor | None = None) -> Tensor:
    """How far a network sees what was wanted, `(B,)`: 1 or 0 of an image, of a label map a share of its pixels.

    The pixels that count are valid and inside the hole; NaN where there are none.

    Args:
        logits: of the judge, `(B, C)` or `(B, C, H, W)`.
        wanted: int64 `(B,)` or `(B, H, W)`, void pixels 255.
        hole: bool `(B, 1, H, W)`; does not matter to labels of images.
    """
    right = logits.argmax(1) == wanted
    if wanted.ndim == 1:
        return right.float()
    counts = valid_pixels(wanted) if hole is None else valid_pixels(wanted) & hole[:, 0]
    return (right & counts).flatten(1).sum(1) / counts.flatten(1).sum(1)


def judge_distances(
    judge: nn.Module, painting: Painting, wanted: Sequence[tuple[float, Tensor]], region: Tensor | None = None
) -> dict[str, Tensor]:
    """How far the result, and the start, are from what was wanted in a judge's representation: ||R(x) - R*|| / ||R*||.

    Args:
        painting: of which the result and the start are looked at.
        wanted: R* is the sum of the representations of some images `(B, 3, H, W)`, each times a number.
        region: bool `(B, 1, H, W)`: of a dense representation, the pixels that count.
    """
    with undisturbed(judge), torch.no_grad():
        representation = Representation(_on(judge, painting.result), _for(judge, painting.result))
        target = torch.stack([share * representation(_for(judge, image))[0] for share, image in wanted]).sum(0)
        objective = MatchRepresentation(representation, target, region)
        return {
            "judge_distance": objective.distance(_for(judge, painting.result)),
            "judge_distance_start": objective.distance(_for(judge, painting.start)),
        }


def seen_by(judge: nn.Module, image: Tensor) -> Tensor:
    """The judge's logits; it is in eval mode and on the images' device while it looks."""
    with undisturbed(judge), torch.no_grad():
        return logits_of(_on(judge, image)(_for(judge, image)))


def check_judge(judge: nn.Module, image: Tensor, wanted: Tensor | None, logits: Tensor) -> None:
    """Raises ValueError if a judge cannot tell what is wanted.

    Args:
        image: `(B, 3, H, W)`, such as it will look at.
        wanted: the labels that it is to see, if any.
        logits: of the network that paints.
    """
    seen = seen_by(judge, image)
    if wanted is not None and (seen.shape[1], seen.shape[2:]) != (logits.shape[1], logits.shape[2:]):
        theirs, ours = _kind(seen), _kind(logits)
        raise ValueError(f"judge: tells {theirs} apart, and the network {ours}; a judge is trained on the same labels")


def _kind(logits: Tensor) -> str:
    what = "classes of images" if logits.ndim == 2 else f"classes of {'x'.join(map(str, logits.shape[2:]))} pixels"
    return f"{logits.shape[1]} {what}"


def _on(judge: nn.Module, image: Tensor) -> nn.Module:
    return judge.to(image.device)


def _for(judge: nn.Module, image: Tensor) -> Tensor:
    """The image in the judge's precision."""
    return image.to(next((p.dtype for p in judge.parameters()), image.dtype))


def _around(hole: Tensor, beyond: int) -> tuple[slice, slice]:
    """The rows and columns `(H, W)` that a hole reaches, and some more: what is far from it need not be looked at."""
    ends = [hole.any(dim).nonzero().flatten().tolist() for dim in (1, 0)]
    first, second = (slice(max(end[0] - beyond, 0), end[-1] + beyond + 1) if end else slice(None) for end in ends)
    return first, second


def _mean(values: Tensor, hole: Tensor | None) -> Tensor:
    """Each sample's mean of `(B, C, H, W)` inside the hole, `(B,)`; NaN where it has no pixel."""
    if hole is None:
        return values.flatten(1).mean(1)
    inside = hole.expand_as(values)
    return values.where(inside, 0).flatten(1).sum(1) / inside.flatten(1).sum(1)

import math

import pytest
import torch
from networks import fcn, linear, per_pixel, ragged_labels, uniform
from one_line import one_line
from torch import nn
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from attacks.objectives import CrossEntropy
from callbacks.synthesis.base import Plan, Synthesis
from callbacks.synthesis.painting import Painting
from callbacks.synthesis.perceptual import LPIPS
from callbacks.synthesis.scores import (
    HIGHEST_PSNR,
    common_scores,
    judge_distances,
    judged,
    likeness,
    psnr,
    ssim,
)


@pytest.fixture
def pair():
    return uniform(3, 3, 24, 20), uniform(3, 3, 24, 20, seed=1)


@pytest.fixture
def hole():
    hole = torch.zeros(3, 1, 24, 20, dtype=torch.bool)
    hole[0, :, 3:9, 4:11], hole[1, :, :1, :1], hole[2, :, 10:, 12:] = True, True, True
    return hole


def test_psnr_in_closed_form(pair):
    image, original = pair
    assert torch.allclose(psnr(original + 0.1, original), torch.tensor(20.0).double())
    for i in range(3):
        assert torch.isclose(psnr(image, original)[i], peak_signal_noise_ratio(image[i], original[i], data_range=1.0))


def test_psnr_of_equal_images_is_a_number(pair):
    image, _ = pair
    assert psnr(image, image).tolist() == [HIGHEST_PSNR] * 3
    other = torch.full((1, 3, 224, 224), 100 / 255).double()
    other[0, 0, 0, 0] += 1 / 255
    assert 99.8 < psnr(other, torch.full_like(other, 100 / 255)) < HIGHEST_PSNR


def test_psnr_counts_the_hole_alone(pair, hole):
    image, original = pair
    for i in range(3):
        inside = [each[i][:, hole[i, 0]] for each in (image, original)]
        expected = peak_signal_noise_ratio(*inside, data_range=1.0)
        assert torch.isclose(psnr(image, original, hole)[i], expected)
    outside = torch.where(hole, image, torch.nan)
    assert torch.equal(psnr(outside, original, hole), psnr(image, original, hole))


def test_ssim_is_torchmetrics_image_by_image(pair, hole):
    image, original = pair
    _, windows = structural_similarity_index_measure(
        image, original, data_range=1.0, reduction="none", return_full_image=True
    )
    assert torch.allclose(ssim(image, original).double(), windows.flatten(1).mean(1), atol=1e-6)
    expected = [windows[i][:, hole[i, 0]].mean() for i in range(3)]
    assert torch.allclose(ssim(image, original, hole).double(), torch.stack(expected), atol=1e-6)
    assert torch.allclose(ssim(image, image), torch.ones(3))


def test_ssim_of_a_grey_picture_in_closed_form():
    """Without any structure the index is that of the luminance: (2 a b + c) / (a^2 + b^2 + c), c = .01^2."""
    dark, bright = torch.full((1, 3, 16, 16), 0.2), torch.full((1, 3, 16, 16), 0.6)
    expected = (2 * 0.2 * 0.6 + 1e-4) / (0.2**2 + 0.6**2 + 1e-4)
    assert math.isclose(ssim(dark, bright).item(), expected, rel_tol=1e-3)


def test_judged_counts_valid_pixels_inside_the_hole():
    wanted = torch.tensor([[0, 0, 1], [1, 2, 255], [255, 0, 0]])[None].expand(3, 3, 3)
    logits = nn.functional.one_hot(torch.zeros(3, 3, 3, dtype=torch.long), 3).movedim(-1, 1).float()
    hole = torch.zeros(3, 1, 3, 3, dtype=torch.bool)
    hole[0, :, 0], hole[1, :, 1] = True, True
    hole[2, :, 1, 2] = True
    assert torch.allclose(judged(logits, wanted), torch.full((3,), 4 / 7))
    shares = judged(logits, wanted, hole)
    assert torch.allclose(shares[:2], torch.tensor([2 / 3, 0.0])) and shares[2].isnan(), "no valid pixel in the last"


def test_judged_of_images_is_right_or_wrong():
    """255 is a class of images; the hole does not matter to them."""
    logits = torch.eye(300)[[3, 255, 7]]
    hole = torch.zeros(3, 1, 2, 2, dtype=torch.bool)
    assert judged(logits, torch.tensor([3, 255, 8]), hole).tolist() == [1, 1, 0]


def test_judge_distances_in_closed_form():
    """The representation of a linear network is the image."""
    original, start, result, other = (uniform(3, 3, 4, 4, seed=i) for i in range(4))
    painting = Painting("", original, start, result, logits=torch.zeros(3, 2))
    found = judge_distances(linear(), painting, [(0.25, original), (0.75, other)])
    wanted = (original / 4 + 3 * other / 4).flatten(1)
    for name, image in (("judge_distance", result), ("judge_distance_start", start)):
        assert torch.allclose(found[name], (image.flatten(1) - wanted).norm(dim=1) / wanted.norm(dim=1))


def painting_of(**options):
    image = [uniform(4, 3, 12, 12, seed=i) for i in range(3)]
    return Painting("", *image, logits=torch.zeros(4, 3, 12, 12), **options)


def test_which_scores_there_are():
    wanted = torch.zeros(4, 12, 12, dtype=torch.long)
    hole = torch.zeros(4, 1, 12, 12, dtype=torch.bool)
    hole[..., 2:5, 3:9] = True
    inside = {"psnr", "psnr_start", "ssim", "ssim_start"}
    lpips, seen = {"unweighted_lpips", "unweighted_lpips_start"}, {"judged", "judged_start", "judged_original"}
    assert set(common_scores(painting_of())) == set()
    assert set(common_scores(painting_of(hole=hole))) == set(), "features were painted into it"
    assert set(common_scores(painting_of(hole=hole, wanted=wanted))) == inside
    assert set(common_scores(painting_of(wanted=wanted))) == set()
    assert set(common_scores(painting_of(wanted=wanted), fcn())) == seen
    assert set(common_scores(painting_of(hole=hole, wanted=wanted), fcn())) == inside | lpips | seen
    assert set(likeness(painting_of())) == inside, "of the whole image"


def test_scores_are_of_what_they_say():
    judge = per_pixel()
    painting = painting_of(wanted=ragged_labels(size=12), hole=torch.ones(4, 1, 12, 12, dtype=torch.bool))
    scores = common_scores(painting, judge)
    assert torch.equal(scores["psnr"], psnr(painting.result, painting.original))
    assert torch.equal(scores["ssim_start"], ssim(painting.start, painting.original))
    for name, image in (("", painting.result), ("_start", painting.start), ("_original", painting.original)):
        expected = judged(judge(image), painting.wanted)
        assert torch.equal(scores[f"judged{name}"].nan_to_num(7), expected.nan_to_num(7))
    assert "unweighted_lpips" not in scores, "the judge has no feature maps"
    assert scores["judged"].isnan().tolist() == [False, False, False, True], "the last one is void"


def test_lpips_is_by_the_judges_features_inside_the_hole():
    hole = uniform(4, 1, 12, 12, seed=9) < 0.3
    painting, judge = painting_of(hole=hole), fcn()
    scores = likeness(painting, judge)
    distance = LPIPS(judge.eval(), painting.original)
    expected = distance(painting.result, painting.original, hole)
    assert torch.equal(scores["unweighted_lpips"], expected.detach())
    assert not torch.allclose(scores["unweighted_lpips"], distance(painting.result, painting.original))


def test_scores_do_not_depend_on_the_batch():
    hole = uniform(4, 1, 12, 12, seed=9) < 0.3
    whole = painting_of(wanted=ragged_labels(size=12), hole=hole)
    together = common_scores(whole, fcn())
    for i in range(4):
        parts = {name: getattr(whole, name)[i : i + 1] for name in ("original", "start", "result", "logits")}
        alone = common_scores(Painting("", **parts, wanted=whole.wanted[i : i + 1], hole=hole[i : i + 1]), fcn())
        for name, value in alone.items():
            assert torch.allclose(value[0], together[name][i], atol=1e-6, equal_nan=True), name


def test_a_judge_is_left_as_it_was_and_looks_in_eval_mode():
    judge, painting = fcn(), painting_of(wanted=ragged_labels(size=12))
    buffers = {name: value.clone() for name, value in judge.named_buffers()}
    first, again = common_scores(painting, judge), common_scores(painting, judge)
    assert all(torch.equal(first[name].nan_to_num(), again[name].nan_to_num()) for name in first), "no dropout"
    assert judge.training and all(torch.equal(value, buffers[name]) for name, value in judge.named_buffers())


def test_a_judge_of_another_precision_looks_all_the_same():
    painting = painting_of(wanted=ragged_labels(size=12), hole=torch.ones(4, 1, 12, 12, dtype=torch.bool))
    assert torch.allclose(
        common_scores(painting, fcn().float())["unweighted_lpips"].double(),
        common_scores(painting, fcn())["unweighted_lpips"],
        atol=1e-5,
    )


class Repaint(Synthesis):
    """Paints what the labels say into the left half."""

    task = "repaint"

    def plans(self, network, batch, seed):
        image, label = batch["image"], batch["label"]
        hole = torch.zeros_like(image[:, :1], dtype=torch.bool)
        hole[..., : hole.shape[-1] // 2] = True
        start = image.masked_fill(hole, 0.5)
        yield Plan(start, CrossEntropy(network, start, label), self.constraint, hole=hole, wanted=label)

    def scores(self, painting, plan):
        return {"own": painting.result.flatten(1).mean(1)}


def test_a_task_adds_its_own_to_the_common_ones():
    batch = {"image": uniform(4, 3, 12, 12), "label": ragged_labels(size=12)}
    (painting,) = Repaint(5.0, 20, 0.2, judge=fcn()).synthesize(per_pixel(), batch)
    assert {"own", "psnr", "ssim", "unweighted_lpips", "judged"} <= set(painting.scores)
    (painting,) = Repaint(5.0, 20, 0.2, judge=per_pixel()).synthesize(per_pixel(), batch)
    assert painting.scores["judged"][0] > painting.scores["judged_start"][0]


@pytest.mark.parametrize(
    ("judge", "line"),
    [
        (per_pixel(4), "judge: tells 4 classes of 12x12 pixels apart, and the network 3 classes of 12x12 pixels"),
        (linear(3, 12), "judge: tells 3 classes of images apart, and the network 3 classes of 12x12 pixels"),
    ],
)
def test_a_judge_of_other_labels_is_told_before_anything_is_painted(judge, line):
    batch = {"image": uniform(4, 3, 12, 12), "label": ragged_labels(size=12)}
    with pytest.raises(ValueError, match=one_line(line)):
        Repaint(5.0, 20, 0.2, judge=judge).check(per_pixel(), batch)
    Repaint(5.0, 20, 0.2, judge=fcn()).check(per_pixel(), batch)

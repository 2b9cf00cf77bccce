import numpy as np
import pytest
import torch
from torchvision import tv_tensors

from datamodules.transforms import eval_transform, train_transform


def sample(height, width):
    """A sample whose label, 0..199, is also its image's red channel; the green one is 255."""
    label = torch.from_numpy(np.random.default_rng(0).integers(0, 200, (height, width), dtype=np.uint8))
    image = torch.stack([label, torch.full_like(label, 255), torch.zeros_like(label)])
    region = torch.ones_like(label)
    return {"image": tv_tensors.Image(image), "label": tv_tensors.Mask(label), "region": tv_tensors.Mask(region)}


def draws(transform, height, width, number=20):
    torch.manual_seed(0)
    return [transform(sample(height, width)) for _ in range(number)]


@pytest.mark.parametrize("size", [(20, 30), (60, 30), (70, 90)])
def test_crops_are_square_and_what_they_pad_is_black_void_and_outside_the_region(size):
    for crop in draws(train_transform(40, (18, 80), 0.5), *size):
        assert crop["image"].shape == (3, 40, 40)
        inside = crop["region"] == 1
        assert torch.equal(inside, crop["image"][1] == 1)
        assert torch.equal(~inside, crop["label"] == 255)
        assert (crop["image"][:, ~inside] == 0).all()


def test_image_and_label_are_cropped_and_flipped_together():
    crops = draws(train_transform(40, (30, 30), 0.5), 30, 60)
    for crop in crops:
        inside = crop["region"] == 1
        assert torch.equal((crop["image"][0] * 255).round()[inside], crop["label"][inside].float())
    assert len({crop["label"].numpy().tobytes() for crop in crops}) > 10, "crops are random"


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_flip_is_the_probability_to_be_mirrored(flip):
    original = sample(40, 40)["label"]
    expected = original.flip(1) if flip else original
    for crop in draws(train_transform(40, (40, 40), flip), 40, 40, 5):
        assert torch.equal(crop["label"], expected)


def test_a_flip_of_one_half_mirrors_about_half_of_the_samples():
    original = sample(40, 40)["label"]
    flipped = [
        not torch.equal(crop["label"], original) for crop in draws(train_transform(40, (40, 40), 0.5), 40, 40, 40)
    ]
    assert 10 < sum(flipped) < 30


def test_the_short_side_is_a_random_length_of_the_scale():
    crops = draws(train_transform(100, (20, 40), 0.5), 50, 60, 60)
    lengths = [int((crop["region"] == 1).any(1).sum()) for crop in crops]
    assert 20 <= min(lengths) < 24
    assert 36 < max(lengths) <= 40


def test_a_scale_of_one_length_is_that_length():
    (crop,) = draws(train_transform(100, (30, 30), 0.5), 50, 60, 1)
    assert (crop["region"] == 1).sum() == 30 * 36


def test_augmentation_draws_from_torchs_generator_alone():
    """Each worker's differs, and a seed repeats a run."""
    transform = train_transform(20, (30, 60), 0.5)
    for one, other in zip(draws(transform, 40, 50, 3), draws(transform, 40, 50, 3), strict=True):
        assert torch.equal(one["image"], other["image"])


@pytest.mark.parametrize(
    ("size", "expected"),
    [(None, (40, 60)), (20, (20, 30)), (80, (80, 120)), ((24, 32), (24, 32)), ([24, 32], (24, 32))],
)
def test_evaluation_keeps_the_size_or_sets_the_short_side_or_both(size, expected):
    result = eval_transform(size)(sample(40, 60))
    assert result["image"].shape == (3, *expected)
    assert result["label"].shape == result["region"].shape == expected
    assert (result["region"] == 1).all()


def test_resized_labels_are_never_mixed():
    label = torch.zeros(40, 40, dtype=torch.uint8)
    label[:, 15:] = 255
    for transform in (train_transform(60, (20, 90), 0.5), eval_transform(27)):
        torch.manual_seed(0)
        result = transform({"image": sample(40, 40)["image"], "label": tv_tensors.Mask(label)})
        assert set(result["label"].unique().tolist()) == {0, 255}


def test_a_resized_label_map_lies_over_its_image():
    edge = torch.zeros(3, 40, 60, dtype=torch.uint8)
    edge[:, 10:30, 20:50] = 255
    result = eval_transform(20)({"image": tv_tensors.Image(edge), "label": tv_tensors.Mask(edge[0])})
    assert torch.equal(result["image"][0] > 0.5, result["label"] == 255)


@pytest.mark.parametrize("transform", [train_transform(40, (40, 40), 0.0), eval_transform(None), eval_transform(40)])
def test_pixels_become_fractions_of_one_in_plain_tensors(transform):
    original = sample(40, 40)
    result = transform(original)
    assert type(result["image"]) is type(result["label"]) is torch.Tensor
    assert result["image"].dtype == torch.float32
    assert result["image"].max() == 1 and result["image"].min() == 0
    assert torch.allclose(result["image"], original["image"] / 255)
    assert torch.equal(result["label"], original["label"]), "labels are not scaled"

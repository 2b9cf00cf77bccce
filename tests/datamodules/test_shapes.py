import numpy as np
import pytest
import torch

from datamodules import Shapes
from datamodules.shapes import COLORS, silhouette

PLAIN = {"texture": 0.0, "color_noise": 0.0, "pixel_noise": 0.0}


def samples(split="train", number=30, **options):
    dataset = Shapes(**{"train_samples": number, "val_samples": number, "size": 32, **options}).make_set(split)
    return [dataset[index] for index in range(number)]


def images(*args, **options):
    return torch.stack([sample["image"] for sample in samples(*args, **options)])


def test_a_sample_is_an_image_its_label_map_and_its_index():
    for index, sample in enumerate(samples()):
        assert sample["image"].shape == (3, 32, 32) and sample["image"].dtype == torch.float32
        assert sample["image"].min() >= 0 and sample["image"].max() <= 1
        assert sample["label"].shape == (32, 32) and sample["label"].dtype == torch.int64
        assert sample["index"] == index


def test_a_picture_depends_on_the_seed_and_its_index_alone():
    few, many = images(number=5), images(number=8)
    assert torch.equal(few, many[:5])
    assert not torch.equal(few, images(number=5, seed=1))
    state = np.random.get_state()[1].copy(), torch.get_rng_state()
    again = Shapes(train_samples=5, size=32).make_set("train")[3]["image"]
    assert torch.equal(again, few[3])
    assert np.array_equal(np.random.get_state()[1], state[0]) and torch.equal(torch.get_rng_state(), state[1])


def test_no_picture_comes_twice():
    pictures = [
        picture for seed in (0, 1) for split in ("train", "val", "test") for picture in images(split, 6, seed=seed)
    ]
    assert len({picture.numpy().tobytes() for picture in pictures}) == 36


@pytest.mark.parametrize("index", [-1, 5])
def test_an_index_outside_the_set_is_refused(index):
    with pytest.raises(IndexError):
        Shapes(train_samples=5).make_set("train")[index]


def test_iterating_over_a_set_ends():
    assert len(list(Shapes(train_samples=3, size=16).make_set("train"))) == 3


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_all_classes_occur(split):
    labels = torch.stack([sample["label"] for sample in samples(split, 40)])
    share = torch.bincount(labels.flatten(), minlength=5) / labels.numel()
    assert len(share) == len(Shapes.classes) == 5
    assert share[0] > 0.4 and (share[1:] > 0.02).all()


def test_without_noise_and_texture_the_picture_is_its_label_map_in_colors():
    for sample in samples(**PLAIN):
        expected = COLORS[sample["label"]].transpose(2, 0, 1)
        assert np.allclose(sample["image"], expected, atol=1e-6)


def test_a_picture_shows_the_silhouettes_of_its_label_map():
    """Told from the part of its bounding box that a lone shape fills."""
    filled = {kind: [] for kind in range(1, 5)}
    for sample in samples(number=300, size=64, **PLAIN):
        label = sample["label"]
        kinds = label.unique().tolist()[1:]
        touches_border = torch.cat([label[0], label[-1], label[:, 0], label[:, -1]]).any()
        if len(kinds) == 1 and not touches_border:
            rows, columns = label.any(1).nonzero(), label.any(0).nonzero()
            height, width = (int(found.max() - found.min() + 1) for found in (rows, columns))
            if abs(height / width - 1) < 0.1:  # mostly one shape, not several of a class
                filled[kinds[0]].append(int((label > 0).sum()) / (height * width))
    expected = {1: np.pi / 4, 2: 1.0, 3: 0.5, 4: 1 - (1 - 0.36 / 1.05) ** 2}
    for kind, shares in filled.items():
        assert len(shares) > 4
        assert abs(np.median(shares) - expected[kind]) < 0.06


@pytest.mark.parametrize(
    ("kind", "inside", "outside"),
    [
        (1, [(0.0, 0.0), (0.65, 0.65), (0.95, 0.0)], [(0.75, 0.75), (1.05, 0.0)]),
        (2, [(0.0, 0.0), (0.85, 0.85)], [(0.95, 0.0), (0.0, -0.95)]),
        (3, [(0.0, 0.0), (-0.9, 0.0), (0.7, 0.9)], [(-0.5, 0.5), (0.8, 0.0), (-1.2, 0.0)]),
        (4, [(0.0, 0.0), (0.0, 1.0), (-1.0, 0.3)], [(0.5, 0.5), (-0.4, 0.4), (1.1, 0.0)]),
    ],
    ids=Shapes.classes[1:],
)
def test_silhouettes(kind, inside, outside):
    y, x = np.array(inside + outside).T
    assert silhouette(kind, y, x).tolist() == [True] * len(inside) + [False] * len(outside)


def test_the_texture_is_weaker_than_the_training_eps():
    amplitude = Shapes().texture
    assert 0.03 < amplitude < 0.06
    for sample in samples(color_noise=0.0, pixel_noise=0.0):
        difference = sample["image"].numpy() - COLORS[sample["label"]].transpose(2, 0, 1)
        assert np.isclose(np.abs(difference).max(), amplitude, atol=1e-6)


def test_the_texture_tells_the_class_of_each_object():
    y, x = np.indices((32, 32))
    patterns = {0: 0 * x, 1: x % 2, 2: y % 2, 3: (x + y) % 2, 4: (x + y) // 2 % 2}
    for sample in samples(color_noise=0.0, pixel_noise=0.0):
        label = sample["label"].numpy()
        fine = (sample["image"].numpy() - COLORS[label].transpose(2, 0, 1)).mean(0)
        for kind in np.unique(label):
            sign = 2 * patterns[kind] - 1 if kind else patterns[0]
            assert np.allclose(fine[label == kind], 0.045 * sign[label == kind], atol=1e-6)


def test_the_texture_is_as_strong_on_saturated_colors():
    """Seen from the steps between the stripes of discs."""
    saturated = 0
    for sample in samples(color_noise=0.5, pixel_noise=0.0, texture=0.05):
        image, disc = sample["image"].numpy(), sample["label"].numpy() == 1
        steps = np.abs(np.diff(image, axis=2))
        within = disc[:, 1:] & disc[:, :-1] & (steps.max(0) < 0.11)  # not from one disc to the next
        assert np.allclose(steps[:, within], 0.1, atol=1e-5)
        saturated += ((image[:, disc] < 1e-6) | (image[:, disc] > 1 - 1e-6)).sum()
    assert saturated > 100


def test_each_objects_color_is_noisy_and_each_pixel_a_little():
    quiet, colored = images(**PLAIN), images(**{**PLAIN, "color_noise": 0.1})
    assert 0.05 < (colored - quiet).abs().mean() < 0.12
    pixels = samples(number=10, **{**PLAIN, "pixel_noise": 0.02})
    noise = [sample["image"].numpy() - COLORS[sample["label"]].transpose(2, 0, 1) for sample in pixels]
    assert 0.018 < np.std(noise) < 0.022

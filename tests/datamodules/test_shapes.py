import numpy as np
import pytest
import torch

from datamodules import Shapes
from datamodules.shapes import COLORS, silhouette

CLASSES = Shapes().classes
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


@pytest.mark.parametrize("labels", ["map", "class"])
def test_a_picture_depends_on_the_seed_and_its_index_alone(labels):
    few, many = images(number=5, labels=labels), images(number=8, labels=labels)
    assert torch.equal(few, many[:5])
    assert not torch.equal(few, images(number=5, labels=labels, seed=1))
    state = np.random.get_state()[1].copy(), torch.get_rng_state()
    again = Shapes(labels, train_samples=5, size=32).make_set("train")[3]
    assert torch.equal(again["image"], few[3])
    assert all(np.array_equal(again[key], value) for key, value in samples(number=5, labels=labels)[3].items())
    assert np.array_equal(np.random.get_state()[1], state[0]) and torch.equal(torch.get_rng_state(), state[1])


def test_no_picture_comes_twice():
    pictures = [
        picture for seed in (0, 1) for split in ("train", "val", "test") for picture in images(split, 6, seed=seed)
    ]
    assert len({picture.numpy().tobytes() for picture in pictures}) == 36


def test_pictures_of_one_shape_are_others():
    pictures = [*images(number=6), *images(number=6, labels="class"), *images(number=6, labels="class", seed=1)]
    assert len({picture.numpy().tobytes() for picture in pictures}) == 18


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
    assert len(share) == len(CLASSES) == 5
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
    ids=CLASSES[1:],
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


# One label for each image.


def test_a_picture_of_one_shape_has_its_class_and_its_box():
    assert Shapes("class").classes == CLASSES[1:] == ("disc", "square", "triangle", "cross")
    for index, sample in enumerate(samples(labels="class")):
        assert sample.keys() == {"image", "label", "box", "index"}
        assert sample["image"].shape == (3, 32, 32) and sample["image"].dtype == torch.float32
        assert sample["image"].min() >= 0 and sample["image"].max() <= 1
        assert isinstance(sample["label"], int) and 0 <= sample["label"] < 4
        assert sample["box"].shape == (4,) and sample["box"].dtype == torch.float32
        assert sample["index"] == index


def drawn(sample):
    """Where a picture without noise shows something, and which colour it has; neither from label nor box."""
    distance = np.abs(sample["image"].numpy() - COLORS[:, :, None, None]).sum(1)
    kind = distance.argmin(0)
    assert np.allclose(distance.min(0), 0, atol=1e-5)
    return kind


@pytest.mark.parametrize("size", [8, 33, 64])
def test_the_box_is_the_smallest_that_holds_the_shape(size):
    for sample in samples(labels="class", number=60, size=size, **PLAIN):
        shape = drawn(sample) > 0
        left, top, right, bottom = sample["box"].int().tolist()
        assert 0 <= left < right <= size and 0 <= top < bottom <= size
        assert shape[top:bottom, left:right].sum() == shape.sum() > 0
        assert shape[top].any() and shape[bottom - 1].any() and shape[:, left].any() and shape[:, right - 1].any()


def test_the_label_is_that_of_the_shape_its_color_and_its_texture():
    """The shape is told from the part of its box that it fills."""
    share = np.array([np.pi / 4, 1.0, 0.5, 1 - (1 - 0.36 / 1.05) ** 2])
    plain = samples(labels="class", number=100, size=64, **PLAIN)
    textured = samples(labels="class", number=100, size=64, **{**PLAIN, "texture": 0.045})
    y, x = np.indices((64, 64))
    patterns = (x % 2, y % 2, (x + y) % 2, (x + y) // 2 % 2)
    for sample, fine in zip(plain, textured, strict=True):
        kind, label = drawn(sample), sample["label"]
        left, top, right, bottom = sample["box"].int().tolist()
        assert set(np.unique(kind)) == {0, label + 1}
        filled = (kind > 0).sum() / ((right - left) * (bottom - top))
        assert np.abs(share - filled).argmin() == label
        difference = (fine["image"] - sample["image"]).numpy()[:, kind > 0]
        assert np.allclose(difference, 0.045 * (2 * patterns[label] - 1)[kind > 0], atol=1e-6)


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_all_shapes_are_about_as_frequent_and_large_enough_to_be_seen(split):
    pictures = samples(split, 200, labels="class")
    count = np.bincount([sample["label"] for sample in pictures], minlength=4)
    assert len(count) == 4 and count.min() > 30
    for sample in pictures:
        left, top, right, bottom = sample["box"].tolist()
        assert min(right - left, bottom - top) >= 32 * 0.4 and max(right - left, bottom - top) <= 32 * 0.75


def test_batches_of_one_label_for_each_image():
    data = Shapes("class", train_samples=20, val_samples=6, size=16, batch_size=8, eval_batch_size=4)
    data.setup("fit")
    batches = list(data.val_dataloader())
    assert [len(batch["image"]) for batch in batches] == [4, 2]
    assert batches[0]["image"].shape == (4, 3, 16, 16)
    assert batches[0]["label"].shape == (4,) and batches[0]["label"].dtype == torch.int64
    assert batches[0]["box"].shape == (4, 4) and batches[0]["box"].dtype == torch.float32
    assert torch.cat([batch["index"] for batch in batches]).tolist() == list(range(6))
    expected = [data.make_set("val")[index] for index in range(6)]
    for key in ("label", "box", "image"):
        stacked = torch.stack([torch.as_tensor(sample[key]) for sample in expected])
        assert torch.equal(torch.cat([batch[key] for batch in batches]), stacked)
    (first, second) = data.train_dataloader()
    assert len(first["label"]) == len(second["box"]) == 8

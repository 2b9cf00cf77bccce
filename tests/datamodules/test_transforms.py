import numpy as np
import pytest
import torch
from PIL import Image
from tiny_data import picture
from torch.nn.functional import grid_sample
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from datamodules.transforms import RandomScaleCrop, Resize


def sample(height, width):
    """An image and its label map, 0..199, which is also the image's red channel; the green one is 255."""
    label = torch.from_numpy(np.random.default_rng(0).integers(0, 200, (height, width), dtype=np.uint8))
    return torch.stack([label, torch.full_like(label, 255), torch.zeros_like(label)]), label


def draws(transform, height, width, number=20):
    """Several crops: image, label and region."""
    torch.manual_seed(0)
    return [transform(*sample(height, width)) for _ in range(number)]


def bounds(region):
    """Top, bottom, left and right of the region, which is a rectangle."""
    rows, columns = region.any(1).nonzero(), region.any(0).nonzero()
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    assert region[top:bottom, left:right].all() and region.sum() == (bottom - top) * (right - left)
    return top, bottom, left, right


# Training


@pytest.mark.parametrize("size", [(20, 30), (60, 30), (70, 90)])
def test_crops_are_square_and_what_they_pad_is_black_void_and_outside_the_region(size):
    for image, label, region in draws(RandomScaleCrop(40, (18, 80), 0.5), *size):
        assert image.shape == (3, 40, 40) and label.shape == region.shape == (40, 40)
        assert (image.dtype, label.dtype, region.dtype) == (torch.float32, torch.uint8, torch.bool)
        assert torch.equal(region, image[1] == 1)
        assert torch.equal(~region, label == 255)
        assert (image[:, ~region] == 0).all()


def test_image_and_label_are_cropped_and_flipped_together():
    crops = draws(RandomScaleCrop(40, (30, 30), 0.5), 30, 60)
    for image, label, region in crops:
        assert torch.equal((image[0] * 255).round()[region], label[region].float())
    assert len({label.numpy().tobytes() for _, label, _ in crops}) > 10, "crops are random"


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_flip_is_the_probability_to_be_mirrored(flip):
    original = sample(40, 40)[1]
    expected = original.flip(1) if flip else original
    for _, label, _ in draws(RandomScaleCrop(40, (40, 40), flip), 40, 40, 5):
        assert torch.equal(label, expected)


def test_a_flip_of_one_half_mirrors_about_half_of_the_samples():
    original = sample(40, 40)[1]
    crops = draws(RandomScaleCrop(40, (40, 40), 0.5), 40, 40, 40)
    assert 10 < sum(not torch.equal(label, original) for _, label, _ in crops) < 30


def test_the_short_side_is_a_random_length_of_the_scale():
    crops = draws(RandomScaleCrop(100, (20, 40), 0.5), 50, 60, 60)
    lengths = [int(region.any(1).sum()) for _, _, region in crops]
    assert 20 <= min(lengths) < 24
    assert 36 < max(lengths) <= 40


def test_both_ends_of_the_scale_are_drawn():
    lengths = {int(region.any(1).sum()) for _, _, region in draws(RandomScaleCrop(100, (20, 23), 0.5), 50, 60, 60)}
    assert lengths == {20, 21, 22, 23}


def test_a_scale_of_one_length_is_that_length():
    ((_, _, region),) = draws(RandomScaleCrop(100, (30, 30), 0.5), 50, 60, 1)
    assert region.sum() == 30 * 36


@pytest.mark.parametrize("length", [7, 15, 16, 17, 32])
def test_pictures_of_any_side_are_scaled_to_the_length_drawn(length):
    """Not a pixel less: where the length is the crop, that pixel would have to be padded."""
    transform = RandomScaleCrop(16, (length, length), 0.5)
    for short in range(1, 65):
        long = short + short // 3
        expected = [min(16, side) for side in F.resize(torch.zeros(1, short, long), [length], antialias=True).shape[1:]]
        for size, sides in (((short, long), expected), ((long, short), expected[::-1])):
            top, bottom, left, right = bounds(transform(*sample(*size))[2])
            assert [bottom - top, right - left] == sides, size


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 1), (1, 300), (300, 1), (2, 1000), (3, 3)])
@pytest.mark.parametrize("scale", [(2, 2), (2, 5), (20, 40), (39, 41), (200, 200)])
def test_tiny_and_extremely_long_pictures_give_crops(size, scale):
    for image, label, region in draws(RandomScaleCrop(40, scale, 0.5), *size, 5):
        assert image.shape == (3, 40, 40) and label.shape == (40, 40)
        top, bottom, left, right = bounds(region)
        assert min(40, scale[0]) <= min(bottom - top, right - left) <= scale[1]
        assert torch.equal(~region, label == 255) and set(label[region].tolist()) <= set(
            sample(*size)[1].unique().tolist()
        )


@pytest.mark.parametrize("scale", [(9, 9), (20, 20), (6, 20)])
def test_every_pixel_can_be_labelled_corners_included(scale):
    label = torch.arange(9 * 12, dtype=torch.uint8).view(9, 12)
    torch.manual_seed(0)
    transform, seen = RandomScaleCrop(8, scale, 0.5), set()
    for _ in range(900):
        seen |= set(transform(label.expand(3, -1, -1), label)[1].unique().tolist())
    assert seen - {255} == set(range(9 * 12))


@pytest.mark.parametrize("scale", [(5, 5), (9, 9), (20, 20)])
@pytest.mark.parametrize("corner", [(0, 0), (0, -1), (-1, 0), (-1, -1)])
def test_every_corner_can_be_seen(scale, corner):
    image, label = torch.zeros(3, 9, 12, dtype=torch.uint8), torch.zeros(9, 12, dtype=torch.uint8)
    image[:, *corner] = 255
    torch.manual_seed(0)
    transform = RandomScaleCrop(4, scale, 0.5)
    seen = sum(bool(transform(image, label)[0].max() > 0.1) for _ in range(800))
    assert seen >= 1


# Training, against the reference order: scale the whole, then crop


def reference(crop, scale, flip):
    """What torchvision's segmentation reference does, of image, label and region."""
    return v2.Compose(
        [
            v2.RandomResize(scale[0], scale[1] + 1),
            v2.RandomHorizontalFlip(flip),
            v2.RandomCrop(crop, pad_if_needed=True, fill={tv_tensors.Image: 0, tv_tensors.Mask: 255}),
        ]
    )


def map_of_places(height, width):
    """An image whose red channel grows from left to right, and its green one from top to bottom."""
    down = torch.linspace(0, 255, height).round().byte()[:, None].expand(-1, width)
    across = torch.linspace(0, 255, width).round().byte().expand(height, -1)
    return torch.stack([across, down, torch.zeros_like(down)])


def measures(image, region):
    """Where a crop of the map of places lies in its picture, how large that is, and where it lies in the crop."""
    top, bottom, left, right = bounds(region)
    across, down = image[0][region].float(), image[1][region].float()
    width, height = across.max() - across.min(), down.max() - down.min()
    return [float(v) for v in (across.mean(), down.mean(), width, height)] + [top, left, bottom - top, right - left]


def apart(one, other, tolerance):
    """Kolmogorov and Smirnov's distance of two samples, leaving differences of single values up to a tolerance."""

    def share_below(sample, bounds):
        return np.searchsorted(np.sort(sample), bounds) / len(sample)

    values = np.union1d(one, other)
    return max(
        (share_below(a, values - tolerance) - share_below(b, values + tolerance)).max()
        for a, b in ((one, other), (other, one))
    )


@pytest.mark.parametrize(
    ("size", "scale"),
    [((90, 130), (30, 160)), ((130, 90), (60, 64)), ((80, 81), (64, 64)), ((50, 200), (20, 300)), ((90, 90), (20, 60))],
)
def test_place_and_scale_of_crops_are_distributed_as_in_the_reference(size, scale):
    number, places = 400, map_of_places(*size)
    label = torch.zeros(size, dtype=torch.uint8)
    torch.manual_seed(0)
    ours = [
        measures(image * 255, region)
        for image, _, region in (RandomScaleCrop(64, scale, 0.5)(places, label) for _ in range(number))
    ]
    theirs, transform = [], reference(64, scale, 0.5)
    for _ in range(number):
        image, crop = transform(tv_tensors.Image(places), tv_tensors.Mask(label))
        theirs.append(measures(image, crop == 0))
    for one, other in zip(np.array(ours).T, np.array(theirs).T, strict=True):
        assert apart(one, other, 1.5) < 1.63 * (2 / number) ** 0.5, "1 in 100 by chance"


def window_of(part, whole, size):
    """Top, left, height and width of a crop in source pixels, from the places its channels 1 and 2 show."""
    sides = [
        max(1, round(side * crop / scaled)) for side, crop, scaled in zip(size, part.shape[1:], whole, strict=True)
    ]
    middles = [float(part[channel].mean()) * (side - 1) + 0.5 for channel, side in ((2, size[0]), (1, size[1]))]
    return [round(middle - side / 2) for middle, side in zip(middles, sides, strict=True)] + sides


@pytest.mark.parametrize("length", [130, 200, 240, 360, 480, 1040])
def test_crops_are_windows_of_the_picture_scaled_as_a_whole(length):
    """The same window taken from the scaled picture: a grey level apart on average, more only along its border."""
    size, crop = (240, 320), 120
    image = torch.cat([torch.from_numpy(picture(3, *size)[..., 0].copy())[None], map_of_places(*size)[:2]])
    label = (image[0] > 128).byte() + (image[0] > 60).byte()
    whole = F.resize(image[:1], [length], antialias=True)
    whole_label = F.resize_image(label[None], [length], F.InterpolationMode.NEAREST_EXACT)
    torch.manual_seed(1)
    for _ in range(3):
        part, part_label, region = RandomScaleCrop(crop, (length, length), 0.0)(image, label)
        assert region.all()
        top, left, height, width = window_of(part, whole.shape[1:], size)
        down = (torch.arange(crop) + 0.5) * height / crop + top
        across = (torch.arange(crop) + 0.5) * width / crop + left
        grid = torch.stack(torch.meshgrid(across / size[1], down / size[0], indexing="xy"), -1) * 2 - 1
        expected = grid_sample(whole[None].float(), grid[None], padding_mode="border", align_corners=False)[0, 0]
        apart = (part[0] * 255 - expected).abs()
        assert apart.mean() < 1 and apart[8:-8, 8:-8].max() < 4
        expected = grid_sample(whole_label[None].float(), grid[None], "nearest", "border", False)[0, 0]
        assert (expected != part_label).float().mean() < 0.03


@pytest.mark.parametrize("length", [40, 60, 77, 90, 120, 240])
def test_a_label_lies_over_its_image_within_half_a_source_pixel(length):
    """From half the size on; a crop's label map is sampled, so that single edges are off by up to a pixel of it."""
    height, width, factor = 60, 80, length / 60
    offsets = []
    torch.manual_seed(0)
    for edge in list(range(10, 70)) * (8 if length > 150 else 2):
        label = torch.zeros(height, width, dtype=torch.uint8)
        label[:, edge:] = 1
        image, crop, _ = RandomScaleCrop(40, (length, length), 0.5)(label.expand(3, -1, -1) * 255, label)
        row, of_it = image[0, 20], crop[20].float()
        if row.min() == 0 and row.max() == 1:
            sign = 1 if row[-1] > row[0] else -1  # mirrored, it is off to the other side
            offsets.append(float((row - of_it).sum()) / factor * sign)
    assert len(offsets) > 10
    assert abs(np.mean(offsets)) <= 0.5
    assert max(map(abs, offsets)) <= 0.5 + 0.5 / factor + 0.3


# Both


def test_augmentation_draws_from_torchs_generator_alone():
    """Each worker's differs, and a seed repeats a run."""
    transform = RandomScaleCrop(20, (30, 60), 0.5)
    for one, other in zip(draws(transform, 40, 50, 3), draws(transform, 40, 50, 3), strict=True):
        assert torch.equal(one[0], other[0])


@pytest.mark.parametrize(
    ("size", "expected"),
    [(None, (40, 60)), (20, (20, 30)), (80, (80, 120)), ((24, 32), (24, 32)), ([24, 32], (24, 32))],
)
def test_evaluation_keeps_the_size_or_sets_the_short_side_or_both(size, expected):
    image, label, region = Resize(size)(*sample(40, 60))
    assert image.shape == (3, *expected)
    assert label.shape == region.shape == expected
    assert region.all() and region.dtype == torch.bool


@pytest.mark.parametrize("size", [None, 20, 80, (24, 32)])
def test_an_image_alone_is_resized_as_with_its_label(size):
    image, label = sample(40, 60)
    assert torch.equal(Resize(size).image(image), Resize(size)(image, label)[0])


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1)])
def test_tiny_and_extremely_long_pictures_are_resized(size):
    image, label, region = Resize(20)(*sample(*size))
    assert min(label.shape) == 20 and image.shape[1:] == region.shape == label.shape


@pytest.mark.parametrize("size", [27, 90, (50, 13)])
def test_resizing_is_that_of_torchvision(size):
    """Bilinear with antialiasing, as published networks are evaluated."""
    image, label = torch.from_numpy(picture(0, 40, 60).transpose(2, 0, 1).copy()), sample(40, 60)[1]
    resized = v2.Resize(size if isinstance(size, int) else list(size), antialias=True)
    assert torch.equal((Resize(size)(image, label)[0] * 255).round().byte(), resized(tv_tensors.Image(image)))


@pytest.mark.parametrize("shape", [(40, 60), (41, 59), (7, 200)])
def test_labels_are_those_of_torchvisions_reference_on_pil_images(shape):
    """But where two pixels are equally near to the centre of a new one: there Pillow takes the right one."""
    image, label = sample(*shape)
    for size in ((27, 33), (13, 81), (90, 90), (21, 44)):
        found = Resize(size)(image, label)[1].numpy()
        expected = np.asarray(F.resize(Image.fromarray(label.numpy()), list(size), F.InterpolationMode.NEAREST))
        exact = [(np.arange(new) + 0.5) * side / new for side, new in zip(shape, size, strict=True)]
        rows, columns = (np.abs(places - places.round()) > 1e-9 for places in exact)
        assert rows.any() or shape[0] % (2 * size[0]) == 0
        assert np.array_equal(found[np.ix_(rows, columns)], expected[np.ix_(rows, columns)])


@pytest.mark.parametrize("shape", [(40, 60), (41, 59)])
@pytest.mark.parametrize("size", [(20, 15), (10, 30), (27, 33), (82, 120)])
def test_a_mirrored_label_map_is_resized_to_the_mirror_of_it(shape, size):
    image, label = sample(*shape)
    resized = Resize(size)(image, label)[1]
    for axes in ([0], [1], [0, 1]):
        mirrored = Resize(size)(image, label.flip(axes))[1].flip(axes)
        middle = (
            (slice(None),) * 2 if all(n % 2 == 0 for n in size) else np.ix_(*(np.arange(n) != n // 2 for n in size))
        )
        assert np.array_equal(mirrored.numpy()[middle], resized.numpy()[middle])


@pytest.mark.parametrize("size", [64, 96, 100, 128, 200])
def test_a_label_map_shrinks_about_the_centre_of_its_image(size):
    y, x = torch.meshgrid(torch.arange(256.0), torch.arange(256.0), indexing="ij")
    disc = ((y - 100) ** 2 + (x - 140) ** 2 < 60**2).to(torch.uint8)
    image, label, _ = Resize(size)(disc.expand(3, -1, -1) * 255, disc)
    places = torch.arange(float(size))
    for axis in (0, 1):
        middles = [float((w.sum(1 - axis) * places).sum() / w.sum()) for w in (image[0], label.float())]
        assert abs(middles[0] - middles[1]) < 0.51 * size / 256 + 0.05


@pytest.mark.parametrize(("size", "least"), [((60, 80), 0.9), ((100, 120), 0.95)])
def test_a_perfect_prediction_scaled_down_and_up_is_nearly_perfect(size, least):
    """About 0.8 and 0.9 with the label at each new pixel's top left corner."""
    shape = (240, 320)
    label = torch.from_numpy((picture(2, *shape)[..., 0] // 64).copy())
    small = Resize(size)(*(label.expand(3, -1, -1), label))[1]
    back = F.resize_image(small[None], list(shape), F.InterpolationMode.NEAREST_EXACT)[0]
    overlaps = [((back == c) & (label == c)).sum() / ((back == c) | (label == c)).sum() for c in range(4)]
    assert np.mean(overlaps) > least


def test_resized_labels_are_never_mixed():
    label = torch.zeros(40, 40, dtype=torch.uint8)
    label[:, 15:] = 255
    for transform in (RandomScaleCrop(60, (20, 90), 0.5), Resize(27), Resize(90), Resize((13, 80))):
        torch.manual_seed(0)
        for _ in range(10):
            assert set(transform(sample(40, 40)[0], label)[1].unique().tolist()) == {0, 255}


def test_a_resized_label_map_lies_over_its_image():
    edge = torch.zeros(3, 40, 60, dtype=torch.uint8)
    edge[:, 10:30, 20:50] = 255
    image, label, _ = Resize(20)(edge, edge[0])
    assert torch.equal(image[0] > 0.5, label == 255)


@pytest.mark.parametrize("transform", [RandomScaleCrop(40, (40, 40), 0.0), Resize(None), Resize(40)])
@pytest.mark.parametrize("kind", [torch.Tensor, tv_tensors.Image])
def test_pixels_become_fractions_of_one_in_plain_tensors(transform, kind):
    image, label = sample(40, 40)
    results = transform(image.as_subclass(kind), label)
    assert [type(result) for result in results] == [torch.Tensor] * 3
    assert results[0].dtype == torch.float32
    assert results[0].max() == 1 and results[0].min() == 0
    assert torch.allclose(results[0], image / 255)
    assert torch.equal(results[1], label), "labels are not scaled"


@pytest.mark.parametrize("transform", [RandomScaleCrop(20, (20, 90), 0.5), Resize(None), Resize(27)])
def test_what_was_read_stays_as_it_was(transform):
    image, label = sample(40, 60)
    for _ in range(5):
        results = transform(image, label)
        results[0].fill_(0.5)
        results[2].fill_(False)
    assert torch.equal(image, sample(40, 60)[0]) and torch.equal(label, sample(40, 60)[1])

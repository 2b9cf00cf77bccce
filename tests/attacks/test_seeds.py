import pytest
import torch
from networks import uniform as pixels

from attacks.seeds import mix, normal, uniform

MASK = 2**64 - 1
EXTREMES = [0, 1, -1, 255, 2**31, 2**32, 2**62 + 12345, 2**63 - 1, -(2**63), 2**64 - 1]


def splitmix64(x):
    x = (x + 0x9E3779B97F4A7C15) & MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def reference(*parts):
    state = 0
    for part in parts:
        state = splitmix64((state + part) & MASK)
    return state - 2**64 if state >= 2**63 else state


def test_mix_gives_the_published_first_output_of_splitmix64():
    assert mix(1234567).item() == 6457827717110365317


@pytest.mark.parametrize("part", EXTREMES)
def test_mix_of_integers_equals_arithmetic_modulo_2_64(part):
    assert mix(part).item() == reference(part)
    assert mix(part, 42, part).item() == reference(part, 42, part)


def test_mix_of_tensors_equals_the_mix_of_their_elements():
    seeds = [value for value in EXTREMES if value < 2**63]
    mixed = mix(7, torch.tensor(seeds), 3)
    assert mixed.dtype == torch.int64
    assert mixed.tolist() == [reference(7, seed, 3) for seed in seeds]
    assert mix(torch.tensor(seeds), torch.tensor(seeds)).tolist() == [reference(seed, seed) for seed in seeds]


def test_the_order_of_the_parts_matters():
    assert mix(1, 2) != mix(2, 1)
    assert mix(1) != mix(1, 0)


def test_mixed_seeds_differ_in_their_low_bits():
    """A generator of the CPU reads only the low 32 bits of its seed."""
    low = mix(torch.arange(10_000) << 32) & 0xFFFFFFFF
    assert len(low.unique()) > 9_990


@pytest.mark.parametrize("draw", [uniform, normal])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_noise_looks_like_the_image(draw, dtype):
    like = pixels(2, 3, 5, 4).to(dtype)
    noise = draw(like, torch.arange(2))
    assert noise.shape == like.shape
    assert noise.dtype == dtype


def test_uniform_noise_is_uniform():
    noise = uniform(torch.empty(4, 3, 50, 50), torch.arange(4)).flatten().sort().values
    assert noise[0] >= 0
    assert noise[-1] < 1
    assert (noise - torch.linspace(0, 1, len(noise))).abs().max() < 0.015


def test_normal_noise_is_standard_normal():
    noise = normal(torch.empty(4, 3, 50, 50), torch.arange(4)).flatten().sort().values
    expected = torch.distributions.Normal(0, 1).cdf(noise)
    assert (expected - torch.linspace(0, 1, len(noise))).abs().max() < 0.015


@pytest.mark.parametrize("draw", [uniform, normal])
def test_noise_is_a_function_of_the_seed_alone(draw):
    like, seed = torch.empty(5, 3, 4, 4), torch.tensor([3, -7, 2**40, 3, 0])
    noise = draw(like, seed)
    order = torch.tensor([4, 2, 0, 1, 3])
    assert torch.equal(draw(like, seed[order]), noise[order])
    assert torch.equal(draw(like[:2], seed[:2]), noise[:2])
    assert torch.equal(draw(like[:1], seed[4:]), noise[4:])
    assert torch.equal(noise[0], noise[3])
    assert torch.equal(draw(like.to(memory_format=torch.channels_last), seed), noise)


@pytest.mark.parametrize("draw", [uniform, normal])
def test_seeds_and_streams_give_independent_noise(draw):
    like = torch.empty(2, 3, 40, 40)
    noise, other = draw(like, torch.tensor([0, 1])), draw(like, torch.tensor([0, 1]), stream=1)
    drawn = torch.stack([*noise, *other]).flatten(1)
    assert (torch.corrcoef(drawn) - torch.eye(4)).abs().max() < 0.07


@pytest.mark.parametrize("draw", [uniform, normal])
def test_noise_leaves_the_global_generator_alone(draw):
    before = torch.get_rng_state()
    draw(torch.empty(2, 3, 4, 4), torch.arange(2))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("seed", [torch.tensor(0), torch.arange(3), torch.zeros(2, 1, dtype=torch.int64)])
def test_one_seed_per_sample_is_needed(seed):
    with pytest.raises(ValueError, match=r"one int64 per sample is needed: \(2,\)$"):
        uniform(torch.empty(2, 3, 4, 4), seed)


@pytest.mark.parametrize("draw", [uniform, normal])
def test_the_memory_format_does_not_matter(draw):
    """It does to torch's own draws: findings/torch_noise_memory_format.sh."""
    like, seed = pixels(2, 3, 5, 7), torch.arange(2)
    assert torch.equal(draw(like.contiguous(memory_format=torch.channels_last), seed), draw(like, seed))

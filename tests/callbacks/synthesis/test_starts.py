import pytest
import torch
from networks import uniform
from one_line import one_line

from callbacks.synthesis.starts import check_start, without_image


def test_noise_is_that_of_the_papers_code_and_each_samples_own():
    image, seed = uniform(3, 3, 64, 64), torch.tensor([5, 6, 5])
    noise = without_image("noise", image, seed)
    assert noise.mean().item() == pytest.approx(0.5, abs=2e-3) and noise.std().item() == pytest.approx(0.05, abs=1e-3)
    assert torch.equal(noise[0], noise[2]) and not torch.equal(noise[0], noise[1])
    assert torch.equal(without_image("noise", image[1:2], seed[1:2])[0], noise[1])


def test_grey_is_a_half():
    assert (without_image("grey", uniform(2, 3, 4, 4), torch.arange(2)) == 0.5).all()


def test_a_start_that_is_none_is_told():
    with pytest.raises(ValueError, match=one_line("start=gray", "noise, grey, image")):
        check_start("gray")

import pytest
import torch
import torch.nn.functional as F
from networks import fcn, linear, uniform
from one_line import one_line

from callbacks import SuperResolution
from callbacks.synthesis.scores import psnr
from callbacks.synthesis.super_resolution import area, enlarged
from lightning_modules import Classifier

IMAGE = uniform(2, 3, 8, 8)


def test_the_start_is_what_is_left_of_the_image():
    task = SuperResolution(factor=4, steps=1, step_size=1e-6)
    (painting,) = task.synthesize(linear(size=8), {"image": IMAGE, "label": torch.tensor([0, 1])})
    blocks = IMAGE.unfold(2, 4, 4).unfold(3, 4, 4).mean((4, 5))
    assert torch.allclose(painting.start, blocks.repeat_interleave(4, 2).repeat_interleave(4, 3))
    assert torch.equal(painting.original, IMAGE)
    assert torch.allclose(painting.beside["bicubic"], F.interpolate(blocks, (8, 8), mode="bicubic").clamp(0, 1))
    assert torch.equal(painting.scores["psnr_bicubic"], psnr(painting.beside["bicubic"], IMAGE))
    assert torch.equal(painting.scores["psnr_start"], psnr(painting.start, IMAGE))


def test_the_class_is_added_within_the_ball():
    task = SuperResolution(constraint=0.5, factor=2, steps=40, step_size=0.1)
    (painting,) = task.synthesize(linear(size=8), {"image": IMAGE, "label": torch.tensor([0, 1])})
    before = linear(size=8)(painting.start).gather(1, torch.tensor([[0], [1]]))
    assert (painting.logits.gather(1, torch.tensor([[0], [1]])) > before).all()
    assert (painting.result - painting.start).flatten(1).norm(dim=1).max() <= 0.5 + 1e-9


def test_small_images_become_large():
    task = SuperResolution(factor=3, given="small", upsampling="bicubic", steps=2)
    task.judge = linear(size=24)
    (painting,) = task.synthesize(linear(size=24), {"image": IMAGE})
    assert set(painting.scores) == {"judged", "judged_start"}, "nobody knows the large image"
    assert painting.result.shape == (2, 3, 24, 24) and painting.original.shape == (2, 3, 8, 8)
    assert torch.equal(painting.start, painting.beside["bicubic"])


def test_sizes_that_are_no_multiple_of_the_factor_stay_what_they_are():
    image = uniform(1, 3, 9, 11)
    (painting,) = SuperResolution(factor=4, steps=2).synthesize(fcn(), {"image": image})
    assert painting.result.shape == painting.start.shape == image.shape
    constant = torch.full((1, 3, 9, 11), 0.3)
    assert torch.allclose(enlarged(area(constant, (2, 2)), (9, 11), "bicubic"), constant)


@pytest.mark.parametrize(
    ("setting", "batch", "line"),
    [({"factor": 9}, {"image": IMAGE}, "factor=9: an image of 8 x 8 pixels leaves nothing"),
     ({"factor": 2, "given": "small"}, {"image": IMAGE, "label": torch.zeros(2, 8, 8).long()}, "given=small")],
)  # fmt: skip
def test_what_cannot_be_enlarged_is_told(setting, batch, line):
    with pytest.raises(ValueError, match=one_line(line)):
        SuperResolution(**setting).check(fcn(), batch)
    with pytest.raises(ValueError, match="factor=1"):
        SuperResolution(factor=1)


@pytest.mark.parametrize("dense", [True, False])
def test_it_runs_in_a_fit(make_trainer, noise_loader, tmp_path, dense):
    loader = noise_loader(dense=dense)
    network = (fcn() if dense else linear(3, 8)).float()
    make_trainer(callbacks=[SuperResolution(factor=2, steps=2, samples=3)]).fit(Classifier(network), loader, loader)
    assert len(list(tmp_path.glob("gallery/super_resolution/*/bicubic_0000.png"))) == 3

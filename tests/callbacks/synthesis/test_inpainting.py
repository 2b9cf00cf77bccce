import numpy as np
import pytest
import torch
from one_line import one_line
from PIL import Image
from torch import nn

from attacks import L2, Box
from callbacks import Inpainting
from callbacks.synthesis.inpainting import blurred_error


class ColorNetwork(nn.Module):
    """Sees red pixels as class 1, blue ones as class 2, others as class 0; its gradients are those of a colour."""

    def forward(self, image):
        red, green, blue = image.unbind(1)
        return 20 * torch.stack([green, red, blue], 1)


@pytest.fixture
def batch():
    """Green pictures with a red square each, its label map, and a void border."""
    image = torch.zeros(3, 3, 32, 32)
    image[:, 1] = 0.8
    label = torch.zeros(3, 32, 32, dtype=torch.long)
    for i, top in enumerate((4, 10, 16)):
        image[i, :, top : top + 10, 8:18] = torch.tensor([0.8, 0, 0]).view(3, 1, 1)
        label[i, top : top + 10, 8:18] = 1
    label[:, 0] = 255
    return {"image": image, "label": label, "index": torch.arange(3)}


def hole_of(painting):
    return (painting.start != painting.original).any(1)


def test_the_hole_starts_as_the_channel_mean_and_is_painted_in(batch):
    inpainting = Inpainting(L2(50), steps=100, step_size=0.3, size=12)
    (painting,) = inpainting.synthesize(ColorNetwork(), batch)
    for i in range(3):
        hole = hole_of(painting)[i]
        assert 0 < hole.sum() <= 144
        mean = batch["image"][i].mean((1, 2))
        assert torch.allclose(painting.start[i][:, hole], mean[:, None].expand(-1, int(hole.sum())))
        inside = hole & (batch["label"][i] == 1)
        red, green, _ = painting.result[i][:, inside].mean(1)
        assert red > green + 0.1, "the missing piece of the square becomes red"
    assert (painting.scores["blurred_error"] < painting.scores["blurred_error_start"]).all()
    assert painting.result.min() >= 0 and painting.result.max() <= 1


def test_the_weight_holds_the_rest_of_the_picture(batch):
    change = {}
    for weight in (0.0, 1000.0):
        (painting,) = Inpainting(L2(50), 60, 0.3, size=12, weight=weight).synthesize(ColorNetwork(), batch)
        outside = ~hole_of(painting).unsqueeze(1)
        change[weight] = ((painting.result - painting.original).square() * outside).mean()
    assert change[1000.0] < change[0.0] / 3


def test_eq_6_in_closed_form(batch):
    """The objective is the cross-entropy over valid pixels plus weight * mean of squared changes outside the hole."""
    inpainting = Inpainting(L2(1), 1, 0.1, size=8, weight=7.0)
    network = ColorNetwork()
    (plan,) = inpainting.plans(network, batch, torch.arange(3))
    image = torch.rand(3, 3, 32, 32)
    value, _ = plan.objective(image, 0.0)
    for i in range(3):
        loss = nn.functional.cross_entropy(network(image[i : i + 1]), batch["label"][i : i + 1], ignore_index=255)
        penalty = ((image[i] - plan.start[i]) * ~plan.hole[i]).square().mean()
        assert torch.isclose(value[i], loss + 7 * penalty)


def test_several_places_give_a_picture_each(batch):
    inpainting = Inpainting(L2(1), 1, 0.1, size=(4, 6), places=[(0, 0), (1, 1), (0.5, 0.5)])
    plans = list(inpainting.plans(ColorNetwork(), batch, torch.arange(3)))
    assert [plan.variant for plan in plans] == ["place_0", "place_1", "place_2"]
    corners = [tuple(plan.hole[0, 0].nonzero()[0].tolist()) for plan in plans]
    assert corners == [(0, 0), (28, 26), (14, 13)]
    assert all(plan.hole.flatten(1).sum(1).tolist() == [24] * 3 for plan in plans)


def test_random_holes_lie_on_objects_and_stay_the_same(batch):
    inpainting = Inpainting(L2(1), 1, 0.1, size=6)
    (first,) = inpainting.synthesize(ColorNetwork(), batch)
    (again,) = inpainting.synthesize(ColorNetwork(), batch)
    assert torch.equal(first.start, again.start)
    assert ((hole_of(first) & (batch["label"] == 1)).flatten(1).any(1)).all()
    single = {key: value[2:] for key, value in batch.items()}
    (alone,) = inpainting.synthesize(ColorNetwork(), single)
    assert torch.equal(alone.start[0], first.start[2]), "a hole does not depend on the other samples"


def test_a_hole_never_covers_more_than_half_the_image(batch):
    (plan,) = Inpainting(L2(1), 1, 0.1, size=100).plans(ColorNetwork(), batch, torch.arange(3))
    assert plan.hole.flatten(1).sum(1).tolist() == [256] * 3


def test_image_level_labels_work_too(batch):
    network = nn.Sequential(ColorNetwork(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    batch["label"] = torch.tensor([1, 1, 2])
    (painting,) = Inpainting(L2(5), 5, 0.1, size=8, weight=0).synthesize(network, batch)
    assert painting.result[2, 2].mean() > painting.start[2, 2].mean(), "a picture of class 2 becomes bluer"


@pytest.mark.parametrize("labels", ["given", "predicted"])
def test_in_the_exact_mode_no_pixel_outside_moves_and_the_steps_are_spent_inside(batch, labels):
    exact = Inpainting(L2(50), 30, 0.3, size=12, exact=True, labels=labels)
    (painting,) = exact.synthesize(ColorNetwork(), batch)
    outside = ~painting.hole.expand_as(painting.result)
    assert torch.equal(painting.result[outside], batch["image"][outside])
    assert (painting.result != painting.start)[~outside].any()
    one = Inpainting(L2(50), 1, 0.3, size=12, exact=True, labels=labels)
    (painting,) = one.synthesize(ColorNetwork(), batch)
    assert (painting.result - painting.start).flatten(1).norm(dim=1).gt(0.29).all(), "but for what the box cuts off"


def test_the_label_may_be_the_one_that_the_network_sees_in_the_holed_image(batch):
    """Santurkar et al. 2019, sec. 3.2: it need not be known."""
    network = ColorNetwork()
    for given in (batch, {"image": batch["image"]}):
        (plan,) = Inpainting(size=12, labels="predicted").plans(network, given, torch.arange(3))
        assert torch.equal(plan.wanted, network(plan.start).argmax(1))
    (plan,) = Inpainting(size=12).plans(network, batch, torch.arange(3))
    assert torch.equal(plan.wanted, batch["label"])
    (plan,) = Inpainting(size=12, where="anywhere").plans(network, {"image": batch["image"]}, torch.arange(3))
    assert torch.equal(plan.wanted, network(plan.start).argmax(1))


def test_holes_anywhere_are_not_only_on_objects(batch):
    task = Inpainting(size=2, where="anywhere")
    many = {key: value[:1].expand(64, *value.shape[1:]) for key, value in batch.items()}
    holes = next(iter(task.plans(ColorNetwork(), many, torch.arange(64)))).hole
    assert (holes.squeeze(1) & (many["label"] == 1)).flatten(1).any(1).float().mean() < 0.5


def test_masks_of_ones_own_take_the_place_of_squares(batch, tmp_path):
    for name, rows in (("top", slice(0, 8)), ("bottom", slice(8, 16))):
        mask = np.zeros((16, 16), np.uint8)
        mask[rows] = 255
        Image.fromarray(mask).save(tmp_path / f"{name}.png")
    task = Inpainting(masks=str(tmp_path))
    plans = list(task.plans(ColorNetwork(), batch, torch.arange(3)))
    assert [plan.variant for plan in plans] == ["mask_bottom", "mask_top"]
    assert all(plan.hole.shape == (3, 1, 32, 32) and plan.hole.float().mean() == 0.5 for plan in plans)
    assert plans[1].hole[:, :, :16].all()
    mine = torch.zeros(3, 1, 32, 32, dtype=torch.bool)
    mine[..., 3, 3] = True
    (plan,) = task.plans(ColorNetwork(), {**batch, "mask": mine}, torch.arange(3))
    assert torch.equal(plan.hole, mine), "a batch's own masks come first"


@pytest.mark.parametrize("content", [None, b"no picture", "black"])
def test_a_mask_that_serves_nothing_is_told_at_once(tmp_path, content):
    path = tmp_path / "mask.png"
    if content == "black":
        Image.new("L", (4, 4)).save(path)
    elif content:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=one_line(str(path))):
        Inpainting(masks=str(path))


def test_blurred_error_sees_colours_and_not_fine_patterns():
    original = torch.full((1, 3, 60, 60), 0.5)
    hole = torch.zeros(1, 1, 60, 60, dtype=torch.bool)
    hole[..., 20:40, 20:40] = True
    stripes = original + 0.4 * (torch.arange(60) % 2 * 2 - 1) * hole
    tint = original + 0.1 * hole
    assert blurred_error(original, original, hole) == 0
    assert (stripes - original).square().mean() > (tint - original).square().mean()
    assert blurred_error(stripes, original, hole) < 0.05 * blurred_error(tint, original, hole)


def test_the_network_is_left_as_it_was(batch, pixel_network):
    pixel_network[1].eval()
    before = [module.training for module in pixel_network.modules()]
    buffers = {name: value.clone() for name, value in pixel_network.named_buffers()}
    state = torch.get_rng_state()
    Inpainting(L2(1), 2, 0.1, size=8).synthesize(pixel_network, batch)
    assert [module.training for module in pixel_network.modules()] == before
    assert all(torch.equal(value, buffers[name]) for name, value in pixel_network.named_buffers())
    assert all(p.grad is None for p in pixel_network.parameters())
    assert torch.equal(torch.get_rng_state(), state)


def test_the_constraint_holds(batch):
    (painting,) = Inpainting(L2(0.5) & Box(), 20, 0.3, size=12).synthesize(ColorNetwork(), batch)
    assert (painting.result - painting.start).flatten(1).norm(dim=1).max() <= 0.5 + 1e-5


@pytest.mark.parametrize(
    "setting", [{"size": 0}, {"size": (3, -1)}, {"weight": float("nan")}, {"weight": -1}, {"places": [(0.5, 1.5)]}]
)
def test_settings_out_of_their_range(setting):
    with pytest.raises(ValueError, match=f"^{next(iter(setting))}="):
        Inpainting(L2(1), steps=1, step_size=1, **setting)

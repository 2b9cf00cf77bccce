import torch
from networks import uniform

from callbacks.insight.gradient_pictures import gradient_picture
from callbacks.insight.map_pictures import DISPLAYS, absolute, signed, strength


def test_signed_shows_the_sum_over_channels_around_grey():
    values = uniform(2, 3, 8, 8) - 0.3
    shown = signed(values)
    sums = values.sum(1)
    assert shown.shape == (2, 3, 8, 8)
    assert torch.allclose(shown[:, 1], gradient_picture(sums[:, None])[:, 0])
    assert ((shown[:, 0] > 0.5) == (sums > 0)).all()


def test_absolute_is_black_at_0_and_white_from_the_99th_percentile_on():
    values = torch.arange(1.0, 101.0).view(1, 1, 10, 10).repeat(1, 3, 1, 1)
    values[:, 1] *= -1
    shown = absolute(values)
    assert torch.allclose(shown[0, 2].flatten(), (torch.arange(1.0, 101.0) / 99).clamp(max=1))
    assert torch.allclose(absolute(1e-30 * values), shown), "however small it is"


def test_each_display_is_a_picture_also_of_nothing():
    for name, show in DISPLAYS.items():
        for values in (uniform(2, 3, 8, 8) - 0.5, torch.zeros(2, 3, 8, 8)):
            shown = show(values)
            assert shown.shape == (2, 3, 8, 8) and shown.min() >= 0 and shown.max() <= 1
        assert (shown == (0 if name == "absolute" else 0.5)).all()


def test_a_lone_point_is_white():
    values = torch.zeros(1, 3, 20, 20)
    values[0, 0, 3, 3] = -2.0
    assert strength(values).sum() == 1

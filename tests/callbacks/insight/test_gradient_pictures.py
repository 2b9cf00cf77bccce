import torch
from networks import linear, per_pixel, uniform

from callbacks import GradientPictures
from callbacks.insight.gradient_pictures import gradient_picture


def test_of_a_linear_classifier_the_picture_is_that_of_its_weights():
    network, image = linear(), uniform(2, 3, 4, 4)
    (painting,) = GradientPictures().synthesize(network, {"image": image, "label": torch.tensor([0, 1])})
    direction = (network[1].weight[1] - network[1].weight[0]).detach().view(3, 4, 4)
    expected = gradient_picture(torch.stack([direction, -direction]))
    assert torch.allclose(painting.result, expected)
    assert torch.equal(painting.original, image) and torch.equal(painting.logits, network(image))


def test_grey_is_0_and_the_ends_are_three_standard_deviations():
    gradient = torch.zeros(2, 3, 10, 10)
    gradient[0, 0, 0, 0], gradient[0, 1, 1, 1] = 7.0, -7.0
    shown = gradient_picture(gradient)
    assert (shown[0, 0, 0, 0], shown[0, 1, 1, 1]) == (1.0, 0.0)
    assert (shown[1] == 0.5).all() and shown[0, 2].eq(0.5).all()
    gradient = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(gradient_picture(gradient), (0.5 + gradient / gradient.std() / 6).clamp(0, 1))
    assert torch.allclose(gradient_picture(1e-30 * gradient), gradient_picture(gradient)), "however small it is"


def test_nothing_depends_on_the_batch_and_void_pixels_have_no_gradient():
    image, label = uniform(3, 3, 4, 4), torch.zeros(3, 4, 4, dtype=torch.long)
    label[:, 0] = 255
    (painting,) = GradientPictures().synthesize(per_pixel(), {"image": image, "label": label})
    (alone,) = GradientPictures().synthesize(per_pixel(), {"image": image[1:2], "label": label[1:2]})
    assert torch.allclose(painting.result[1], alone.result[0])
    assert (painting.result[:, :, 0] == 0.5).all() and (painting.result[:, :, 1:] != 0.5).any()

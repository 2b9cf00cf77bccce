import torch

from callbacks.synthesis.painting import Painting


def test_nan_and_infinity_in_the_picture_or_the_logits_are_no_painting():
    image, logits = torch.zeros(4, 3, 2, 2), torch.zeros(4, 5, 2, 2)
    image[0, 1, 0, 1], logits[2, 4, 1, 1] = torch.nan, -torch.inf
    assert Painting("", image, image, image, logits).finite.tolist() == [False, True, False, True]

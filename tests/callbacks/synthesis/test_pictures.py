from io import BytesIO

import numpy as np
import torch
from PIL import Image

from callbacks.synthesis.pictures import animation, label_picture, on_one_size, picture, side_by_side


def test_a_picture_rounds_to_the_nearest_grey_level():
    image = torch.tensor([0.0, 0.5, 1.0, 1.2, -0.1, 100.4 / 255]).view(1, 1, 6).expand(3, 1, 6)
    assert np.asarray(picture(image))[0, :, 0].tolist() == [0, 128, 255, 255, 0, 100]


def test_a_row_of_pictures_has_white_gaps_and_as_much_height_as_its_highest():
    left, right = picture(torch.zeros(3, 4, 5)), picture(torch.full((3, 3, 6), 0.5))
    pixels = np.asarray(side_by_side([left, right]))[:, :, 0]
    assert pixels.shape == (4, 13)
    assert (pixels[:, :5] == 0).all() and (pixels[:, 5:7] == 255).all() and (pixels[:3, 7:] == 128).all()
    assert (pixels[3, 7:] == 255).all()


def test_an_animation_has_a_picture_of_each_moment():
    shades = [picture(torch.full((3, 4, 5), shade)) for shade in (0.0, 0.5, 1.0)]
    with Image.open(BytesIO(animation(shades))) as film:
        found = []
        for number in range(film.n_frames):
            film.seek(number)
            found.append(film.convert("RGB").getpixel((2, 2))[0])
    assert found == [0, 128, 255]


def test_dashboards_get_pictures_of_one_size():
    wide, high = on_one_size([Image.new("RGB", (6, 2), "red"), Image.new("RGB", (3, 4), "blue")])
    assert wide.size == high.size == (6, 4)
    assert wide.getpixel((5, 1)) == (255, 0, 0) and wide.getpixel((5, 2)) == (255, 255, 255)
    assert high.getpixel((2, 3)) == (0, 0, 255) and high.getpixel((3, 3)) == (255, 255, 255)


def test_label_pictures_hold_the_classes_in_vocs_colours():
    result = label_picture(torch.tensor([[0, 1, 2], [15, 20, 255]]))
    assert np.asarray(result).tolist() == [[0, 1, 2], [15, 20, 255]]
    colors = np.asarray(result.convert("RGB")).reshape(-1, 3).tolist()
    assert colors[:5] == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [192, 128, 128], [0, 64, 128]]
    assert colors[5] == [255, 255, 255]

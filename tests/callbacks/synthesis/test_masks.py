import numpy as np
import pytest
import torch
from one_line import one_line
from PIL import Image

from callbacks.synthesis.masks import masks_in, objects_of, random_square, read_mask, scaled, square_at

IMAGE = torch.zeros(2, 3, 20, 30)


def test_squares_stand_at_their_places():
    corners = [
        tuple(square_at(place, IMAGE, (4, 6))[0, 0].nonzero()[0].tolist()) for place in [(0, 0), (1, 1), (0.5, 0)]
    ]
    assert corners == [(0, 0), (16, 24), (8, 0)]
    assert square_at((0, 0), IMAGE, (100, 100)).flatten(1).sum(1).tolist() == [10 * 15] * 2


def test_random_squares_are_centred_on_objects_where_there_are_some():
    label = torch.zeros(2, 20, 30, dtype=torch.long)
    label[0, 10, 12], label[1] = 3, 255
    squares = random_square(IMAGE, torch.arange(2), (5, 5), objects_of(label))
    rows, columns = squares[0, 0].nonzero().unbind(1)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (8, 12, 10, 14)
    assert squares[1].sum() == 25, "without objects, anywhere"
    assert objects_of(torch.zeros(2)) is None


def test_a_mask_is_what_is_white_in_any_kind_of_picture(tmp_path):
    grey = np.array([[0, 127, 128, 255]], np.uint8)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(grey).convert("RGB").save(tmp_path / "colour.png")
    assert [(name, mask.tolist()) for name, mask in masks_in(tmp_path)] == [
        (name, [[[False, False, True, True]]]) for name in ("colour", "grey")
    ]


def test_a_mask_is_scaled_about_its_centre():
    mask = torch.tensor([[[True, False]]])
    assert scaled(mask, IMAGE)[1, 0].float().mean(0).tolist() == [1.0] * 15 + [0.0] * 15


def test_what_is_no_mask_is_told(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=one_line("an empty folder")):
        list(masks_in(tmp_path / "empty"))
    Image.new("L", (4, 4)).save(tmp_path / "black.png")
    with pytest.raises(ValueError, match=one_line("black.png: the mask has no pixel inside")):
        read_mask(tmp_path / "black.png")

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from callbacks.synthesis.painting import Painting
from paint.files import Picture, Sample
from paint.results import result_of, results_of, scores_of, seen_in, small_of


def stored(height=20, width=30):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8)


def sample(image, mask=None, tensors=None):
    return Sample(Picture("a", Path("a.png"), (20, 30)), image, mask, tensors or {})


def painting(result, original=None, **more):
    original = torch.zeros_like(result) if original is None else original
    return Painting("", original, original, result, torch.zeros(len(result), 2), **more)


def flat(value, height, width):
    return torch.full((1, 3, height, width), value)


def test_a_result_has_the_size_of_its_file():
    found = result_of(painting(flat(0.2, 10, 15)), 0, sample(stored()))
    assert found.size == (30, 20) and set(found.tobytes()) == {51}
    down = result_of(painting(flat(0.2, 40, 60)), 0, sample(stored()))
    assert down.size == (30, 20)


def test_a_result_of_another_size_than_its_image_stays_as_it_is():
    found = result_of(painting(flat(0.2, 40, 60), flat(0.0, 10, 15)), 0, sample(stored()))
    assert found.size == (60, 40)


@pytest.mark.parametrize("side", [(10, 15), (20, 30)])
def test_outside_a_mask_in_which_alone_something_moved_all_pixels_are_the_files(side):
    image, mask = stored(), torch.zeros(1, 20, 30, dtype=torch.bool)
    mask[:, 3:9, 4:17] = True
    hole = torch.nn.functional.adaptive_max_pool2d(mask.float(), side).bool()
    original = torch.rand(1, 3, *side)
    result = torch.where(hole, 1.0, original)
    found = np.asarray(result_of(painting(result, original, hole=hole[None]), 0, sample(image, mask, {"mask": hole})))
    inside = mask[0].numpy()
    assert (found[~inside] == image.permute(1, 2, 0).numpy()[~inside]).all()
    assert (found[4:8, 6:15] == 255).all()
    result[0, 0, -1, -1] += 0.5  # something moved outside, too
    found = np.asarray(result_of(painting(result, original, hole=hole[None]), 0, sample(image, mask, {"mask": hole})))
    assert (found[~inside] != image.permute(1, 2, 0).numpy()[~inside]).any() or side == (20, 30)


def test_a_hole_without_a_file_spreads_to_the_pixels_that_it_covers():
    image, hole = stored(), torch.zeros(1, 10, 15, dtype=torch.bool)
    hole[:, 2:5, 3:6] = True
    original = torch.rand(1, 3, 10, 15)
    found = painting(torch.where(hole, 0.0, original), original, hole=hole[None])
    pixels = np.asarray(result_of(found, 0, sample(image)))
    changed = (pixels != image.permute(1, 2, 0).numpy()).any(2)
    assert changed[4:10, 6:12].mean() > 0.9 and not changed[:4].any() and not changed[10:].any()
    assert not changed[:, :6].any() and not changed[:, 12:].any()


def test_what_stands_beside_and_the_way_are_files_of_their_own():
    beside = {"bicubic": flat(0.4, 10, 15), "strip": flat(0.6, 20, 75)}
    found = painting(flat(0.2, 10, 15), beside=beside, way=[flat(0.1, 10, 15), flat(0.2, 10, 15)])
    files = results_of(found, 0, sample(stored()))
    assert list(files) == [".png", "_bicubic.png", "_strip.png", "_way.png", "_way.gif"]
    assert files["_bicubic.png"].size == (30, 20) and files["_strip.png"].size == (75, 20)
    assert files["_way.png"].size == (3 * 15 + 2 * 2, 10) and files["_way.gif"][:3] == b"GIF"
    small = small_of(found, 0, sample(stored()))
    assert list(small) == ["start", "bicubic", "strip", "result"] and isinstance(small["start"], Image.Image)
    assert small["start"].size == (30, 20)


def test_tables_are_files_of_their_own():
    rows = [[{"randomized": "fc", "rank": 0.5}], [{"randomized": "fc", "rank": None}]]
    result = torch.zeros(2, 3, 20, 30)
    files = results_of(painting(result, tables={"randomization": rows}), 1, sample(stored()))
    assert list(files) == [".png", "_randomization.json"]
    assert json.loads(files["_randomization.json"]) == rows[1]


def test_what_the_network_sees_is_a_class_or_shares_of_the_pixels():
    assert seen_in(torch.tensor([0.0, 0.0, 50.0]), ["a", "b", "c"]) == {"c": 1.0}
    assert seen_in(torch.tensor([2.0, 2.0]), []) == {"class 0": 0.5}
    logits = torch.zeros(3, 2, 2)
    logits[1, 0] = logits[2, 1, 0] = 1
    assert seen_in(logits, ["a", "b", "c"]) == {"b": 0.5, "a": 0.25, "c": 0.25}


def test_a_score_that_is_no_number_is_none():
    found = painting(flat(0.2, 4, 4), scores={"psnr": torch.tensor([20.5]), "judged": torch.tensor([torch.nan])})
    assert scores_of(found, 0) == {"psnr": 20.5, "judged": None}

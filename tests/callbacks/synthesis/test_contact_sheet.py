import numpy as np
from PIL import Image

from callbacks.synthesis.contact_sheet import CELL, LINE, MARGIN, Row, contact_sheet, thumbnail


def flat(color, width, height):
    return Image.new("RGB", (width, height), color)


def test_every_picture_stands_in_its_column_as_large_as_its_cell():
    rows = [
        Row("first", {"original": flat("red", 2 * CELL, CELL), "a": flat("blue", 20, 40)}, {"a": "sky 90 %"}),
        Row("second", {"a": flat("lime", CELL, CELL)}),
    ]
    sheet = np.asarray(contact_sheet(["original", "a"], rows))
    width, top = CELL + MARGIN, LINE + MARGIN + LINE
    assert (sheet[top : top + CELL // 2, MARGIN : MARGIN + CELL] == (255, 0, 0)).all(), "made smaller"
    assert (sheet[top : top + CELL, MARGIN + width : MARGIN + width + CELL // 2] == (0, 0, 255)).all(), "made larger"
    below = top + CELL + LINE + MARGIN + LINE
    assert (sheet[below : below + CELL, MARGIN + width : MARGIN + width + CELL] == (0, 255, 0)).all()
    assert (sheet[below : below + CELL, MARGIN : MARGIN + CELL] == 255).all(), "no such picture"
    caption = sheet[top + CELL : top + CELL + LINE, MARGIN + width :]
    assert (caption < 128).any() and (sheet[:LINE] < 128).any()


def test_a_row_is_as_high_as_its_pictures():
    low, high = (contact_sheet(["a"], [Row("", {"a": flat("red", CELL, height)})]) for height in (50, 150))
    assert high.height - low.height == 100
    assert contact_sheet(["a"], [Row("nothing")]).height < 60


def test_long_and_foreign_names_are_written_as_far_as_they_fit():
    sheet = np.asarray(contact_sheet(["w" * 500, "語\ud800"], [Row("名" * 500, {})]))
    assert (sheet[:LINE, MARGIN : MARGIN + CELL] < 128).any()


def test_a_thumbnail_keeps_its_proportions_and_is_never_enlarged():
    assert thumbnail(flat("red", 1600, 400)).size == (CELL, CELL // 4)
    assert thumbnail(flat("red", 30, 20).convert("P")).size == (30, 20)

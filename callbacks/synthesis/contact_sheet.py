"""Contact sheets: many pictures on one, to be looked at together."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from PIL import Image, ImageDraw, ImageFont

CELL = 160
"""The longest side of a picture on a sheet, in pixels."""

LINE = 14
"""Height of a line of text, in pixels."""

MARGIN = 4


@dataclass
class Row:
    """Pictures of one name, by the column that each stands in, and what stands below some of them."""

    name: str
    pictures: dict[str, Image.Image] = field(default_factory=dict)
    captions: dict[str, str] = field(default_factory=dict)


def contact_sheet(columns: Sequence[str], rows: Sequence[Row]) -> Image.Image:
    """Rows of small pictures, on white, under the names of their columns."""
    width, height = CELL + MARGIN, CELL + 2 * LINE + MARGIN
    sheet = Image.new("RGB", (len(columns) * width + MARGIN, len(rows) * height + LINE + MARGIN), "white")
    draw = ImageDraw.Draw(sheet)
    for place, column in enumerate(columns):
        _write(draw, column, MARGIN + place * width, MARGIN // 2)
    for number, row in enumerate(rows):
        top = LINE + MARGIN + number * height
        _write(draw, row.name, MARGIN, top, len(columns) * width)
        for place, column in enumerate(columns):
            if column in row.pictures:
                left = MARGIN + place * width
                sheet.paste(thumbnail(row.pictures[column]), (left, top + LINE))
                _write(draw, row.captions.get(column, ""), left, top + LINE + CELL)
    return sheet


def thumbnail(picture: Image.Image) -> Image.Image:
    """A picture made small enough for a sheet, or a small one as it is."""
    small = picture.convert("RGB")
    small.thumbnail((CELL, CELL), Image.Resampling.BICUBIC)
    return small


def _write(draw: ImageDraw.ImageDraw, text: str, left: int, top: int, width: int = CELL) -> None:
    """A line of text, cut off where its place ends."""
    font = ImageFont.load_default()
    text = text.encode("latin-1", "replace").decode("latin-1")  # all that Pillow's own font may have
    while text and draw.textlength(text, font) > width:
        text = text[: int(len(text) * width / draw.textlength(text, font))] if len(text) > 1 else ""
    draw.text((left, top), text, "black", font)

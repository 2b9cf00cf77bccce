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
    """Rows of pictures as large as their cells, on white, under the names of their columns."""
    cells = [{column: _to_cell(each) for column, each in row.pictures.items()} for row in rows]
    heights = [max((each.height for each in row.values()), default=0) for row in cells]
    width, lines = CELL + MARGIN, 2 * LINE + MARGIN
    size = len(columns) * width + MARGIN, sum(heights) + len(rows) * lines + LINE + MARGIN
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    lefts = {column: MARGIN + place * width for place, column in enumerate(columns)}
    for column, left in lefts.items():
        _write(draw, column, left, MARGIN // 2)
    top = LINE + MARGIN
    for row, pictures, height in zip(rows, cells, heights, strict=True):
        _write(draw, row.name, MARGIN, top, len(columns) * width)
        for column, picture in pictures.items():
            sheet.paste(picture, (lefts[column], top + LINE))
            _write(draw, row.captions.get(column, ""), lefts[column], top + LINE + height)
        top += height + lines
    return sheet


def thumbnail(picture: Image.Image) -> Image.Image:
    """A picture made small enough for a sheet, or a small one as it is."""
    small = picture.convert("RGB")
    small.thumbnail((CELL, CELL), Image.Resampling.BICUBIC)
    return small


def _to_cell(picture: Image.Image) -> Image.Image:
    """A picture as large as a cell; of a small one, each pixel is a square."""
    small = thumbnail(picture)
    times = max(1, CELL // max(small.size))
    return small.resize((small.width * times, small.height * times), Image.Resampling.NEAREST)


def _write(draw: ImageDraw.ImageDraw, text: str, left: int, top: int, width: int = CELL) -> None:
    """A line of text, cut off where its place ends."""
    font = ImageFont.load_default()
    text = text.encode("latin-1", "replace").decode("latin-1")  # all that Pillow's own font may have
    while text and draw.textlength(text, font) > width:
        text = text[: int(len(text) * width / draw.textlength(text, font))] if len(text) > 1 else ""
    draw.text((left, top), text, "black", font)

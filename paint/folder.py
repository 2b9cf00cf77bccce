"""The folder of results: what lies where, and whether it may be used."""

import os
from pathlib import Path

from command_line import UserError

FILE, SHEET, SMALL = "paint.json", "contact_sheet", ".thumbnails"

GIVEN = "given"
"""The folder for pictures that are written to paint on."""


def check_folder(out: Path) -> bool:
    """Whether a folder of results has been begun; raises UserError if it is a file, or holds other things."""
    if not os.path.lexists(out):
        return False
    if not out.is_dir():
        raise UserError(f"--out {out}: is a file; name a folder")
    if all(path.name == GIVEN for path in out.iterdir()):  # such as a call that was ended at once leaves
        return False
    if not (out / FILE).is_file():
        raise UserError(f"--out {out}: holds other things than paintings; name a new folder")
    return True

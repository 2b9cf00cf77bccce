from pathlib import Path

import pytest
from one_line import one_line

from command_line import UserError
from paint.folder import FILE, GIVEN, check_folder


def test_a_folder_is_new_or_was_begun_here(tmp_path):
    out = tmp_path / "out"
    assert not check_folder(out)
    (out / GIVEN).mkdir(parents=True)
    assert not check_folder(out), "a call that was ended at once"
    (out / FILE).write_text("{}")
    assert check_folder(out)


def test_other_peoples_folders_are_told(tmp_path):
    (tmp_path / "letter.txt").write_text("")
    with pytest.raises(UserError, match=one_line(f"--out {tmp_path}: holds other things than paintings")):
        check_folder(tmp_path)
    with pytest.raises(UserError, match=one_line("letter.txt: is a file; name a folder")):
        check_folder(tmp_path / "letter.txt")
    Path(tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(UserError, match=one_line("link: is a file; name a folder")):
        check_folder(tmp_path / "link")

import codecs
import json

import numpy as np
import pytest
from one_line import one_line

from datamodules.images import DataError
from datamodules.lists import check_inside, leaves, read_json, read_lines, read_words, whole_numbers

LINES = ["first Grüße", "second", "世界 third"]

MARKS = {
    "none": ("", "utf-8"),
    "utf-8": ("", "utf-8-sig"),
    "little": ("", "utf-16"),
    "big": ("\ufeff", "utf-16-be"),
}
"""What Windows' editors and shells write."""


@pytest.mark.parametrize("mark", MARKS)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\n\n", " \r\n\t\r\n"])
def test_a_list_is_read_as_it_is_meant(tmp_path, mark, end):
    before, encoding = MARKS[mark]
    (tmp_path / "a.txt").write_bytes((before + end + end.join(LINES) + 2 * end).encode(encoding))
    assert read_lines(tmp_path / "a.txt") == LINES
    assert read_words(tmp_path / "a.txt") == ["first", "Grüße", "second", "世界", "third"]


@pytest.mark.parametrize("mark", MARKS)
def test_json_is_read_as_it_is_meant(tmp_path, mark):
    before, encoding = MARKS[mark]
    (tmp_path / "a.json").write_bytes((before + json.dumps({"Grüße": 1}, ensure_ascii=False)).encode(encoding))
    assert read_json(tmp_path / "a.json") == {"Grüße": 1}


@pytest.mark.parametrize("read", [read_lines, read_words, read_json])
@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"a\xe4", codecs.BOM_UTF8 + b"\xff"])
def test_what_is_no_text_is_told(tmp_path, read, content):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(DataError, match=one_line(tmp_path / "a", "broken")):
        read(tmp_path / "a")


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"a":' * 100_000, b"", b"{", b"1" * 5000])
def test_json_that_cannot_be_read_is_told(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(DataError, match=one_line(tmp_path / "a.json", "broken")):
        read_json(tmp_path / "a.json")


@pytest.mark.parametrize("read", [read_lines, read_json])
def test_what_is_absent_or_a_folder_is_told(tmp_path, read):
    with pytest.raises(DataError, match=one_line(tmp_path / "a", "not found")):
        read(tmp_path / "a")
    with pytest.raises(DataError, match=one_line(tmp_path, "broken")):
        read(tmp_path)


@pytest.mark.parametrize(
    "name", ["../a", "/a", "a/../../b", "..", "a/..", "..\\a", "\\a", "C:\\a", "C:/a", "\\\\host\\a\\b"]
)
def test_a_path_may_leave_its_folder(tmp_path, name):
    assert leaves(name)
    with pytest.raises(DataError, match=one_line("list.txt", repr(name), "outside of the folder")):
        check_inside(["a.jpg", name], tmp_path / "list.txt")


@pytest.mark.parametrize(
    "name", ["a.jpg", "a/b.jpg", "a..b.jpg", "...", "..a/b", "12:30.jpg", "a:b", "", ".", "a\\b.jpg"]
)
def test_a_path_may_stay_in_its_folder(tmp_path, name):
    assert not leaves(name)
    check_inside([name], tmp_path / "list.txt")


@pytest.mark.parametrize(
    "values", [[3, 0, 7], [3.0, 0.0, 7.0], np.array([3, 0, 7], np.uint8), np.array([3, 0, 7], ">f4")]
)
def test_whole_numbers_may_be_of_any_type(values):
    numbers = whole_numbers(values)
    assert numbers.dtype == np.int64 and numbers.tolist() == [3, 0, 7]


@pytest.mark.parametrize("values", [[0.5], ["1"], [True], [float("nan")], [float("inf")], [None]])
def test_what_is_no_whole_number_is_told(values):
    with pytest.raises(ValueError, match="no whole numbers"):
        whole_numbers(values)

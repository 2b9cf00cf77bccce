import json
import os
import threading
from pathlib import Path

import pytest

from reports.files import read_json, write_whole


@pytest.mark.parametrize("content", ["Größe\n", b"\x89PNG\r\n\x00"])
def test_a_file_is_written_with_its_folders(tmp_path, content):
    path = tmp_path / "runs" / "one" / "file"
    write_whole(path, content)
    assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert os.listdir(path.parent) == ["file"]


def test_a_file_is_replaced(tmp_path):
    write_whole(tmp_path / "file", "a long first version")
    write_whole(tmp_path / "file", "second")
    assert (tmp_path / "file").read_text() == "second"


@pytest.mark.parametrize("existed", [False, True])
@pytest.mark.parametrize("failing", ["write_bytes", "replace"])
def test_nothing_half_written_stays_behind(tmp_path, monkeypatch, existed, failing):
    path = tmp_path / "results.json"
    if existed:
        path.write_text("before")

    def full_disk(self, *args):
        self.open("w").close()  # something is there already when it fails
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, failing, full_disk)
    with pytest.raises(OSError, match="no space left"):
        write_whole(path, "after")
    assert os.listdir(tmp_path) == ["results.json"] * existed
    assert not existed or path.read_text() == "before"


def test_a_reader_never_sees_a_part(tmp_path):
    path = tmp_path / "file"
    versions = [letter * 200_000 for letter in "ab"]
    write_whole(path, versions[0])
    seen, done = set(), threading.Event()

    def read():
        while not done.is_set():
            seen.add(path.read_text())

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(100):
        write_whole(path, versions[number % 2])
    done.set()
    reader.join()
    assert seen and seen <= set(versions)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32-le"])
def test_json_is_read_in_any_of_its_encodings(tmp_path, encoding):
    (tmp_path / "a.json").write_bytes('{"größe": [1, null]}'.encode(encoding))
    assert read_json(tmp_path / "a.json") == {"größe": [1, None]}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "Expecting value"),
        (b'{"a": {', "Expecting"),
        (b"\xff\xfe\x00", "decode"),
        (b"[" * 60 + b"]" * 60, "deeply"),
        (b"[" * 100_000, "deeply"),
        (b'{"a": 1, "a": 2}', "'a' stands twice"),
        (b'{"a": ' + b"9" * 5000 + b"}", "digits"),
    ],
)
def test_what_is_no_json_is_told(tmp_path, content, reason):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ValueError, match=reason):
        read_json(tmp_path / "a.json")


def test_a_file_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("reports.files.LARGEST", 100)
    (tmp_path / "a.json").write_text(f'"{98 * "a"}"')
    assert read_json(tmp_path / "a.json") == 98 * "a"
    (tmp_path / "a.json").write_text(f'"{99 * "a"}"')
    with pytest.raises(ValueError, match="larger"):
        read_json(tmp_path / "a.json")


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.json")
    with pytest.raises(ValueError, match="no regular file"):
        read_json(tmp_path / "a.json")


def test_texts_come_without_what_a_terminal_obeys(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"\x1b[2Jname": ["a\nb", "\ud800"]}))
    assert read_json(tmp_path / "a.json") == {"\ufffd[2Jname": ["a\ufffdb", "\ufffd"]}

import os
import threading
from pathlib import Path

import pytest
from one_line import one_line

from reports.files import ReportError, read_results, write_whole


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


def test_results_are_read(tmp_path):
    (tmp_path / "results.json").write_text('{"metrics": {"clean": {"accuracy": 0.5}}}')
    assert read_results(tmp_path)["metrics"]["clean"]["accuracy"] == 0.5


def test_a_folder_without_results_is_told(tmp_path):
    with pytest.raises(ReportError, match=one_line("results.json", "not found", "fit, validate or test")):
        read_results(tmp_path)


def test_the_results_file_itself_is_no_run(tmp_path):
    path = tmp_path / "results.json"
    path.write_text('{"metrics": {}}')
    with pytest.raises(ReportError, match=one_line("results.json")):
        read_results(path)


@pytest.mark.parametrize("content", [b'{"metrics": {', b"", b"\xff\xfe", b"[]", b"{}"])
def test_a_file_that_holds_no_results_is_told(tmp_path, content):
    (tmp_path / "results.json").write_bytes(content)
    with pytest.raises(ReportError, match=one_line("results.json", "no results file")):
        read_results(tmp_path)

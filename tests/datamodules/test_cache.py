import errno
import multiprocessing
import os
import time
from pathlib import Path

import pytest

from datamodules.cache import cache_folder, digest, keep


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The user's cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def root(tmp_path):
    """The folder of a data set."""
    root = tmp_path / "sets" / "coco"
    root.mkdir(parents=True)
    return root


@pytest.fixture
def lock(monkeypatch):
    """Takes the right to write to some folders away: tests may run as root, whom permissions do not stop."""
    access, locked = os.access, set()
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) not in locked and access(path, mode))
    return locked.add


def test_a_cache_lies_beside_its_data(root, home):
    assert cache_folder(root, "labels") == root / ".saddle" / "labels"


@pytest.mark.parametrize("there", [False, True])
def test_a_cache_of_data_that_cannot_be_written_lies_in_the_users_folder(root, home, lock, there):
    if there:
        (root / ".saddle").mkdir()
    lock(root / ".saddle" if there else root)
    folder = cache_folder(root, "labels")
    assert folder.name == "labels" and folder.parent.parent == home / "saddle"
    assert folder.parent.name.startswith("coco-")


def test_a_writable_cache_beside_locked_data_is_used(root, home, lock):
    (root / ".saddle").mkdir()
    lock(root)
    assert cache_folder(root, "labels") == root / ".saddle" / "labels"


def test_data_sets_of_one_name_do_not_share_a_cache(tmp_path, root, home, lock):
    other = tmp_path / "others" / "coco"
    other.mkdir(parents=True)
    lock(root)
    lock(other)
    assert cache_folder(root, "labels") != cache_folder(other, "labels")


def test_a_data_set_has_one_cache_however_its_folder_is_written(tmp_path, root, home, lock, monkeypatch):
    (tmp_path / "link").symlink_to(root)
    monkeypatch.chdir(root.parent)
    for name in (root, Path("coco"), tmp_path / "link"):
        lock(name)
    assert len({cache_folder(name, "labels") for name in (root, Path("coco"), tmp_path / "link")}) == 1


def test_a_chosen_folder_is_used_wherever_the_data_lie(tmp_path, root, home, lock):
    assert cache_folder(root, "labels", str(tmp_path / "mine")) == tmp_path / "mine" / "labels"
    lock(root)
    assert cache_folder(root, "labels", str(tmp_path / "mine")) == tmp_path / "mine" / "labels"


def test_asking_for_a_folder_makes_none(tmp_path, root, home, lock):
    cache_folder(root, "labels")
    lock(root)
    cache_folder(root, "labels")
    cache_folder(root, "labels", str(tmp_path / "mine"))
    assert [path for path in tmp_path.rglob("*") if path not in (root, root.parent)] == []


def test_a_digest_belongs_to_the_content_and_not_to_the_file(tmp_path):
    contents = [b"", b"a", b"b", b"a" * 3_000_000, b"a" * 3_000_001]
    for number, content in enumerate([*contents, *contents]):
        (tmp_path / str(number)).write_bytes(content)
    digests = [digest(tmp_path / str(number)) for number in range(10)]
    assert digests[:5] == digests[5:] and len(set(digests)) == 5
    assert all(len(found) == 16 and int(found, 16) >= 0 for found in digests)


def test_what_is_kept_is_there_in_a_new_folder_and_replaces_what_was(tmp_path):
    path = tmp_path / "new" / "below" / "a.png"
    for content in (b"one", b"another", b""):
        assert keep(content, path)
        assert path.read_bytes() == content
    assert os.listdir(path.parent) == ["a.png"], "no temporary file is left"


def half_written(path, content):
    with path.open("wb") as file:
        file.write(content[:2])
    raise OSError(errno.ENOSPC, "No space left on device")


def refused(*_, **__):
    raise PermissionError(errno.EACCES, "Permission denied")


@pytest.mark.parametrize(
    ("where", "name", "failure"),
    [(Path, "write_bytes", half_written), (Path, "write_bytes", refused), (os, "replace", refused)],
    ids=["disk full", "read-only", "not replaceable"],
)
@pytest.mark.parametrize("before", [None, b"before"])
def test_what_cannot_be_kept_leaves_all_as_it_was(tmp_path, monkeypatch, where, name, failure, before):
    path = tmp_path / "a.png"
    if before is not None:
        path.write_bytes(before)
    with monkeypatch.context() as patch:
        patch.setattr(where, name, failure)
        assert not keep(b"content", path)
    assert [file.name for file in tmp_path.iterdir()] == ([] if before is None else ["a.png"])
    assert before is None or path.read_bytes() == before


def test_nothing_is_kept_where_no_folder_can_be_made(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    assert not keep(b"content", tmp_path / "file" / "a.png")
    assert not keep(b"content", tmp_path / "file" / "below" / "a.png")
    (tmp_path / "folder").mkdir()
    assert not keep(b"content", tmp_path / "folder"), "a folder has the name"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder"]
    monkeypatch.setattr(Path, "mkdir", refused)
    assert not keep(b"content", tmp_path / "new" / "a.png")


def test_a_reader_never_sees_half_a_file_of_several_writers(tmp_path):
    path, contents = tmp_path / "a.png", [bytes([number]) * 2_000_000 for number in range(2)]
    keep(contents[0], path)

    def write(content):
        while True:
            keep(content, path)

    processes = [multiprocessing.get_context("fork").Process(target=write, args=(content,)) for content in contents]
    for process in processes:
        process.start()
    try:
        seen, end = set(), time.monotonic() + 0.3
        while time.monotonic() < end or (len(seen) < 2 and time.monotonic() < end + 20):
            content = path.read_bytes()
            assert content in contents
            seen.add(content[0])
        assert len(seen) == 2, "both have written"
    finally:
        for process in processes:
            process.kill()
            process.join()

import errno
import os
from pathlib import Path

import pytest
import torch

from callbacks.whole_files import WholeFiles, keep_as


class Full:
    """A file on a disk that is full after some bytes."""

    def __init__(self, file):
        self.file, self.left = file, 1000

    def write(self, content):
        self.left -= len(content)
        if self.left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.file.write(content)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def __getattr__(self, name):
        return getattr(self.file, name)


def test_on_a_full_disk_the_checkpoint_before_stays_whole(tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    WholeFiles().save_checkpoint({"a": torch.zeros(3)}, path)
    opened = Path.open
    monkeypatch.setattr(Path, "open", lambda self, *args: Full(opened(self, *args)))
    with pytest.raises(OSError) as caught:
        WholeFiles().save_checkpoint({"a": torch.ones(10_000)}, path)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
    monkeypatch.undo()
    assert torch.load(path, weights_only=True)["a"].tolist() == [0, 0, 0]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("links", [True, False])
def test_a_file_is_kept_under_a_second_name(tmp_path, monkeypatch, links):
    def no_link(*_):
        raise OSError(errno.EPERM, "none on this disk")

    if not links:
        monkeypatch.setattr(os, "link", no_link)
    last, previous = tmp_path / "last.ckpt", tmp_path / "previous.ckpt"
    keep_as(last, previous)
    assert not previous.exists()
    for content, before in (("1", None), ("2", "1"), ("3", "2")):
        keep_as(last, previous)
        assert last.exists() is (before is not None), "whole at any time"
        WholeFiles().save_checkpoint({"content": content}, last)
        assert torch.load(last)["content"] == content
        assert before is None or torch.load(previous)["content"] == before
    assert sorted(tmp_path.iterdir()) == [last, previous]

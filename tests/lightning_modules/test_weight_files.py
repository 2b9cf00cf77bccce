"""Files that are mistaken for weights."""

import gzip
import io
import os

import numpy as np
import pytest
import torch
from one_line import one_line
from safetensors.torch import save

from lightning_modules.weight_files import NetworkError, read_file


def saved():
    file = io.BytesIO()
    torch.save({"w": torch.ones(3)}, file)
    return file.getvalue()


def array():
    file = io.BytesIO()
    np.save(file, np.ones(3))
    return file.getvalue()


def refused(path, *kind):
    with pytest.raises(NetworkError, match=one_line(path)) as error:
        read_file(path, *kind)
    assert str(error.value).isprintable()
    return str(error.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("w.pt", b"", "it is empty"),
        ("w.safetensors", b"", "it is empty"),
        ("w.pt", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "run git lfs pull"),
        ("w.safetensors", b"version https://git-lfs.github.com/spec/v1\n", "run git lfs pull"),
        ("w.pth", b"\xef\xbb\xbf\n<!DOCTYPE html>", "a web page, so the download failed"),
        ("w.pth", b"<?xml version='1.0'?><Error>", "a web page, so the download failed"),
        ("w.pt", gzip.compress(saved()), "compressed by gzip: unpack it first"),
        ("w.pt.xz", b"\xfd7zXZ\x00", "compressed by xz: unpack it first"),
        ("w.h5", b"\x89HDF\r\n\x1a\n", "HDF5, as Keras writes"),
        ("w.npy", array(), "a NumPy array"),
        ("w.onnx", b"\x08\x08\x12\x07pytorch", "an ONNX model"),
        ("model.safetensors.index.json", b'{"metadata": {}, "weight_map": {}}', "join them into one"),
        ("w.pt", b"Not found", "text"),
        ("w.pt", b"\x00\x01", "none of torch.save's"),
        ("w.pt", saved()[:-40], "download the file again"),
        ("w.safetensors", save({"w": torch.ones(3)})[:-1], "download the file again"),
        ("w.safetensors", save({"w": torch.ones(3)}) + b"x", "download the file again"),
    ],
)
def test_a_file_that_is_something_else_is_told(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    assert message in refused(path)
    assert refused(path, "a checkpoint").startswith(f"{path}: not a checkpoint (")


def test_a_folder_is_told_and_the_file_in_it(tmp_path):
    assert refused(tmp_path).endswith("no file of weights is in it")
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_text("")
    assert refused(tmp_path).endswith("give a file in it, such as model.safetensors")


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "w.pt")
    assert refused(tmp_path / "w.pt").endswith("no regular file")


def test_a_file_that_cannot_be_read_is_told(tmp_path, monkeypatch):
    path = tmp_path / "w.pt"
    path.write_bytes(saved())

    def closed(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "open", closed)  # modes do not bind everybody
    assert "cannot be read ([Errno 13] Permission denied)" in refused(path)


@pytest.mark.parametrize("name", ["w.safetensors", "pytorch_model.bin", "w"])
def test_safetensors_are_known_by_their_beginning(tmp_path, name):
    (tmp_path / name).write_bytes(save({"w": torch.ones(3)}))
    assert read_file(tmp_path / name)["w"].tolist() == [1, 1, 1]

import os
import pickle
from pathlib import Path

import pytest
from one_line import one_line

from datamodules.images import DataError
from datamodules.paths import Paths


def test_paths_are_a_sequence_of_files_below_their_folder():
    paths = Paths(Path("data"), ["a.jpg", "below/Grüße.png", "/elsewhere/c.mat", os.fsdecode(b"latin\xe4.png")])
    expected = [Path("data/a.jpg"), Path("data/below/Grüße.png"), Path("/elsewhere/c.mat")]
    assert len(paths) == 4 and list(paths)[:3] == expected == list(paths[:3])
    assert paths[-1] == Path("data", os.fsdecode(b"latin\xe4.png"))
    assert isinstance(paths[1:], Paths) and paths[1:][1] == expected[2]
    with pytest.raises(IndexError):
        paths[4]


def test_many_paths_are_one_array_and_no_list():
    paths = Paths(Path("data"), (f"{i:012}.jpg" for i in range(10_000)))
    assert paths.names.nbytes == 16 * 10_000
    assert len(pickle.dumps(paths)) < 16 * 10_000 + 1000
    assert pickle.loads(pickle.dumps(paths))[9999] == Path("data/000000009999.jpg")


def test_no_paths_at_all_are_empty_and_not_enough(tmp_path):
    assert list(Paths(tmp_path, [])) == []
    with pytest.raises(DataError, match=one_line(tmp_path.name, "no images to use", "unpack it")):
        Paths(tmp_path, []).require("unpack it")


def test_required_files_may_lie_in_several_folders_and_elsewhere(tmp_path):
    names = ["a.jpg", "one/b.jpg", "one/two/c.jpg", "Grüße.jpg", os.fsdecode(b"latin\xe4.png"), str(tmp_path / "d.jpg")]
    for name in names:
        (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / name).touch()
    paths = Paths(tmp_path / "root", names)
    assert paths.require("unpack it") is paths


@pytest.mark.parametrize("absent", [["b.jpg"], ["below/a.jpg", "b.jpg"], ["a.jpg/b.jpg"]])
def test_absent_files_are_counted_and_the_first_is_named(tmp_path, absent):
    (tmp_path / "a.jpg").touch()
    count = f"listed but absent ({len(absent)} of {1 + len(absent)} images)"
    with pytest.raises(DataError, match=one_line(tmp_path / absent[0], count, "unpack it")):
        Paths(tmp_path, ["a.jpg", *absent]).require("unpack it")

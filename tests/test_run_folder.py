import os
import threading
import time

import pytest

import run_folder as module
from run_folder import RunFolderError, newest_run, run_folder


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch):
    for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID", "TORCHELASTIC_RUN_ID", "SADDLE_RUN_FOLDER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "environ", os.environ)


def test_a_run_is_never_overwritten(tmp_path):
    names = [run_folder(tmp_path, "at50", resume=lambda _: False).name for _ in range(3)]
    assert names == ["at50", "at50-2", "at50-3"]


def test_resuming_finds_the_newest_run(tmp_path):
    assert run_folder(tmp_path, "at50", resume=lambda _: True).name == "at50"
    run_folder(tmp_path, "at50", resume=lambda _: False)
    assert run_folder(tmp_path, "at50", resume=lambda _: True).name == "at50-2"
    assert newest_run(tmp_path, "at50").name == "at50-2"
    assert newest_run(tmp_path, "at101") is None


def test_processes_that_the_first_one_starts_share_its_folder(tmp_path, monkeypatch):
    folder = run_folder(tmp_path, "at50", resume=lambda _: False)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert run_folder(tmp_path, "at50", resume=lambda _: False) == folder
    assert not (tmp_path / "at50-2").exists()


def test_processes_of_a_cluster_wait_for_the_first_one(tmp_path, monkeypatch):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / ".launch").write_text("another job")
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("SLURM_PROCID", "1")
    found = []
    waiting = threading.Thread(target=lambda: found.append(run_folder(tmp_path, "at50", resume=lambda _: False)))
    waiting.start()
    time.sleep(0.3)
    assert not found
    (tmp_path / "at50").mkdir()
    (tmp_path / "at50" / ".launch").write_text("17--")
    waiting.join(5)
    assert found == [tmp_path / "at50"]
    monkeypatch.setenv("SLURM_PROCID", "0")
    assert run_folder(tmp_path, "at50", resume=lambda _: False).name == "at50-2"
    assert (tmp_path / "at50-2" / ".launch").read_text() == "17--"


def test_a_process_that_waits_in_vain_says_why(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_PROCID", "1")
    with pytest.raises(RunFolderError, match="all nodes must share this folder"):
        module._await_rank_zero(tmp_path, seconds=0.1)

import os
import threading
import time

import pytest

import run_folder as module
from run_folder import RunFolderError, is_first_process, newest_run, run_folder, run_of_job, share, shared


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch):
    for name in (
        "RANK",
        "LOCAL_RANK",
        "SLURM_PROCID",
        "TORCHELASTIC_RUN_ID",
        "SLURM_JOB_ID",
        "SLURM_RESTART_COUNT",
        "SADDLE_RUN",
    ):
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


def test_processes_that_the_first_one_starts_are_told(tmp_path):
    share(tmp_path / "at50", "last.ckpt")
    assert shared(tmp_path) == (tmp_path / "at50", "last.ckpt")
    assert not (tmp_path / "at50").exists(), "by the environment alone"


def test_processes_of_a_cluster_wait_for_the_first_one(tmp_path, monkeypatch):
    for name, mark in {"old": "17--", "older": '{"launch": "16--"}', "odd": "[]"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / ".launch").write_text(mark)
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("SLURM_PROCID", "1")
    assert not is_first_process()
    monkeypatch.setenv("SADDLE_RUN", '{"folder": "another", "checkpoint": null}')  # of a command before this one
    found = []
    waiting = threading.Thread(target=lambda: found.append(shared(tmp_path)))
    waiting.start()
    time.sleep(0.3)
    assert not found
    monkeypatch.setenv("SLURM_PROCID", "0")
    assert is_first_process()
    share(run_folder(tmp_path, "at50", resume=lambda _: False), None)
    waiting.join(5)
    assert found == [(tmp_path / "at50", None)]


def test_a_process_that_waits_in_vain_says_why(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_PROCID", "1")
    with pytest.raises(RunFolderError, match="all nodes must share this folder"):
        module._await_first_process(tmp_path, seconds=0.1)


def test_a_requeued_job_finds_the_run_that_it_began(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_PROCID", "0")
    for job in ("17", "18"):
        monkeypatch.setenv("SLURM_JOB_ID", job)
        assert run_of_job(tmp_path, "at50") is None, "it was not requeued"
        share(run_folder(tmp_path, "at50", resume=lambda _: False), None)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert run_of_job(tmp_path, "at50") == tmp_path / "at50-2"
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    assert run_of_job(tmp_path, "at50") == tmp_path / "at50"
    assert run_of_job(tmp_path, "at101") is None

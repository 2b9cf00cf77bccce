"""The cluster is a real one, and nothing of it is left."""

import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from one_line import one_line
from slurm.cluster import Cluster, UnavailableError
from slurm.jobs import until

ALONE = [sys.executable, str(Path(__file__).with_name("cluster.py"))]


def test_two_machines_with_names_and_memory_of_their_own(cluster: Cluster) -> None:
    script = "hostname; touch /dev/shm/$(hostname); echo $(ls /dev/shm); getent hosts node1 node2 | wc -l"
    lines = cluster.command("srun", "--nodes=2", "--ntasks-per-node=1", "--gpus-per-node=8", "sh", "-c", script)
    assert sorted(lines.split()) == ["2", "2", "node1", "node1", "node2", "node2"]


def members(folder: Path) -> dict[str, str]:
    """The processes of the cluster with that folder, which all know its configuration, and their command lines."""
    found = {}
    for file in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):  # it has just ended
            if f"SLURM_CONF={folder}/" in file.read_text(errors="replace"):
                found[file.parent.name] = file.with_name("cmdline").read_text()
    return found


@pytest.mark.parametrize("end", [None, signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_it_ends_with_whoever_started_it(cluster: Cluster, tmp_path: Path, end: signal.Signals | None) -> None:
    """Beside another cluster, and with a job of two processes that would not end by themselves."""
    job = "srun setsid sh -c 'trap : TERM; while :; do sleep 3600; done'"
    submit = f'sbatch --quiet --nodes=2 --ntasks-per-node=1 --wrap="{job}"; dirname $SLURM_CONF; exec cat'
    alone = subprocess.Popen(
        [*ALONE, "sh", "-c", submit], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert alone.stdin is not None and alone.stdout is not None
    folder = Path(alone.stdout.readline().strip())
    until(lambda: list(members(folder).values()).count("sleep\0003600\0") == 2)
    assert len(set(members(folder)) & set(members(cluster.folder))) == 0
    alone.stdin.close() if end is None else alone.send_signal(end)
    assert alone.wait(10) == {None: 0, signal.SIGKILL: -9}.get(end, 128 + (end or 0))
    alone.stdin.close()
    until(lambda: not members(folder), seconds=5)
    assert folder.exists() == (end == signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)
    assert cluster.command("sinfo", "-h", "-o", "%t %D") == "idle 2", "the other goes on"


def test_elsewhere_it_says_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(UnavailableError, match=one_line("SLURM is tested on Debian as root only")), Cluster():
        pass


def test_so_it_does_where_there_are_no_namespaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slurm.cluster.SPACES", ["sh", "-c", "echo not permitted >&2; exit 1", "sh"])
    with pytest.raises(UnavailableError, match="no machines within this one: not permitted"), Cluster():
        pass

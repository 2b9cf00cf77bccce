"""A real SLURM of two nodes on this machine, for as long as it is needed.

    python tests/slurm/cluster.py sbatch --wait --nodes 2 slurm/train.sbatch quickstart.yaml
    python tests/slurm/cluster.py                   (a shell to try things in)

Debian's packages, a controller and two nodes on loopback, all files below one temporary folder. Each daemon lives in
namespaces of its own (host name, mounts, processes), so `node1` and `node2` are what `hostname` says there, each has a
/dev/shm as a machine has, and whatever a node has started ends with it. Needs root.
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

NODES = ("node1", "node2")
PACKAGES = ("slurmctld", "slurmd", "slurm-client", "munge")
PROGRAMS = ("slurmctld", "slurmd", "sbatch", "munged", "mungekey")
ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY")

CONF = """\
ClusterName=saddle
SlurmctldHost=control(127.0.0.1)
SlurmctldPort={control}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
StateSaveLocation={folder}/control
SlurmctldPidFile={folder}/control.pid
SlurmctldLogFile={folder}/control.log
SlurmdSpoolDir={folder}/%n
SlurmdPidFile={folder}/%n.pid
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=5
MinJobAge=3600
FirstJobId={first_job}
GresTypes=gpu
NodeName=node1 NodeHostname=node1 NodeAddr=127.0.0.1 Port={node1} CPUs=64 Gres=gpu:8
NodeName=node2 NodeHostname=node2 NodeAddr=127.0.0.1 Port={node2} CPUs=64 Gres=gpu:8
PartitionName=all Nodes=ALL Default=YES
"""
"""GPUs and cores are only counted, so that a job script for GPUs runs as it is."""

SPACES = ["unshare", "--uts", "--mount", "--pid", "--mount-proc", "--kill-child"]

START = """\
hostname "$1" && mount --bind "$2/hosts" /etc/hosts && mount -t tmpfs tmpfs /dev/shm || exit
shift 2
"$@" & wait $!
"""
"""The first process of the namespaces: names the machine, starts a daemon, and buries what is left over."""


class UnavailableError(RuntimeError):
    """There can be no SLURM on this machine; says why in one line."""


class ClusterError(RuntimeError):
    """SLURM does not do what it should; says what its logs do."""


def install() -> None:
    """Install what is missing from Debian's packages.

    Raises:
        UnavailableError: on another system, without root, without namespaces, or where the packages cannot be had.
    """
    if not Path("/etc/debian_version").exists() or os.geteuid() != 0:
        raise UnavailableError("SLURM is tested on Debian as root only")
    trial = subprocess.run([*SPACES, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False)
    if trial.returncode:  # as in a container that may not
        raise UnavailableError(f"no machines within this one: {' '.join(trial.stderr.decode().split())}")
    os.environ["PATH"] += ":/usr/sbin:/sbin"  # where Debian has daemons
    if all(map(shutil.which, PROGRAMS)):
        return
    get = [
        "apt-get",
        "-q",
        "-y",
        "-o",
        "Dpkg::Use-Pty=0",
        "-o",
        "Acquire::Retries=1",
        "-o",
        "Acquire::http::Timeout=20",
    ]
    quiet: dict[str, Any] = {"env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}, "capture_output": True}
    wanted = [*get, "install", "--no-install-recommends", *PACKAGES]
    if subprocess.run(wanted, check=False, **quiet).returncode:  # the lists may be old, or absent
        subprocess.run([*get, "update"], check=False, **quiet)
        subprocess.run(wanted, check=False, **quiet)
    missing = [program for program in PROGRAMS if not shutil.which(program)]
    if missing:
        raise UnavailableError(f"no {', '.join(missing)}: apt-get install {' '.join(PACKAGES)} failed")


class Cluster:
    """Two idle nodes inside a `with`; nothing of it is left after.

    Attributes:
        env: environment in which SLURM's commands reach this cluster.
    """

    def __enter__(self) -> Self:
        install()
        self.folder = Path(tempfile.mkdtemp(prefix="saddle-slurm-"))
        self.env = {**os.environ, "SLURM_CONF": str(self.folder / "slurm.conf")}
        self.daemons: list[subprocess.Popen[bytes]] = []
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._stop()

    def command(self, *words: object, **env: str) -> str:
        """What a command of SLURM's prints, with variables of its environment; raises ClusterError if it fails."""
        run = subprocess.run(list(map(str, words)), env=self.env | env, capture_output=True, text=True, check=False)
        if run.returncode:
            raise ClusterError(f"{' '.join(map(str, words))}: {run.stderr.strip() or run.stdout.strip()}")
        return run.stdout.strip()

    def job(self, number: str) -> dict[str, str]:
        """What SLURM knows of a job, such as its JobState, Restarts and ExitCode."""
        words = self.command("scontrol", "--oneliner", "show", "job", number).split()
        return dict(word.partition("=")[::2] for word in words if "=" in word)

    def wait(self, number: str, *states: str, seconds: float = 120) -> dict[str, str]:
        """Wait until a job is in one of these states, by default at its end, and return what SLURM knows of it.

        Raises:
            ClusterError: if it takes longer, or the job ends in another state.
        """
        deadline = time.monotonic() + seconds
        while True:
            job = self.job(number)
            if job["JobState"] in (states or ENDED):
                return job
            if job["JobState"] in ENDED or time.monotonic() > deadline:
                raise ClusterError(f"job {number} is {job['JobState']} ({job['Reason']}), not {', '.join(states)}")
            time.sleep(0.2)

    def _start(self) -> None:
        folder, ports = self.folder, _free_ports(1 + len(NODES))
        text = CONF.format(
            folder=folder, control=ports[0], **dict(zip(NODES, ports[1:], strict=True)),
            first_job=1 + secrets.randbelow(50_000_000),  # of its last digits Lightning makes a port
        )  # fmt: skip
        (folder / "slurm.conf").write_text(text)
        (folder / "gres.conf").write_text(f"Name=gpu File={folder}/gpu[0-7]\n")
        for number in range(8):
            (folder / f"gpu{number}").touch()
        (folder / "hosts").write_text(f"127.0.0.1 localhost control {' '.join(NODES)}\n")
        for name in ("munge", "control", *NODES):
            (folder / name).mkdir(mode=0o700)
        key = folder / "munge" / "key"
        self.command("mungekey", "--create", "--keyfile", key)
        files = [f"--{name}-file={folder}/munge/{name}" for name in ("pid", "log", "seed")]
        self._launch(
            "munged", "--foreground", "--force", f"--key-file={key}", f"--socket={folder}/munge/socket", *files
        )
        self._await(lambda: (folder / "munge" / "socket").exists(), "munged makes no socket")
        for host in ("control", *NODES):
            daemon = ["slurmctld", "-D", "-i"] if host == "control" else ["slurmd", "-D", "-N", host]
            self._launch(*SPACES, "sh", "-c", START, "sh", host, folder, *daemon)
        self._await(self._idle, "the nodes do not become idle")

    def _launch(self, *words: object) -> None:
        """Start a daemon that ends with this process, however that ends."""
        with (self.folder / "daemons.log").open("ab") as log:
            bound = ["setpriv", "--pdeathsig", "KILL", *map(str, words)]
            daemon = subprocess.Popen(bound, env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                      start_new_session=True)  # fmt: skip  # Ctrl-C is for us
            self.daemons.append(daemon)

    def _idle(self) -> bool:
        states = subprocess.run(
            ["sinfo", "-h", "-o", "%t %D"], env=self.env, capture_output=True, text=True, check=False
        )
        return states.stdout.strip() == f"idle {len(NODES)}"

    def _await(self, condition: Any, otherwise: str, seconds: float = 20) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            ended = [daemon.args for daemon in self.daemons if daemon.poll() is not None]
            if ended or time.monotonic() > deadline:
                logs = [f"{log.name}: {log.read_text()[-500:]}" for log in sorted(self.folder.glob("*.log"))]
                raise ClusterError("\n".join([otherwise, *map(str, ended), *logs]))
            time.sleep(0.05)

    def _stop(self) -> None:
        """The end of a namespace's first process is that of all in it; `unshare` waits for it, and we for `unshare`."""
        for daemon in reversed(self.daemons):
            if daemon.poll() is None:
                children = Path(f"/proc/{daemon.pid}/task/{daemon.pid}/children").read_text().split()
                for number in children or [str(daemon.pid)]:
                    os.kill(int(number), signal.SIGKILL)
                daemon.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def _free_ports(number: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def main(words: list[str]) -> int:
    """Run a command, or a shell, that has the cluster; returns its exit status."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: sys.exit(128 + number))  # so that the cluster is stopped
    try:
        with Cluster() as cluster:
            return subprocess.run(words or [os.environ.get("SHELL", "sh")], env=cluster.env, check=False).returncode
    except (UnavailableError, ClusterError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

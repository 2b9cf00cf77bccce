"""`cli.py` as a command for scripts, served by a process that has imported everything: a call takes no 7 seconds then.

Each call runs in a process of its own, forked from the one that waits, with the caller's folder, environment and
output.
"""

import array
import atexit
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent


@cache
def saddle_command() -> str:
    """What stands for `cli.py` in SADDLE_COMMAND; the process that serves it ends with the tests."""
    folder = tempfile.TemporaryDirectory(prefix="saddle-")
    place = Path(folder.name, "socket")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    server = subprocess.Popen([sys.executable, __file__, "serve", place], cwd=ROOT, env=environment)

    def end() -> None:
        server.kill()
        server.wait()
        folder.cleanup()

    atexit.register(end)
    return f"{sys.executable} -S -E {__file__} {place}"


def call(place: str, args: list[str]) -> int:
    """Have a command line run; returns its exit status, of one that is killed that of a shell."""
    with socket.socket(socket.AF_UNIX) as line:
        while True:
            try:
                line.connect(place)
                break
            except (FileNotFoundError, ConnectionRefusedError):  # it imports still
                if not os.path.isdir(os.path.dirname(place)):
                    raise
        request = json.dumps([args, os.getcwd(), dict(os.environ)]).encode()
        outputs = array.array("i", [1, 2]).tobytes()
        line.sendmsg([len(request).to_bytes(8)], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, outputs)])
        line.sendall(request)
        status = line.recv(1)
    return status[0] if status else 128 + signal.SIGKILL


def serve(place: str) -> None:
    sys.path.insert(0, str(ROOT))
    import cli
    import painting_cli  # noqa: F401
    import training_cli  # noqa: F401

    gc.freeze()  # or each call would copy what a search for garbage touches
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # what has ended is gone at once
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(place)
        server.listen()
        while True:
            line, _ = server.accept()
            if not os.fork():
                answer(line, cli.main)
            line.close()


def answer(line: socket.socket, main) -> None:
    """Run what a caller asks for, in this process, and end it."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    length, outputs, _, _ = socket.recv_fds(line, 8, 2)
    request = b""
    while len(request) < int.from_bytes(length):
        request += line.recv(2**16)
    args, folder, environment = json.loads(request)
    for output, number in zip(outputs, (1, 2), strict=True):
        os.dup2(output, number)
    sys.stdout, sys.stderr = (os.fdopen(os.dup(number), "w", 1) for number in (1, 2))
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path += filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    sys.argv = [str(ROOT / "cli.py"), *args]  # which Lightning starts further processes of
    status = 1
    try:
        main()
        status = 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        line.sendall(bytes([status % 256]))
        os._exit(status)


if __name__ == "__main__":
    first, *others = sys.argv[1:]
    if first == "serve":
        serve(others[0])
    else:
        sys.exit(call(first, others))

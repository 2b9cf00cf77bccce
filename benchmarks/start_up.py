"""What it takes to open COCO's training set: seconds and memory, of the first process and of its workers.

Builds an annotation file of the real size in the real format, with an empty file for each image. The ratio is that of
the seconds to those of the reader of c4753f1, taken from git, which parsed the whole file into records: the median of
rounds in which both open it, in processes of their own. Seconds are of the processor.

    python benchmarks/start_up.py            118,000 images, 860,000 annotations; six minutes
    python benchmarks/start_up.py --quick    a hundredth of it, to see that it runs
"""

import argparse
import gc
import json
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
from full_size import write_coco
from torch.utils.data import get_worker_info  # noqa: F401  torch's own memory is part of what is measured

from datamodules import COCO

HERE, BEFORE = Path(__file__).parent.parent, "c4753f1"


def private_megabytes() -> float:
    """Memory that this process has written to and shares with no other."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty")) / 1024


OPENING = """
import json, resource, sys, time
sys.path.insert(0, sys.argv[1])
from datamodules import COCO
memory = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before, started = memory(), time.process_time()
data = COCO(sys.argv[2], cache=sys.argv[3]).make_set("train")
print(json.dumps([len(data), time.process_time() - started, memory(), before]))
"""


class Opening(NamedTuple):
    """What it took a process to open the training set; memory at most, in MiB, and before."""

    images: int
    seconds: float
    memory: float
    before: float

    def __str__(self) -> str:
        return f"{self.images} images, {self.seconds:.1f} s, {self.memory:.0f} MiB at most ({self.before:.0f} before)"


def opening(code: Path, root: str, cache: Path) -> Opening:
    command = [sys.executable, "-c", OPENING, str(code), root, str(cache)]
    return Opening(*json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout))


def take_old_reader(folder: Path) -> bool:
    """Take the data modules of c4753f1 out of git, if they are there."""
    folder.mkdir()
    if shutil.which("git") is None:
        return False
    archive = subprocess.run(["git", "-C", HERE, "archive", BEFORE, "datamodules"], capture_output=True)
    return archive.returncode == 0 and subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout).returncode == 0


def work(root: str, answer: Connection) -> None:
    """A forked worker goes through all images, and draws some label maps without keeping them."""
    data = COCO(root, cache=str(Path(root, "kept"))).make_set("train")
    os.sync()  # pages of files that were just written count as ours
    context = multiprocessing.get_context("fork")
    results = []
    for _ in range(2):
        mine, theirs = context.Pipe()

        def look(sender: Connection = theirs) -> None:
            gc.collect()  # touches, and so copies, every object of the libraries: not the data's doing
            before = private_megabytes()
            for i in range(len(data)):
                data.images[i].name  # noqa: B018
            annotations = data.read_label.annotations  # type: ignore[attr-defined]
            for i in np.linspace(0, len(annotations.ids) - 1, 300, dtype=int):
                annotations.label_map(i)
            sender.send(private_megabytes() - before)

        process = context.Process(target=look)
        process.start()
        results.append(mine.recv())
        process.join()
    answer.send(results)


def in_a_process(function: Callable[[str, Connection], None], root: str) -> tuple:
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    process = context.Process(target=function, args=(root, theirs))
    process.start()
    answer = mine.recv()
    process.join()
    return answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a hundredth of the size")
    scale = 100 if parser.parse_args().quick else 1
    with tempfile.TemporaryDirectory() as folder:
        write_coco(Path(folder, "coco"), 118_000 // scale, 860_000 // scale)
        root = str(Path(folder, "coco"))
        size = Path(root, "annotations", "instances_train2017.json").stat().st_size / 2**20
        print(f"annotation file of {size:.0f} MiB")
        new = opening(HERE, root, Path(folder, "0"))
        print(f"first process: {new}")
        print(f"second process: {opening(HERE, root, Path(folder, '0'))}")
        grown = in_a_process(work, root)
        print(f"two workers grew by {grown[0]:.0f} and {grown[1]:.0f} MiB of their own over all images")
        if not take_old_reader(Path(folder, "old")):
            print(f"no commit {BEFORE} in git here: not compared with the reader of before")
            return
        rounds = []
        for number in range(1 if scale > 1 else 3):
            old = opening(Path(folder, "old"), root, Path(folder, f"old{number}"))
            new = opening(HERE, root, Path(folder, f"new{number}"))
            rounds.append((new.memory / old.memory, new.seconds / old.seconds))
            print(f"round {number + 1}: {BEFORE} {old}; now {new}")
    memory, seconds = map(statistics.median, zip(*rounds, strict=True))
    print(f"memory {memory:.2f} of what {BEFORE} took")
    print(f"ratio {seconds:.2f}")


if __name__ == "__main__":
    main()

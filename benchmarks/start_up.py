"""What it takes to open COCO's training set: seconds and memory, of the first process and of its workers.

Builds an annotation file of the real size in the real format, with an empty file for each image.

    python benchmarks/start_up.py            118,000 images, 860,000 annotations
    python benchmarks/start_up.py --quick    a hundredth of it, to see that it runs
"""

import argparse
import gc
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
from full_size import write_coco
from torch.utils.data import get_worker_info  # noqa: F401  torch's own memory is part of what is measured

from datamodules import COCO


def private_megabytes() -> float:
    """Memory that this process has written to and shares with no other."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty")) / 1024


def open_it(root: str, answer: Connection) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    started = time.perf_counter()
    data = COCO(root).make_set("train")
    seconds = time.perf_counter() - started
    answer.send((len(data), seconds, before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def work(root: str, answer: Connection) -> None:
    """A forked worker goes through all images, and draws some label maps without keeping them."""
    data = COCO(root).make_set("train")
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
        for which in ("first", "second"):
            images, seconds, before, peak = in_a_process(open_it, root)
            print(f"{which} process: {images} images, {seconds:.1f} s, {peak:.0f} MiB at most ({before:.0f} before)")
        grown = in_a_process(work, root)
        print(f"two workers grew by {grown[0]:.0f} and {grown[1]:.0f} MiB of their own over all images")


if __name__ == "__main__":
    main()

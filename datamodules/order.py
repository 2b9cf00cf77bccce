"""The order of training samples and the randomness of each: functions of the run's seed, the epoch and the index.

So a place in an epoch is all that a run needs to go on exactly, with any number of processes and workers.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, DistributedSampler, get_worker_info

Key = tuple[int, int]
"""An epoch and the index of a sample."""


class EpochOrder(DistributedSampler[Key]):
    """The samples of an epoch in an order of its own, dealt to processes in turn; yields `(epoch, index)`.

    Each sample comes once at most: what does not fill a step of all processes is left out. A DistributedSampler, so
    that Lightning tells it the epoch and leaves it in its place.

    Args:
        samples: length of the data set.
        seed: the run's.
        batch_size: samples per step and process.
        rank: of this process.
        processes: their number.
    """

    def __init__(self, samples: int, seed: int, batch_size: int, rank: int = 0, processes: int = 1) -> None:
        super().__init__(range(samples), processes, rank, seed=seed)  # type: ignore[arg-type]
        self.samples, self.step = samples, batch_size * processes
        self.done = 0
        """How many samples of this epoch are behind it, of all processes."""

    def __len__(self) -> int:
        """Samples of this process in a whole epoch."""
        return self.samples // self.step * (self.step // self.num_replicas)

    def set_epoch(self, epoch: int) -> None:
        """Begin an epoch; the one that it is in already goes on."""
        if epoch != self.epoch:
            self.go_on(epoch, 0)

    def go_on(self, epoch: int, done: int) -> None:
        """Continue in an epoch after so many of its samples, of all processes."""
        self.epoch, self.done = epoch, done

    @property
    def left(self) -> int:
        """Samples of this process that are left in this epoch."""
        return (self.samples - self.done) // self.step * (self.step // self.num_replicas)

    def __iter__(self) -> Iterator[Key]:
        generator = torch.Generator().manual_seed(_seed_of(self.seed, self.epoch))
        order = torch.randperm(self.samples, generator=generator)[self.done :]
        order = order[: len(order) // self.step * self.step]
        return ((self.epoch, index) for index in order[self.rank :: self.num_replicas].tolist())


class Seeded(Dataset[dict[str, Any]]):
    """A data set whose sample `(epoch, index)` is what `samples[index]` is with generators seeded from both.

    Seeded are torch's, numpy's and Python's, which are as before afterwards. A plain index gives the plain sample.

    Args:
        samples: any data set.
        seed: the run's.
    """

    def __init__(self, samples: Dataset[dict[str, Any]], seed: int) -> None:
        self.samples, self.seed = samples, seed

    def __len__(self) -> int:
        return len(self.samples)  # type: ignore[arg-type]

    def __getitem__(self, key: int | Key) -> dict[str, Any]:
        if not isinstance(key, tuple):
            return self.samples[key]
        epoch, index = key
        with nullcontext() if get_worker_info() else _generators_kept():  # a worker's serve nothing else
            value = _seed_of(self.seed, epoch, index)
            torch.default_generator.manual_seed(value)  # torch.manual_seed would seed GPUs, too
            np.random.seed(value % 2**32)
            random.seed(value)
            return self.samples[index]


@contextmanager
def _generators_kept() -> Iterator[None]:
    before = torch.get_rng_state(), np.random.get_state(), random.getstate()
    try:
        yield
    finally:
        torch.set_rng_state(before[0])
        np.random.set_state(before[1])
        random.setstate(before[2])


def _seed_of(*parts: int) -> int:
    """A well-mixed 63-bit seed; the generators of neighbouring epochs and samples have nothing in common."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> 1)

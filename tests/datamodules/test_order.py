import random
from itertools import chain

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from datamodules.order import EpochOrder, Seeded


def indices(order):
    return [index for _, index in order]


def dealt(samples, batch_size, processes, epoch=0, done=0, seed=0):
    """The indices of each process."""
    orders = [EpochOrder(samples, seed, batch_size, rank, processes) for rank in range(processes)]
    for order in orders:
        order.go_on(epoch, done)
    return [indices(order) for order in orders]


@pytest.mark.parametrize(("batch_size", "processes"), [(1, 1), (4, 1), (2, 2), (3, 5)])
def test_an_epoch_has_each_sample_once_at_most_and_whole_batches(batch_size, processes):
    parts = dealt(50, batch_size, processes)
    together = list(chain(*parts))
    step = batch_size * processes
    assert len(set(together)) == len(together) == 50 // step * step
    assert {len(part) for part in parts} == {len(EpochOrder(50, 0, batch_size, 0, processes))}


def test_seeds_and_epochs_have_orders_of_their_own_always_the_same():
    orders = [tuple(dealt(50, 1, 1, epoch, seed=seed)[0]) for epoch in range(3) for seed in range(3)]
    assert len(set(orders)) == 9
    assert orders == [tuple(dealt(50, 1, 1, epoch, seed=seed)[0]) for epoch in range(3) for seed in range(3)]


def test_a_batch_of_all_processes_is_that_of_one():
    """So a run goes on with the samples that it has left, whatever number of processes it had."""
    alone, two = dealt(48, 4, 1)[0], dealt(48, 2, 2)
    for step in range(12):
        assert set(alone[4 * step : 4 * step + 4]) == {i for part in two for i in part[2 * step : 2 * step + 2]}


@pytest.mark.parametrize(("batch_size", "processes"), [(4, 1), (2, 2), (1, 1), (1, 3), (8, 2)])
def test_an_interrupted_epoch_goes_on_with_what_is_left(batch_size, processes):
    before = dealt(50, 2, 2, epoch=5)
    behind = {i for part in before for i in part[:10]}
    after = list(chain(*dealt(50, batch_size, processes, epoch=5, done=20)))
    assert len(behind) == 20 and len(set(after)) == len(after)
    assert not behind & set(after)
    assert len(after) == 30 // (batch_size * processes) * batch_size * processes


def test_only_another_epoch_begins_at_its_start():
    order = EpochOrder(20, 0, 2)
    order.go_on(3, 8)
    assert (len(order), order.left, len(indices(order))) == (20, 12, 12)
    order.set_epoch(3)
    assert len(indices(order)) == 12
    order.set_epoch(4)
    assert len(indices(order)) == 20 == order.left


class Drawing(Dataset):
    """Draws from every generator that an augmentation could use."""

    def __len__(self):
        return 12

    def __getitem__(self, index):
        return torch.tensor([index, torch.rand(()), np.random.rand(), random.random()], dtype=torch.float64)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("batch_size", [1, 2, 4])
def test_randomness_follows_from_seed_epoch_and_index_alone(workers, batch_size):
    seeded = Seeded(Drawing(), 7)
    expected = {index: seeded[2, index] for index in range(12)}
    assert len({float(value) for sample in expected.values() for value in sample[1:]}) == 36
    order = EpochOrder(12, 7, batch_size)
    order.go_on(2, 4)
    found = torch.cat(list(DataLoader(seeded, batch_size, sampler=order, num_workers=workers)))
    assert len(found) == 8
    for sample in found:
        assert torch.equal(sample, expected[int(sample[0])])
    assert not torch.equal(seeded[3, 1], expected[1]) and not torch.equal(Seeded(Drawing(), 8)[2, 1], expected[1])


def test_the_process_s_own_generators_are_left_alone():
    def draws():
        return torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()

    for seed in (torch.manual_seed, np.random.seed, random.seed):
        seed(1)
    undisturbed = draws()
    for seed in (torch.manual_seed, np.random.seed, random.seed):
        seed(1)
    Seeded(Drawing(), 0)[0, 3]
    assert draws() == undisturbed


def test_a_plain_index_is_the_plain_sample():
    assert Seeded(list("abc"), 0)[1] == "b"
    assert len(Seeded(list("abc"), 0)) == 3

import pytest
import torch
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch.optim import SGD

from lightning_modules import Drops, Triangle


def rates(steps, kind=Drops, **options):
    """The learning rate of each of a run's steps."""
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = kind(optimizer, steps, **options)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def test_the_rate_drops_at_the_epochs_given():
    """Epochs 30 and 60 of 110, with ten steps an epoch."""
    found = rates(1100, at=[30, 60], of=110)
    assert found[:300] == [1.0] * 300
    assert found[300:600] == pytest.approx([0.1] * 300)
    assert found[600:] == pytest.approx([0.01] * 500)


def test_a_shorter_run_drops_it_at_the_same_shares():
    found = rates(20, at=[50, 75], of=100, factor=0.5)
    assert found == pytest.approx([1.0] * 10 + [0.5] * 5 + [0.25] * 5)


@pytest.mark.parametrize("at", [[0], [110], [30, 200], [-1]])
def test_a_drop_outside_the_run_is_refused(at):
    with pytest.raises(MisconfigurationException, match="must lie between 0 and of=110"):
        rates(10, at=at, of=110)


def test_the_triangle_rises_from_0_and_falls_to_0_as_torchs_cyclic_rate_does():
    """As Wong et al. 2020 call it: half of the run up, half down."""
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    cyclic = torch.optim.lr_scheduler.CyclicLR(optimizer, 0, 1.0, step_size_up=50, cycle_momentum=False)
    expected = []
    for _ in range(100):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        cyclic.step()
    assert rates(100, Triangle) == pytest.approx(expected)
    assert expected[0] == 0 and expected[50] == pytest.approx(1) and expected[99] == pytest.approx(0.02)


def test_the_triangles_peak_may_be_elsewhere_and_groups_keep_their_own_rates():
    assert rates(10, Triangle, peak=0.2) == pytest.approx([0, 0.5, 1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8])
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": lr} for lr in (0.1, 1.0)]
    optimizer = SGD(groups)
    schedule = Triangle(optimizer, 4)
    for _ in range(4 + 1):  # one more than the run: some loops step once too often
        optimizer.step()
        schedule.step()
        ratio = [group["lr"] for group in optimizer.param_groups]
        assert ratio[1] == pytest.approx(10 * ratio[0]) and ratio[0] >= 0


def test_a_peak_outside_the_run_is_refused():
    with pytest.raises(MisconfigurationException, match="peak=1 must lie between 0 and 1"):
        Triangle(SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0), 10, peak=1)

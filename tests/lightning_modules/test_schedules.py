import pytest
import torch
from torch.optim import SGD

from lightning_modules import Drops


def rates(steps, **options):
    """The learning rate of each of a run's steps."""
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = Drops(optimizer, steps, **options)
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
    with pytest.raises(ValueError, match="must lie between 0 and of=110"):
        rates(10, at=at, of=110)

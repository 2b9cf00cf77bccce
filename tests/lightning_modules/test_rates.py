import warnings
from functools import partial

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import nn
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import (
    ChainedScheduler,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    LRScheduler,
    OneCycleLR,
    PolynomialLR,
    ReduceLROnPlateau,
    SequentialLR,
)

from callbacks import EMA
from lightning_modules import Classifier, Drops, Triangle


class Mine(LRScheduler):
    """Somebody's: chained, and with a memory of its own."""

    def __init__(self, optimizer, steps):
        self.left = steps + 1
        super().__init__(optimizer)

    def get_lr(self):
        self.left -= 1
        return [group["lr"] * (1 if self.last_epoch == 0 else self.left / (self.left + 1)) for group in self.groups]

    @property
    def groups(self):
        return self.optimizer.param_groups


SCHEDULES = {
    "none": None,
    "polynomial": partial(PolynomialLR, power=0.9),
    "cosine": CosineAnnealingLR,
    "triangle": Triangle,
    "drops": partial(Drops, at=[1, 2], of=4),
    "lambda": lambda optimizer, steps: LambdaLR(optimizer, lambda step: 1 / (1 + step / steps)),
    "exponential": lambda optimizer, steps: ExponentialLR(optimizer, 0.01 ** (1 / steps)),
    "one cycle": lambda optimizer, steps: OneCycleLR(optimizer, [0.1, 0.3], total_steps=steps + 1),
    "restarts": lambda optimizer, steps: CosineAnnealingWarmRestarts(optimizer, max(1, steps // 2)),
    "warm-up": lambda optimizer, steps: SequentialLR(
        optimizer, [LinearLR(optimizer, 0.1, total_iters=2), PolynomialLR(optimizer, steps - 2)], [2]
    ),
    "chained": lambda optimizer, steps: ChainedScheduler(
        [LinearLR(optimizer, 0.1, total_iters=2), PolynomialLR(optimizer, steps)], optimizer
    ),
    "mine": Mine,
}


class Seen(Callback):
    """The learning rates, and momentum, of all groups at each step; saves a checkpoint at the end of an epoch."""

    def __init__(self, path):
        self.path, self.rates = path, []

    def on_train_epoch_end(self, trainer, pl_module):
        trainer.save_checkpoint(self.path)

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.rates.append([(g["lr"], g.get("momentum")) for g in trainer.optimizers[0].param_groups])


@pytest.fixture
def fit(make_trainer, noise_loader, tmp_path):
    def fit(epochs, schedule, resume=False, batch_size=2, optimizer=None, others=(), module=None, **options):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 3, 1))
        optimizer = optimizer or partial(SGD, lr=0.1, momentum=0.9)
        module = Classifier(network, None, optimizer, schedule, {"2.": 3.0} if module is None else module)
        path = tmp_path / "last.ckpt"
        seen = Seen(path)
        trainer = make_trainer(max_epochs=epochs, callbacks=[seen, *others], **options)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            trainer.fit(module, noise_loader(batch_size), ckpt_path=path if resume else None)
        return seen.rates, [str(each.message) for each in said if "in the checkpoint" in str(each.message)]

    return fit


@pytest.mark.parametrize("kind", SCHEDULES)
def test_a_run_that_goes_on_for_longer_has_the_rates_of_one_run_of_that_length(fit, kind):
    """Twice: its position is that of all its steps."""
    whole, _ = fit(4, SCHEDULES[kind])
    assert len(whole) == 16 and len(whole[0]) == 2, "four batches an epoch, two groups"
    fit(1, SCHEDULES[kind])
    second, said = fit(2, SCHEDULES[kind], resume=True)
    third, said_again = fit(4, SCHEDULES[kind], resume=True)
    assert (second, third) == (fit(2, SCHEDULES[kind])[0][4:], whole[8:])
    assert not said + said_again, "nothing of the config is another"


class Stop(Callback):
    def on_train_epoch_end(self, trainer, pl_module):
        trainer.should_stop = True


@pytest.mark.parametrize("kind", ["polynomial", "drops", "mine", "one cycle"])
def test_a_run_that_goes_on_as_it_was_is_the_same_run(fit, tmp_path, kind):
    """To the bit, also its averages."""
    path = tmp_path / "last.ckpt"
    fit(3, SCHEDULES[kind], others=[EMA(0.5)])
    expected = torch.load(path, weights_only=True)
    fit(3, SCHEDULES[kind], others=[EMA(0.5), Stop()])
    fit(3, SCHEDULES[kind], resume=True, others=[EMA(0.5)])
    found = torch.load(path, weights_only=True)
    for key in ("lr_schedulers", "optimizer_states", "state_dict", "rates"):
        assert repr(found[key]) == repr(expected[key]), key


def test_what_was_restored_is_not_made_anew(fit, tmp_path):
    fit(3, SCHEDULES["cosine"], max_steps=6)
    path = tmp_path / "last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["lr_schedulers"][0]["_last_lr"] = [7.0, 7.0]
    checkpoint["optimizer_states"][0]["param_groups"][0]["lr"] = 7.0
    checkpoint["rates"]["steps"] = 12
    checkpoint["rates"]["begun"]["state"]["T_max"] = 12
    torch.save(checkpoint, path)
    rates, said = fit(3, SCHEDULES["cosine"], resume=True)
    assert rates[0][0][0] == 7 and not said


@pytest.mark.parametrize("kind", ["polynomial", "cosine", "triangle", "drops", "warm-up"])
@pytest.mark.parametrize("change", [{"batch_size": 4}, {"batch_size": 1}, {"accumulate_grad_batches": 2}])
def test_with_epochs_of_another_length_it_goes_on_at_its_epoch(fit, kind, change):
    """Of 7 samples: 4 steps an epoch, then 2 or 7."""
    whole, _ = fit(4, SCHEDULES[kind], **change)
    fit(2, SCHEDULES[kind])
    rates, _ = fit(3, SCHEDULES[kind], resume=True, **change)
    assert rates == fit(3, SCHEDULES[kind], **change)[0][len(whole) // 2 :]
    rates, _ = fit(4, SCHEDULES[kind], resume=True, **change)
    assert rates == whole[len(whole) // 4 * 3 :], "and once more, from what is now its place"


def test_where_steps_are_the_end_they_are_the_place(fit):
    whole, _ = fit(-1, SCHEDULES["polynomial"], max_steps=12)
    fit(-1, SCHEDULES["polynomial"], max_steps=4)
    assert fit(-1, SCHEDULES["polynomial"], resume=True, max_steps=12, batch_size=4)[0] == whole[4:]


def test_what_a_config_changes_is_taken_from_there_on_and_told(fit):
    fit(2, SCHEDULES["polynomial"])
    slower = partial(SGD, lr=0.01, momentum=0.5)
    rates, (said,) = fit(4, partial(PolynomialLR, power=2), resume=True, optimizer=slower)
    assert rates == fit(4, partial(PolynomialLR, power=2), optimizer=slower)[0][8:]
    for part in ("lr 0.1 there, 0.01 here", "momentum 0.9 there, 0.5 here", "power 0.9 there, 2 here"):
        assert part in said
    assert "total_iters" not in said and "base_lrs" not in said


@pytest.mark.parametrize("kinds", [("polynomial", "triangle"), ("none", "cosine"), ("drops", "none")])
def test_another_schedule_begins_at_the_place_of_the_run(fit, kinds):
    before, after = (SCHEDULES[kind] for kind in kinds)
    fit(2, before)
    rates, (said,) = fit(4, after, resume=True)
    assert rates == fit(4, after)[0][8:]
    assert "schedule " in said


def test_another_peak_is_noticed_though_it_is_in_a_function(fit):
    fit(2, Triangle)
    rates, (said,) = fit(4, partial(Triangle, peak=0.25), resume=True)
    assert rates == fit(4, partial(Triangle, peak=0.25))[0][8:] and "peak 0.5 there, 0.25 here" in said


def test_a_checkpoint_that_says_nothing_of_its_rates_goes_on_rightly_too(fit, tmp_path):
    whole, _ = fit(4, SCHEDULES["cosine"])
    fit(2, SCHEDULES["cosine"])
    path = tmp_path / "last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    del checkpoint["rates"]
    torch.save(checkpoint, path)
    rates, (said,) = fit(4, SCHEDULES["cosine"], resume=True)
    assert rates == whole[8:] and "learning rate: [0.0, 0.0] in the checkpoint" in said


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"optimizer": partial(Adam, lr=0.1)}, "optimizer is SGD, the config's Adam: start another run"),
        ({"module": {}}, r"groups of \[2, 2\] weights, the config of \[4\]: set model.frozen"),
    ],
)
def test_an_optimizer_that_cannot_go_on_is_refused(fit, options, expected):
    fit(1, None)
    with pytest.raises(MisconfigurationException, match=expected):
        fit(2, None, resume=True, **options)


def test_a_schedule_that_cannot_be_brought_to_its_place_is_refused(fit):
    fit(1, None)
    with pytest.raises(MisconfigurationException, match="ReduceLROnPlateau cannot be brought to step 4"):
        fit(2, lambda optimizer, steps: ReduceLROnPlateau(optimizer), resume=True)


def test_a_run_without_an_end_has_no_schedule(fit):
    with pytest.raises(MisconfigurationException, match="the run has no length"):
        fit(-1, SCHEDULES["cosine"])

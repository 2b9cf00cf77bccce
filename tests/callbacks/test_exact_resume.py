"""Runs that are stopped anywhere, several times, and end as if they had not been."""

import os
from functools import partial

import pytest
import torch
from lightning.pytorch import Callback
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import PolynomialLR

from attacks import PGD, Linf
from callbacks import EMA, Attack, Checkpoints, EvaluationDue, ExactResume, OverfittingGuard
from callbacks.interruption import Stopped, ending
from callbacks.whole_files import WholeFiles
from datamodules import Shapes
from lightning_modules import Classifier


class LosesPower(Callback):
    """At the n-th time that Lightning comes by a hook."""

    def __init__(self, hook, times):
        self.left = times

        def come_by(*_, **__):
            self.left -= 1
            if self.left == 0:
                raise RuntimeError("lost power")

        setattr(self, hook, come_by)


PLACES = [
    "on_train_batch_start", "on_before_optimizer_step", "on_train_batch_end", "on_validation_start",
    "on_validation_batch_end", "on_validation_end", "on_train_epoch_end",
]  # fmt: skip


@pytest.fixture
def fit(make_trainer, tmp_path, monkeypatch):
    monkeypatch.setenv("PL_GLOBAL_SEED", "3")

    def network():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.3), nn.Conv2d(8, 5, 1)
        )

    def fit(name, trouble=None, workers=0, batch_size=4, checkpoints=None, **options):
        data = Shapes(train_samples=26, val_samples=5, size=16, batch_size=batch_size, num_workers=workers)
        pgd = PGD(Linf(0.03), 2)
        callbacks = [
            ExactResume(), EvaluationDue(), Attack(pgd, {"pgd": pgd}, fraction=0.7, warm_up=1.5), EMA(0.9),
            OverfittingGuard(drop=0.9), checkpoints or Checkpoints(every_steps=1),
        ]  # fmt: skip
        trainer = make_trainer(
            default_root_dir=tmp_path / name,
            callbacks=callbacks + [trouble] * (trouble is not None),
            plugins=[WholeFiles()],
            enable_checkpointing=True,
            num_sanity_val_steps=0,
            **{"max_epochs": 3, **options},
        )
        module = Classifier(
            network(), optimizer=partial(SGD, lr=0.1, momentum=0.9), schedule=lambda o, n: PolynomialLR(o, n)
        )
        torch.manual_seed(int.from_bytes(os.urandom(4)))  # as in a new process
        last = tmp_path / name / "checkpoints" / "last.ckpt"
        try:
            trainer.fit(module, datamodule=data, ckpt_path=last if last.is_file() else None)
        except RuntimeError as error:
            assert str(error) == "lost power"
            return None
        weights = {name: value.clone() for name, value in module.state_dict().items()}
        return weights, trainer.global_step, callbacks[4].best, module.results

    return fit


def assert_equal(run, other):
    assert run[1:] == other[1:]
    assert all(torch.equal(run[0][name], value) for name, value in other[0].items())


@pytest.mark.parametrize("options", [{}, {"accumulate_grad_batches": 2}, {"workers": 2}], ids=str)
def test_a_run_that_was_stopped_three_times_anywhere_ends_as_the_undisturbed_one(fit, options):
    undisturbed = fit("undisturbed", **options)
    assert undisturbed[1] == (18 if "accumulate_grad_batches" not in options else 9)
    for hook in PLACES if "workers" not in options else PLACES[:1]:
        for times in (1, 3, 8) if "workers" not in options else (4,):
            name = f"{hook}-{times}"
            runs = [fit(name, LosesPower(hook, times), **options) for _ in range(3)]
            runs.append(fit(name, **options))
            assert_equal(next(filter(None, runs)), undisturbed)


def test_after_an_evaluation_that_is_done_again_the_guard_measures_its_epoch(fit, tmp_path, monkeypatch):
    monkeypatch.setattr("callbacks.checkpoints.SHARE", float("inf"))  # a checkpoint before each evaluation
    undisturbed = fit("undisturbed")
    assert fit("run", LosesPower("on_validation_batch_end", 3)) is None
    assert_equal(fit("run"), undisturbed)
    guarded = torch.load(tmp_path / "run" / "checkpoints" / "before_overfitting.ckpt", weights_only=True)
    assert guarded["epoch"] == 2


@pytest.mark.parametrize("options", [{"max_steps": 1000}, {"max_epochs": -1, "max_steps": 14}], ids=str)
@pytest.mark.parametrize("every", [1, 1000])
def test_so_does_one_that_is_limited_by_its_steps(fit, options, every):
    undisturbed = fit("undisturbed", **options)
    assert undisturbed[1] == min(options["max_steps"], 18)
    for hook, times in (("on_train_batch_start", 2), ("on_train_batch_start", 8), ("on_validation_end", 2)):
        name, checkpoints = f"{hook}{times}", partial(Checkpoints, every_steps=every)
        assert fit(name, LosesPower(hook, times), checkpoints=checkpoints(), **options) is None
        assert_equal(fit(name, checkpoints=checkpoints(), **options), undisturbed)


class Evaluations(Callback):
    def __init__(self):
        self.steps = []

    def on_validation_end(self, trainer, pl_module):
        self.steps.append(trainer.global_step)


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("step", [2, 3, 4, 9])
def test_no_evaluation_inside_an_epoch_is_left_out(fit, every, step):
    class Told(Evaluations):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            if trainer.global_step + 1 == step:
                ending.signum = 15

    def go(watch):
        return fit("run", watch, checkpoints=Checkpoints(every_steps=every), val_check_interval=3)

    first, then = Told(), Evaluations()
    with pytest.raises(Stopped):
        go(first)
    go(then)
    assert first.steps + then.steps == [3, 6, 9, 12, 15, 18]


class Stops(Callback):
    """At step 12; and then power is lost, before the evaluation that is due."""

    def __init__(self, step):
        self.stopped, self.step = None, step

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        trainer.should_stop = trainer.should_stop or trainer.global_step == self.step

    def on_train_end(self, trainer, pl_module):
        if self.step:
            raise RuntimeError("lost power")


def test_what_a_callback_has_stopped_stays_stopped_unless_it_is_given_more(fit):
    options = {"max_epochs": 8, "check_val_every_n_epoch": 4}
    assert fit("run", Stops(12), **options) is None
    _, steps, _, results = fit("run", Stops(None), **options)
    assert steps == 12 and results["clean"]["samples"] == 5, "and is evaluated"
    assert fit("run", Stops(None), **options | {"max_epochs": 12})[1] == 72


def test_checkpoints_that_come_seldom_lose_time_and_nothing_else(fit):
    undisturbed = fit("undisturbed")
    seldom = partial(Checkpoints, every_steps=4)
    assert fit("run", LosesPower("on_train_batch_end", 11), checkpoints=seldom()) is None
    assert_equal(fit("run", checkpoints=seldom()), undisturbed)


def test_with_another_batch_size_the_epoch_goes_on_with_the_samples_it_has_left(fit, tmp_path):
    class Seen(Callback):
        def __init__(self):
            self.index, self.rates = [], []

        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            self.index.append((trainer.current_epoch, batch_idx, batch["index"].tolist()))
            self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    class SeenThenLost(Seen):
        def on_train_batch_end(self, *_):
            if len(self.index) == 9:
                raise RuntimeError("lost power")

    first, then = SeenThenLost(), Seen()
    assert fit("run", first) is None  # in the third of six batches of 4, in the second epoch
    assert fit("run", then, batch_size=2)
    kept = [i for epoch, _, index in first.index[:8] if epoch == 1 for i in index]
    rest = [i for epoch, _, index in then.index if epoch == 1 for i in index]
    assert len(kept) == 8 and len(rest) == 18 and sorted(kept + rest) == list(range(26))
    assert [(epoch, batch) for epoch, batch, _ in then.index][:1] == [(1, 4)], "of 13 batches of 2"
    steps = 3 * 13
    expected = [0.1 * (1 - step / steps) for step in range(13 + 4, steps)]
    assert then.rates == pytest.approx(expected), "and its schedule comes to its end"


def test_a_run_keeps_its_seed(fit, monkeypatch, tmp_path):
    undisturbed = fit("undisturbed")
    assert fit("run", LosesPower("on_train_batch_end", 9)) is None
    monkeypatch.setenv("PL_GLOBAL_SEED", "4")
    with pytest.warns(UserWarning, match="begun with seed 3, which is kept; not 4"):
        resumed = fit("run")
    assert_equal(resumed, undisturbed)


def test_a_loader_with_an_order_of_its_own_is_told(make_trainer, noise_loader, pixel_network, tmp_path):
    def go(*trouble):
        trainer = make_trainer(
            callbacks=[ExactResume(), EvaluationDue(), Checkpoints(every_steps=1), *trouble],
            enable_checkpointing=True,
            plugins=[WholeFiles()],
        )
        last = tmp_path / "checkpoints" / "last.ckpt"
        trainer.fit(Classifier(pixel_network), noise_loader(2), ckpt_path=last if last.is_file() else None)

    with pytest.raises(RuntimeError, match="lost power"):
        go(LosesPower("on_train_batch_start", 3))
    with pytest.warns(UserWarning, match="the training loader has an order of its own"):
        go()


def test_batch_sizes_may_change_again_and_again(fit):
    class Seen(Callback):
        def __init__(self, last=None):
            self.index, self.last = [], last

        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            if trainer.current_epoch == 0:
                self.index += batch["index"].tolist()

        def on_train_batch_end(self, *_):
            if len(self.index) == self.last:
                ending.signum = 15

    parts = [Seen(6), Seen(4), Seen(4), Seen()]
    for part, batch_size in zip(parts, (3, 4, 4, 1), strict=True):
        ending.begin()
        if part.last:
            with pytest.raises(Stopped):
                fit("run", part, batch_size=batch_size)
        else:
            assert fit("run", part, batch_size=batch_size)
    assert sorted(i for part in parts for i in part.index) == list(range(26))

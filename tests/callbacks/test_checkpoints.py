import os
import signal
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from attacks import PGD, Linf
from callbacks import Attack, Checkpoints, EvaluationDue
from callbacks.interruption import Stopped, ending
from callbacks.whole_files import WholeFiles
from lightning_modules import Classifier

NEVER = 1e-12
"""A share of the time in which no checkpoint can be written."""


class At(Callback):
    """Does something at a step's beginning or in an evaluation."""

    def __init__(self, action, step=None, hook="on_train_batch_start"):
        def come_by(trainer, *_, **__):
            if not trainer.sanity_checking and step in (None, trainer.global_step):
                action(trainer)

        setattr(self, hook, come_by)


def raise_error(_):
    raise RuntimeError("lost power")


def send(number):
    return lambda _: os.kill(os.getpid(), number)


@pytest.fixture
def fit(make_trainer, noise_loader, pixel_network):
    """Six epochs of four steps."""

    def fit(*others, checkpoints=None, network=pixel_network, **options):
        trainer = make_trainer(
            callbacks=[
                EvaluationDue(),
                Attack(None, {"pgd": PGD(Linf(0.1), 1)}),
                *others,
                checkpoints or Checkpoints(),
            ],
            enable_checkpointing=True,
            plugins=[WholeFiles()],
            **{"max_epochs": 6, **options},
        )
        trainer.fit(Classifier(network), noise_loader(2), noise_loader(2))
        return trainer

    return fit


def steps(folder):
    return {path.stem: torch.load(path, weights_only=True)["global_step"] for path in folder.glob("checkpoints/*.ckpt")}


def test_the_last_two_are_kept(fit, tmp_path, monkeypatch):
    monkeypatch.setattr("callbacks.checkpoints.SHARE", NEVER)
    fit()
    assert steps(tmp_path) == {"last": 24, "previous": 20}


def test_an_error_keeps_nothing_that_is_no_whole_step(fit, tmp_path):
    with pytest.raises(RuntimeError, match="lost power"):
        fit(At(raise_error, step=7), checkpoints=Checkpoints(every_steps=2))
    assert steps(tmp_path) == {"last": 6, "previous": 4}
    with pytest.raises(RuntimeError, match="lost power"):
        fit(At(raise_error, step=0))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_signal_ends_the_run_after_the_step(fit, tmp_path, number):
    before = signal.getsignal(number)
    with pytest.raises(Stopped) as stopped:
        fit(At(send(number), step=6))
    assert stopped.value.code == 128 + number
    assert steps(tmp_path)["last"] == 7
    after = signal.getsignal(number)
    assert after == (signal.SIG_IGN if number == signal.SIGUSR1 and before == signal.SIG_DFL else before)
    signal.signal(number, before)


@pytest.mark.parametrize("worth", [NEVER, float("inf")], ids=["kept then", "kept before"])
def test_in_an_evaluation_it_ends_at_once_and_the_evaluation_is_due(fit, tmp_path, monkeypatch, worth):
    monkeypatch.setattr("callbacks.checkpoints.SHARE", worth)
    evaluated = []
    watch = At(lambda trainer: evaluated.append(trainer.global_step), hook="on_validation_batch_end")
    with pytest.raises(Stopped):
        fit(watch, At(send(signal.SIGTERM), step=8, hook="on_validation_batch_start"))
    assert 8 not in evaluated and 4 in evaluated
    assert steps(tmp_path)["last"] == 8
    last = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]["current"]["completed"] == 0


def test_after_the_last_step_there_is_nothing_to_end(fit, tmp_path):
    fit(At(send(signal.SIGTERM), step=24, hook="on_train_epoch_end"))
    assert steps(tmp_path)["last"] == 24


def test_half_gathered_gradients_are_no_state(fit, tmp_path):
    with pytest.raises(Stopped):
        fit(At(send(signal.SIGTERM), step=3), accumulate_grad_batches=2)
    last = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["global_step"] == 4
    assert last["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]["processed"] % 2 == 0


def test_the_time_of_a_job_is_up(fit, tmp_path):
    ending.limit("00:00:00:00")
    with pytest.raises(Stopped) as stopped:
        fit(num_sanity_val_steps=0)
    assert stopped.value.code == 0 and steps(tmp_path)["last"] == 1
    ending.limit({"hours": 24})
    assert not ending.told


def test_inside_epochs_they_come_by_the_clock_and_cost_little(fit, tmp_path, monkeypatch):
    written = []
    watch = At(lambda trainer: written.append(trainer.global_step), hook="on_save_checkpoint")
    monkeypatch.setattr("callbacks.checkpoints.SHARE", NEVER)
    fit(watch, checkpoints=Checkpoints(every_minutes=1e-9), max_epochs=1)
    assert written == [1, 4], "none that would cost more, once it is known what one costs"
    monkeypatch.setattr("callbacks.checkpoints.SHARE", float("inf"))
    fit(watch, checkpoints=Checkpoints(every_minutes=1e-9), max_epochs=1)
    assert written[2:] == [1, 2, 3, 4, 4]
    fit(watch, checkpoints=Checkpoints(every_minutes=60), max_epochs=1)
    assert written[7:] == [4, 4], "before and after the evaluation"


class Measured(Classifier):
    """Its accuracy under attack rises and falls."""

    VALUES = (0.2, 0.5, 0.3, 0.5, 0.6, 0.1)

    def report(self, stage, version, values):
        epoch = self.trainer.current_epoch
        super().report(stage, version, {**values, "accuracy": torch.tensor(self.VALUES[epoch])})


@pytest.mark.parametrize(("best", "epoch"), [("val/pgd/accuracy", 4), ("val/clean/loss", None)])
def test_the_best_is_kept(make_trainer, noise_loader, pixel_network, tmp_path, best, epoch):
    losses = []
    watch = At(
        lambda trainer: losses.append(trainer.lightning_module.results["clean"]["loss"]), hook="on_validation_end"
    )
    trainer = make_trainer(
        callbacks=[EvaluationDue(), watch, Attack(None, {"pgd": PGD(Linf(0.1), 1)}), Checkpoints(best=best)],
        enable_checkpointing=True,
        max_epochs=6,
    )
    trainer.fit(Measured(pixel_network), noise_loader(2), noise_loader(2))
    kept = torch.load(tmp_path / "checkpoints" / "best.ckpt", weights_only=True)
    epoch = losses.index(min(losses)) if epoch is None else epoch
    assert kept["global_step"] == 4 * (epoch + 1)
    expected = min(losses) if best.endswith("loss") else 0.6
    last = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["callbacks"]["Checkpoints"] == {"best": best, "best_score": pytest.approx(expected)}


def test_a_metric_that_is_none_is_told_before_training(fit):
    with pytest.raises(
        MisconfigurationException, match=r"checkpoints.best: no metric val/pgd/miuo; there are .*val/pgd/miou"
    ):
        fit(At(raise_error), checkpoints=Checkpoints(best="val/pgd/miuo"))
    with pytest.raises(MisconfigurationException, match="best: val/fgsm/accuracy: evaluated are clean, pgd"):
        fit(At(raise_error), checkpoints=Checkpoints(best="val/fgsm/accuracy"), num_sanity_val_steps=0)


def test_weights_that_are_not_finite_replace_none(fit, tmp_path, pixel_network):
    def spoil(trainer):
        torch.nn.init.constant_(trainer.lightning_module.network[4].bias, float("inf"))

    with pytest.warns(UserWarning, match=r"last.ckpt stays as it is: the weights are not finite"):
        fit(
            At(spoil, step=3, hook="on_train_batch_end"),
            checkpoints=Checkpoints(every_steps=1),
            limit_val_batches=0,
            max_epochs=1,
        )
    assert steps(tmp_path)["last"] == 2


def test_a_place_that_is_none_is_told_before_training(fit, tmp_path):
    (tmp_path / "checkpoints").write_text("a file")
    with pytest.raises(OSError, match="checkpoints"):
        fit(At(raise_error))


def test_the_dashboard_is_told_that_the_run_goes_on_and_has_not_failed(fit, monkeypatch):
    told = []
    monkeypatch.setattr("callbacks.checkpoints.mark_preempting", told.append)
    with pytest.raises(RuntimeError, match="lost power"):
        fit(At(raise_error, step=2))
    assert not told
    with pytest.raises(Stopped):
        fit(At(send(signal.SIGUSR1), step=2))
    assert len(told) == 1


def test_it_waits_for_nobody(fit, monkeypatch):
    """In an error or after a signal: the process that it would wait for may never come."""

    def barrier(self, name=None):
        assert name != "Trainer.save_checkpoint"

    monkeypatch.setattr("lightning.pytorch.strategies.SingleDeviceStrategy.barrier", barrier)
    with pytest.raises(Stopped):
        fit(At(send(signal.SIGTERM), step=2))


@pytest.mark.parametrize("option", [{"every_minutes": 0}, {"every_steps": -1}])
def test_a_number_that_is_none_is_refused(option):
    with pytest.raises(ValueError, match=r"checkpoints: every_\w+=.*: a number above 0"):
        Checkpoints(**option)


def test_what_only_one_process_knows_makes_nobody_wait(monkeypatch):
    """A signal that comes while a checkpoint is written waits for the next step: the others do not know of it."""
    monkeypatch.setattr("torch.distributed.all_reduce", lambda *_: None)
    monkeypatch.setattr("torch.distributed.barrier", lambda *_: pytest.fail("nobody comes"))
    kept = []

    class Signalled(Checkpoints):
        def _keep(self, *_):
            kept.append(True)
            ending.signum = signal.SIGUSR1

    loop = SimpleNamespace(
        _should_accumulate=lambda: False, epoch_loop=SimpleNamespace(_num_ready_batches_reached=lambda: False)
    )
    trainer = SimpleNamespace(fit_loop=loop, world_size=2, global_step=1, is_global_zero=True)
    Signalled(every_steps=1).on_train_batch_end(trainer, None, None, None, 0)
    assert kept
    monkeypatch.setattr("torch.distributed.barrier", lambda *_: None)
    with pytest.raises(Stopped):
        Signalled(every_steps=1).on_train_batch_end(trainer, None, None, None, 1)

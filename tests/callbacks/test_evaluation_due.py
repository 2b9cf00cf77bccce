import pytest
import torch
from lightning.pytorch import Callback

from callbacks import Attack, Checkpoints, EvaluationDue
from lightning_modules import Classifier


class Log(Callback):
    """Which samples were evaluated, in which epoch, by call; an evaluation may be ended at its second batch."""

    def __init__(self, end_in=None):
        self.end_in, self.found = end_in, []

    def on_validation_start(self, trainer, pl_module):
        self.found.append((trainer.current_epoch, []))

    def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx):
        if self.end_in == trainer.current_epoch and batch_idx == 1:
            raise RuntimeError("lost power")
        self.found[-1][1].extend(batch["index"].tolist())


EVERY = list(range(7))


@pytest.fixture
def fit(make_trainer, noise_loader, pixel_network, tmp_path, monkeypatch):
    monkeypatch.setattr("callbacks.checkpoints.SHARE", float("inf"))  # before each evaluation, however short

    def fit(log, resume=False, others=(), **options):
        torch.manual_seed(0)
        callbacks = [log, *others, EvaluationDue(), Attack(), Checkpoints()]
        quiet = {"num_sanity_val_steps": 0, "enable_checkpointing": True, "max_epochs": 3}
        trainer = make_trainer(callbacks=callbacks, **quiet | options)
        module = Classifier(pixel_network)
        trainer.fit(
            module,
            noise_loader(2),
            noise_loader(2),
            ckpt_path=tmp_path / "checkpoints" / "last.ckpt" if resume else None,
        )
        return trainer, module

    return fit


@pytest.mark.parametrize("epoch", [0, 2])
def test_an_evaluation_that_was_interrupted_is_done_again_and_nothing_is_trained_twice(fit, epoch):
    whole, log = Log(), Log(end_in=epoch)
    _, expected = fit(whole)
    assert whole.found == [(0, EVERY), (1, EVERY), (2, EVERY)], "and no more than these"
    with pytest.raises(RuntimeError, match="lost power"):
        fit(log)
    again = Log()
    trainer, module = fit(again, resume=True)
    assert again.found == whole.found[epoch:]
    assert trainer.global_step == 12 and module.results.keys() == expected.results.keys()
    assert module.results["clean"]["samples"] == 7


class StopAfter(Callback):
    def __init__(self, steps):
        self.steps = steps

    def on_train_epoch_end(self, trainer, pl_module):
        trainer.should_stop = trainer.global_step >= self.steps


def test_a_network_that_stops_between_evaluations_is_evaluated(fit):
    log = Log()
    fit(log, others=[StopAfter(8)], check_val_every_n_epoch=3)
    assert log.found == [(1, EVERY)]


@pytest.mark.parametrize("steps", [6, 8])
def test_so_is_one_that_ends_by_its_steps(fit, steps):
    log = Log()
    trainer, module = fit(log, max_steps=steps)
    assert trainer.global_step == steps and log.found == [(0, EVERY), (1, EVERY)]
    assert module.results["clean"]["samples"] == 7


@pytest.mark.parametrize("options", [{}, {"max_epochs": -1, "max_steps": 12}], ids=["epochs", "steps"])
def test_where_nothing_is_left_to_train_the_evaluation_still_is(fit, options):
    fit(Log(), **options)
    log = Log()
    trainer, module = fit(log, resume=True, **options)
    assert log.found == [(2, EVERY)] and trainer.global_step == 12
    assert module.results["clean"]["samples"] == 7
    assert (trainer.max_epochs, trainer.max_steps) == (options.get("max_epochs", 3), options.get("max_steps", -1))


def test_a_run_that_asks_for_no_evaluation_has_none(fit):
    log = Log()
    fit(log, limit_val_batches=0)
    assert log.found == []

from types import SimpleNamespace

from lightning.pytorch.callbacks import EarlyStopping

from callbacks import EMA, OverfittingGuard
from callbacks.stopping import why_stopped


def test_the_first_callback_with_a_reason_says_why():
    guard, early = OverfittingGuard(), EarlyStopping("val/clean/loss")
    trainer = SimpleNamespace(callbacks=[EMA(), early, guard])
    assert why_stopped(trainer) is None
    guard.stopped = "overfitting"
    assert why_stopped(trainer) == "overfitting"
    early.stopped_epoch, early.stopping_reason_message = 2, "did not improve"
    assert why_stopped(trainer) == "did not improve"


def test_what_others_mean_by_stopped_is_no_reason():
    assert why_stopped(SimpleNamespace(callbacks=[SimpleNamespace(stopped=True)])) is None

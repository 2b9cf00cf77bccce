import json
import math
import os
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.loggers.logger import DummyLogger
from torch import nn

from attacks import FGSM, L2, PGD, Linf
from callbacks import Attack, Checkpoints, Divergence, Results
from callbacks.divergence import BLOCK
from lightning_modules import Classifier
from lightning_modules.losses import CrossEntropyLoss

KEPT = "checkpoints/before_divergence.ckpt"


class Sudden:
    """A loss that is multiplied from some call of it on, with the gradient of cross-entropy."""

    def __init__(self, factor, call, plus=0.0):
        self.factor, self.call, self.plus, self.calls = factor, call, plus, 0

    def __call__(self, network, batch):
        self.calls += 1
        loss = CrossEntropyLoss()(network, batch)
        return loss * self.factor + self.plus if self.calls > self.call else loss


class Weights(Callback):
    """Of the start of each step."""

    def __init__(self):
        self.seen = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.seen.append(pl_module.network.weight.detach().clone())


def classifier(loss=None, lr=0.1):
    torch.manual_seed(0)
    return Classifier(nn.Conv2d(3, 3, 1), loss, optimizer=lambda p: torch.optim.SGD(p, lr=lr, momentum=0.9))


def read(folder):
    return json.loads((folder / "results.json").read_text())


@pytest.mark.parametrize(("factor", "plus"), [(math.nan, 0.0), (math.inf, 0.0), (1.0, math.inf), (0.0, math.nan)])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_what_is_no_number_is_not_trained_on(make_trainer, noise_loader, tmp_path, factor, plus, accumulate):
    """Also where only the loss is none, and its gradient would be one."""
    weights, guard, module = Weights(), Divergence(), classifier(Sudden(factor, 7, plus))
    options = {"accumulate_grad_batches": accumulate, "max_epochs": 9, "val_check_interval": 3}
    trainer = make_trainer(callbacks=[guard, weights, Results()], **options)
    with pytest.warns(UserWarning, match="The run is stopped: the loss or its gradient is no number"):
        trainer.fit(module, noise_loader(1, length=12), noise_loader())
    steps = 7 // accumulate
    measured = "; what was measured is of step 6" if accumulate == 1 else ""
    assert guard.stopped == f"the loss or its gradient is no number at step {steps}{measured}"
    assert torch.equal(module.network.weight, weights.seen[steps * accumulate])
    assert not torch.equal(module.network.weight, weights.seen[0]) and len(weights.seen) == (steps + 1) * accumulate
    found = read(tmp_path)
    assert found["stopped"] == guard.stopped and found["metrics"]["clean"]["samples"] == 7


def test_a_run_that_goes_well_is_the_same_to_the_bit(make_trainer, noise_loader):
    runs = []
    for watched in (True, False):
        module = classifier()
        if not watched:
            module.training_step = lambda batch, _, network=module.network: CrossEntropyLoss()(network, batch).mean()
        trainer = make_trainer(callbacks=[Divergence()] if watched else [], max_epochs=3, gradient_clip_val=0.1)
        trainer.fit(module, noise_loader(2))
        runs.append(module.network.weight)
    assert torch.equal(*runs)


def test_the_gradient_norm_is_that_before_clipping(make_trainer, noise_loader):
    class Scalars(DummyLogger):
        def __init__(self):
            super().__init__()
            self.rows = []

        def log_metrics(self, metrics, step=None):
            self.rows += [(step, metrics["train/gradient_norm"])] if "train/gradient_norm" in metrics else []

    class Gradients(Callback):
        def on_after_backward(self, trainer, pl_module):
            norms.append(math.sqrt(sum(float((w.grad**2).sum()) for w in pl_module.parameters())))

    norms, logger = [], Scalars()
    callbacks = [Divergence(), Gradients()]
    trainer = make_trainer(callbacks=callbacks, logger=logger, log_every_n_steps=2, gradient_clip_val=1e-3)
    trainer.fit(classifier(), noise_loader(1, length=4))
    assert logger.rows == [(1, pytest.approx(norms[1])), (3, pytest.approx(norms[3]))]


def scaled(guard, norms):
    """Steps with a scaler, as on a GPU in 16 bits, whose gradients have these norms."""
    network = nn.Linear(1, 1, bias=False)
    module = SimpleNamespace(parameters=network.parameters)
    loop = SimpleNamespace(batch_idx=0, _batches_that_stepped=0, min_steps=None)
    trainer = SimpleNamespace(
        precision_plugin=SimpleNamespace(scaler=object()),
        strategy=torch.nn.Module(),
        fit_loop=SimpleNamespace(epoch_loop=loop, min_epochs=None),
        log_every_n_steps=0, is_last_batch=False, accumulate_grad_batches=1,
        global_step=0, should_stop=False, callbacks=[],
    )  # fmt: skip
    trainer.strategy.reduce = lambda value, reduce_op: value
    for norm in norms:
        network.weight.grad = torch.tensor([[norm]])
        guard.on_before_optimizer_step(trainer, module, torch.optim.SGD(network.parameters()))
        assert network.weight.grad is not None, "the scaler leaves the step out"
    return trainer.should_stop


def test_in_16_bits_steps_are_skipped_now_and_then():
    assert not scaled(Divergence(), [math.inf] * 19 + [1.0] + [math.nan] * 19)
    guard = Divergence()
    with pytest.warns(UserWarning, match="no number for 20 steps"):
        assert scaled(guard, [math.inf] * 20)


def blocks(*means, classes=10):
    """A guard that has seen these averages of the loss."""
    guard = Divergence()
    loop = SimpleNamespace(min_epochs=None, epoch_loop=SimpleNamespace(min_steps=None))
    data = SimpleNamespace(classes=["a"] * classes)
    trainer = SimpleNamespace(datamodule=data, global_step=0, fit_loop=loop, callbacks=[])
    for mean in means:
        trainer.global_step += BLOCK
        guard._look_at_loss(trainer, mean)
    return guard


USUAL = {
    "a loss that falls": [2.3 * 0.9**n for n in range(60)],
    "eps that grows from 0": [0.01 + 2 * n / 100 for n in range(100)],
    "rates that start again": ([0.05] * 20 + [2.0] * 3) * 5,
    "the first steps overshoot": [2.3, 80.0, 60.0, 40.0, 2.2, 2.0],
    "a spike": [1.0] * 10 + [1e4] * 3 + [1.0] * 10,
    "large from the start, in units of its own": [5e4, 4.9e4, 4.8e4] * 10,
    "training data known by heart, then more of them": [1e-6] * 30 + [1.5] * 30,
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", USUAL)
def test_no_false_alarm(name):
    assert blocks(*USUAL[name]).stopped is None


@pytest.mark.parametrize(
    ("means", "told"),
    [
        ([2.3, 1.5] + [30.0] * 4, "exploded: 30 by step 300, and 2.303 is usual"),
        ([5e4] * 30 + [6e5, 7e5, 8e5, math.inf], "exploded: inf by step 1700, and 5e+04 is usual"),
        ([2.3] * 3 + [math.nan] * 4, "exploded: nan"),
    ],
)
@pytest.mark.filterwarnings("ignore:The run is stopped")
def test_an_explosion(means, told):
    assert told in blocks(*means).stopped
    assert blocks(*means[:-1]).stopped is None


def test_a_loss_that_explodes_ends_the_run(make_trainer, noise_loader, tmp_path):
    guard, module = Divergence(), classifier(Sudden(1e3, 150), lr=0.0)
    last = Checkpoints()
    options = {"max_epochs": 9, "enable_checkpointing": True, "check_val_every_n_epoch": 2}
    with pytest.warns(UserWarning, match="the training loss exploded"):
        make_trainer(callbacks=[guard, last, Results()], **options).fit(
            module, noise_loader(1, length=50), noise_loader()
        )
    assert "by step 350" in guard.stopped and "what was measured is of step 300" in guard.stopped
    kept = torch.load(tmp_path / KEPT, weights_only=True)
    assert f"before_divergence.ckpt has the weights of step {kept['global_step']}" in guard.stopped
    assert kept["global_step"] == 100, "the evaluation after step 200 was during the explosion"
    assert read(tmp_path)["stopped"] == guard.stopped
    assert torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 350 - BLOCK


BALL = Linf(0.1)


TRAIN, EVALUATE = FGSM(BALL), PGD(BALL, 1)


def measured(make_trainer, *values, train=TRAIN, evaluate=EVALUATE, key="accuracy", samples=100, classes=10):
    """A guard that has seen these, of one evaluation after the other."""
    guard = Divergence()
    trainer = make_trainer(callbacks=[Attack(train, {"pgd": evaluate}), guard])
    trainer.datamodule = SimpleNamespace(classes=["a"] * classes)
    for value in values:
        if not guard.stopped:
            guard.on_validation_end(
                trainer, SimpleNamespace(results={"clean": {key: 0.9}, "pgd": {key: value, "samples": samples}})
            )
    assert trainer.should_stop == (guard.stopped is not None)
    return guard


@pytest.mark.filterwarnings("ignore:The run is stopped")
@pytest.mark.parametrize("key", ["accuracy", "miou"])
def test_a_collapse_of_robust_accuracy(make_trainer, key):
    guard = measured(make_trainer, 0.3, 0.4, 0.45, 0.12, 0.01, 0.5, key=key)
    assert guard.stopped == f"val/pgd/{key} collapsed from 0.400 to 0.010 by step 0"
    assert measured(make_trainer, 0.8, 0.9, 0.5, 0.5, key=key, classes=2).stopped


@pytest.mark.parametrize(
    ("values", "options"),
    [
        ((0.3, 0.45, 0.01, 0.44, 0.01, 0.4), {}),  # once is no collapse
        ((0.45, 0.4, 0.25, 0.2, 0.15), {}),  # that is for OverfittingGuard
        ((0.15, 0.15, 0.01, 0.01, 0.0), {}),  # it never was good
        ((0.45, 0.01, 0.01, 0.01), {}),  # it was good once
        ((0.6, 0.6, 0.5, 0.5), {"classes": 2}),  # nor was that
        ((0.45, 0.45, 0.01, 0.01), {"samples": 99}),  # on images that are too few
        ((0.45, 0.45, 0.0, 0.0), {"train": None}),  # standard training unlearns it
        ((0.45, 0.45, 0.0, 0.0), {"evaluate": PGD(Linf(0.2), 1)}),  # it is not what it defends against
        ((0.45, 0.45, 0.0, 0.0), {"evaluate": PGD(L2(0.1), 1)}),
        ((0.45, 0.45, 0.0, 0.0), {"evaluate": lambda network, image, label, seed=None, region=None: image}),
    ],
)
def test_no_collapse(make_trainer, values, options):
    assert measured(make_trainer, *values, **options).stopped is None


def test_what_it_has_seen_survives_a_resume(make_trainer, noise_loader, tmp_path):
    """The loss explodes before the run is interrupted, for the rest of the time after that."""
    guard, module = Divergence(), classifier(Sudden(1e3, 90), lr=0.0)
    first = make_trainer(callbacks=[guard], max_epochs=1)
    first.fit(module, noise_loader(1, length=175))
    first.save_checkpoint(tmp_path / "some.ckpt")
    assert torch.load(tmp_path / "some.ckpt", weights_only=True)["callbacks"]["Divergence"]["above"] == 2
    again = Divergence()
    with pytest.warns(UserWarning, match="exploded"):
        make_trainer(callbacks=[again], max_epochs=2).fit(
            classifier(Sudden(1e3, 0), lr=0.0), noise_loader(1, length=175), ckpt_path=tmp_path / "some.ckpt"
        )
    assert "by step 250" in again.stopped
    assert again.state_dict()["usual"] == guard.state_dict()["usual"]


@pytest.mark.parametrize("links", [True, False])
def test_the_checkpoint_of_the_last_evaluation_is_kept(make_trainer, noise_loader, tmp_path, monkeypatch, links):
    if not links:
        monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(PermissionError()))
    last, guard = Checkpoints(), Divergence()
    trainer = make_trainer(callbacks=[guard, last], enable_checkpointing=True, max_epochs=3)
    trainer.fit(classifier(), noise_loader(), noise_loader())
    kept, newest = tmp_path / KEPT, tmp_path / "checkpoints" / "last.ckpt"
    assert torch.load(kept, weights_only=True)["global_step"] == 4
    assert torch.load(newest, weights_only=True)["global_step"] == 6
    assert {path.name for path in kept.parent.iterdir()} == {"last.ckpt", "previous.ckpt", "before_divergence.ckpt"}


def test_without_a_checkpoint_there_is_nothing_to_keep(make_trainer, noise_loader, tmp_path):
    make_trainer(callbacks=[Divergence()], max_epochs=2).fit(classifier(), noise_loader(), noise_loader())
    assert not (tmp_path / "checkpoints").exists()


def test_the_step_of_the_weights_it_keeps_is_known_after_a_resume(make_trainer, noise_loader, tmp_path):
    def go(epochs, **options):
        guard = Divergence()
        trainer = make_trainer(callbacks=[guard], max_epochs=epochs)
        trainer.fit(classifier(lr=0.0), noise_loader(1, length=4), noise_loader(1, length=2), **options)
        return guard, trainer

    _, trainer = go(1)
    trainer.save_checkpoint(tmp_path / "some.ckpt")
    assert go(2, ckpt_path=tmp_path / "some.ckpt")[0]._kept == 4

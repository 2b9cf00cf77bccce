import json
import os
import socket
import time
from types import SimpleNamespace

import pytest
import torch
from clock import Clock
from lightning.pytorch import Callback
from torch import nn

from attacks import FGSM, Linf
from callbacks import Attack, Inpainting, OverfittingGuard, Progress
from callbacks.progress import Pace, evaluations_left, steps_of
from lightning_modules import Classifier


class Spy(Callback):
    """Reads what the file says at a hook."""

    def __init__(self, folder):
        self.path, self.seen = folder / "progress.json", []

    def see(self):
        self.seen.append(json.loads(self.path.read_text()))

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.see()

    def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0):
        self.see()

    on_test_batch_start = on_validation_batch_start

    def on_validation_epoch_end(self, trainer, pl_module):
        self.see()

    def on_train_start(self, trainer, pl_module):
        self.see()


@pytest.fixture
def progress(monkeypatch):
    """One that writes whenever it can."""
    monkeypatch.setattr(Progress, "every", -1.0)
    return Progress()


def read(folder):
    return json.loads((folder / "progress.json").read_text())


def small():
    return Classifier(nn.Conv2d(3, 3, 1), optimizer=lambda p: torch.optim.SGD(p, lr=0.1))


def test_it_says_where_a_fit_is_all_the_time(make_trainer, noise_loader, tmp_path, progress):
    spy, paint = Spy(tmp_path), Inpainting(Linf(0.1), steps=1, step_size=0.1, size=4, samples=1)
    trainer = make_trainer(callbacks=[progress, paint, spy], max_epochs=2)
    trainer.fit(small(), noise_loader(2, length=4), noise_loader(1, length=3))
    states = [seen["state"] for seen in spy.seen]
    epoch = ["training"] * 2 + ["evaluating"] * 3 + ["painting"]
    assert states == ["starting", "starting", "starting", "starting", *epoch, *epoch], "the first two of a sanity check"
    first, second = spy.seen[4:10], spy.seen[10:]
    assert [(seen["epoch"], seen["epochs"], seen["steps"]) for seen in first] == [(1, 2, 4)] * 6
    assert [seen["epoch"] for seen in second] == [2] * 6
    assert [(seen["batch"], seen["batches"]) for seen in first[2:5]] == [(0, 3), (1, 3), (2, 3)]
    assert first[0]["batch"] is None and first[-1]["batches"] is None
    assert set(second[0]["metrics"]) == {"val/clean/accuracy", "val/clean/miou", "val/clean/loss"}
    process = {"pid": os.getpid(), "host": socket.gethostname(), "job": None}
    assert all(seen["process"] == process and abs(seen["written"] - time.time()) < 60 for seen in spy.seen)
    end = read(tmp_path)
    assert (end["state"], end["reason"], end["epoch"], end["step"]) == ("finished", None, 2, 4)
    assert end["seconds_left"] is None and end["images_per_second"] is None
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_it_is_written_seldom(make_trainer, noise_loader, tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr("callbacks.progress.write_whole", lambda path, text: written.append(json.loads(text)["state"]))
    make_trainer(callbacks=[Progress()], num_sanity_val_steps=0).fit(small(), noise_loader(1), noise_loader(1))
    assert written == ["starting", "training", "evaluating", "evaluating", "finished"], "the metrics are news"


def test_time_left_counts_the_evaluations_to_come(make_trainer, noise_loader, tmp_path, progress, monkeypatch):
    """Five steps of 2 s an epoch, in two epochs, and after each an evaluation of three batches of 5 s."""
    clock = Clock()
    monkeypatch.setattr("callbacks.progress.time", clock)

    class Slow(nn.Conv2d):
        def forward(self, image):
            clock.sleep(2 if torch.is_grad_enabled() else 5)
            return super().forward(image)

    spy = Spy(tmp_path)
    trainer = make_trainer(callbacks=[progress, spy], max_epochs=2, num_sanity_val_steps=0)
    trainer.fit(Classifier(Slow(3, 3, 1)), noise_loader(2, length=10), noise_loader(1, length=3))
    left = {(seen["state"], seen["epoch"], seen["step"], seen["batch"]): seen["seconds_left"] for seen in spy.seen}
    assert left["training", 1, 4, None] == pytest.approx(6 * 2), "what an evaluation takes is not known yet"
    assert left["evaluating", 1, 5, 1] == pytest.approx(2 * 5 + 5 * 2 + 15)
    assert left["training", 2, 7, None] == pytest.approx(3 * 2 + 15)
    assert left["evaluating", 2, 10, 2] == pytest.approx(5)
    rates = [seen["images_per_second"] for seen in spy.seen if seen["state"] == "training" and seen["step"] > 1]
    assert rates == pytest.approx([1] * len(rates)), "2 in 2 s"


def test_the_hours_left_are_logged(make_trainer, noise_loader, tmp_path):
    trainer = make_trainer(callbacks=[Progress()], log_every_n_steps=1)
    trainer.fit(small(), noise_loader(1))
    assert 0 <= float(trainer.callback_metrics["speed/hours_left"]) < 0.01


def test_an_evaluation_says_where_it_is_and_what_came_out(make_trainer, noise_loader, tmp_path, progress):
    spy = Spy(tmp_path)
    trainer = make_trainer(callbacks=[progress, Attack(evaluate={"fgsm": FGSM(Linf(0.1))}), spy])
    trainer.test(small(), noise_loader(1, length=3), verbose=False)
    assert [(seen["batch"], seen["batches"], seen["step"]) for seen in spy.seen] == [(i, 3, None) for i in range(3)]
    assert spy.seen[2]["seconds_left"] >= 0 and spy.seen[2]["images_per_second"] > 0
    end = read(tmp_path)
    assert (end["state"], end["command"]) == ("finished", "test")
    assert "test/fgsm/miou" in end["metrics"]


def test_why_a_run_ended(make_trainer, noise_loader, tmp_path):
    class Stops(OverfittingGuard):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            self.stopped, trainer.should_stop = "it was enough", True

    class Raises(Callback):
        def __init__(self, error):
            self.error = error

        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            raise self.error

    make_trainer(callbacks=[Progress(), Stops()]).fit(small(), noise_loader())
    assert (read(tmp_path)["state"], read(tmp_path)["reason"]) == ("stopped", "it was enough")
    for error, state, reason in (
        (ValueError("no\nluck"), "failed", "ValueError: no luck"),
        (KeyboardInterrupt(), "interrupted", "SIGINT"),
        (SystemExit(143), "interrupted", "SIGTERM"),
        (SystemExit(0), "interrupted", "its time is up"),
        (SystemExit(3), "interrupted", "SystemExit: 3"),
    ):
        with pytest.raises((ValueError, SystemExit)):
            make_trainer(callbacks=[Progress(), Raises(error)]).fit(small(), noise_loader())
        assert (read(tmp_path)["state"], read(tmp_path)["reason"]) == (state, reason)


def test_a_checkpoint_is_told_and_an_interrupted_run_stays_so(make_trainer, noise_loader, tmp_path):
    class Saves(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            if batch_idx == 1:
                trainer.save_checkpoint(tmp_path / "some.ckpt")
                states.append(read(tmp_path)["state"])

        def on_exception(self, trainer, pl_module, exception):
            trainer.save_checkpoint(tmp_path / "some.ckpt")

        def on_train_end(self, trainer, pl_module):
            raise SystemExit

    states: list[str] = []
    with pytest.raises(SystemExit):
        make_trainer(callbacks=[Progress(), Saves()]).fit(small(), noise_loader(2, length=8))
    found = read(tmp_path)
    assert states == ["saving"] and found["state"] == "interrupted"
    assert found["checkpoint"]["step"] == 4 and abs(found["checkpoint"]["time"] - time.time()) < 60


def test_a_resumed_run_knows_what_it_measured_before(make_trainer, noise_loader, tmp_path):
    make_trainer(callbacks=[Progress()]).fit(small(), noise_loader(), noise_loader())
    before, spy = read(tmp_path), Spy(tmp_path)
    make_trainer(callbacks=[Progress(), spy]).fit(small(), noise_loader(), noise_loader())
    assert before["metrics"] and spy.seen[0]["metrics"] == before["metrics"]
    assert spy.seen[0]["seconds_per_evaluation"] == before["seconds_per_evaluation"] > 0


@pytest.mark.parametrize("content", [b"", b"[1]", b'{"state": 3}', "folder"])
def test_what_lies_there_is_no_hindrance(make_trainer, noise_loader, tmp_path, content):
    path = tmp_path / "progress.json"
    path.mkdir() if content == "folder" else path.write_bytes(content)
    make_trainer(callbacks=[Progress()]).fit(small(), noise_loader(), noise_loader())
    if content != "folder":
        assert read(tmp_path)["state"] == "finished"


def test_steps_and_evaluations():
    trainer = SimpleNamespace(max_steps=-1, max_epochs=3, num_training_batches=10, accumulate_grad_batches=4)
    assert steps_of(trainer) == 9
    trainer.max_steps = 5
    assert steps_of(trainer) == 5
    trainer.max_steps, trainer.num_training_batches = -1, float("inf")
    assert steps_of(trainer) is None
    trainer.val_check_batch, trainer.check_val_every_n_epoch, trainer.enable_validation = 10, 2, True
    assert [evaluations_left(trainer, steps) for steps in (0, 1, 6, 7)] == [0, 1, 1, 2]
    trainer.val_check_batch, trainer.check_val_every_n_epoch = 4, None
    assert evaluations_left(trainer, 5) == 5
    trainer.enable_validation = False
    assert evaluations_left(trainer, 5) == 0


def test_the_pace_forgets():
    pace = Pace()
    for _ in range(100):
        pace.add(1.0, 8)
    assert (pace.seconds, pace.images) == pytest.approx((1, 8))
    for _ in range(500):
        pace.add(3.0, 8)
    assert pace.seconds == pytest.approx(3, rel=0.01)

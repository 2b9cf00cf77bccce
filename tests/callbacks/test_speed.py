import time

import pytest
import torch
from clock import Clock
from lightning.pytorch.loggers.logger import DummyLogger
from lightning.pytorch.profilers import SimpleProfiler
from torch import nn

from callbacks import Attack, Speed
from lightning_modules import Classifier


class Scalars(DummyLogger):
    def __init__(self):
        super().__init__()
        self.rows = []

    def log_metrics(self, metrics, step=None):
        self.rows.append(metrics)


def test_speed_and_the_attacks_share_are_logged(make_trainer, noise_loader):
    def slow(network, image, label, seed=None, region=None):
        time.sleep(0.06)
        return image

    class Slow(nn.Conv2d):
        def forward(self, image):
            time.sleep(0.02)
            return super().forward(image)

    logger = Scalars()
    trainer = make_trainer(callbacks=[Speed(), Attack(slow)], logger=logger, log_every_n_steps=2)
    trainer.fit(Classifier(Slow(3, 3, 1)), noise_loader(2, length=8))
    rows = [row for row in logger.rows if "speed/attack_share" in row]
    assert len(rows) == 2
    for row in rows:
        assert 0 <= row["speed/data_share"] < 0.3 and 0.01 < row["speed/memory_gib"] < 64
        assert 0.5 < row["speed/attack_share"] < 0.9
        assert 0 < row["speed/images_per_second"] < 2 / 0.08


def test_without_an_attack_there_is_no_share(make_trainer, noise_loader):
    logger = Scalars()
    network = nn.Conv2d(3, 3, 1)
    make_trainer(callbacks=[Speed(), Attack(None)], logger=logger, log_every_n_steps=1).fit(
        Classifier(network, optimizer=lambda p: torch.optim.SGD(p, lr=0.1)), noise_loader()
    )
    rows = [row for row in logger.rows if "speed/images_per_second" in row]
    assert len(rows) == 2 and all("speed/attack_share" not in row for row in rows)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_waiting_for_data_counts_and_evaluation_does_not(make_trainer, noise_loader, accumulate, monkeypatch):
    """A sample takes 2 s to come, a step 1 s, an evaluation half a minute."""
    clock = Clock()
    monkeypatch.setattr("callbacks.speed.time", clock)
    loader = noise_loader(2, length=8)

    class Slow(type(loader.dataset)):
        def __getitem__(self, index):
            clock.sleep(2)
            return super().__getitem__(index)

    class Conv(nn.Conv2d):
        def forward(self, image):
            clock.sleep(1 if torch.is_grad_enabled() else 30)
            return super().forward(image)

    loader.dataset.__class__ = Slow
    logger = Scalars()
    options = {"max_epochs": 3, "val_check_interval": 2, "num_sanity_val_steps": 0, "log_every_n_steps": 3}
    trainer = make_trainer(callbacks=[Speed()], logger=logger, accumulate_grad_batches=accumulate, **options)
    trainer.fit(Classifier(Conv(3, 3, 1)), loader, noise_loader(4, length=4))
    rows = [row for row in logger.rows if "speed/data_share" in row]
    assert len(rows) == 4 // accumulate
    for row in rows[1:]:  # the first batch is there before training starts
        assert row["speed/data_share"] == pytest.approx(4 / 5, abs=0.01)
        assert row["speed/images_per_second"] == pytest.approx(2 / 5, abs=0.01)
    assert sum("train/loss" in row for row in logger.rows) == len(rows), "at the steps that Lightning logs"


def test_a_profiler_that_is_asked_for_stays(make_trainer, noise_loader):
    logger, profiler = Scalars(), SimpleProfiler()
    make_trainer(callbacks=[Speed()], logger=logger, log_every_n_steps=1, profiler=profiler).fit(
        Classifier(nn.Conv2d(3, 3, 1)), noise_loader()
    )
    assert len(profiler.recorded_durations["run_training_batch"]) == 2
    assert [row for row in logger.rows if "speed/memory_gib" in row and "speed/data_share" not in row]

import time

import torch
from lightning.pytorch.loggers.logger import DummyLogger
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

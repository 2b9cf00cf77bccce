import json
import logging

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import nn
from torch.utils.data import DataLoader

from attacks import L2, PGD, GaussianNoise, Linf
from attacks.seeds import mix
from callbacks import Attack, OverfittingGuard, Results
from lightning_modules import Classifier

ATTACK = PGD(Linf(0.05), steps=1)
KEPT = "checkpoints/before_overfitting.ckpt"


class Threshold(nn.Module):
    """Image labels by the mean of the image: class 1 above the threshold. A robust one lies between the classes."""

    def __init__(self):
        super().__init__()
        self.threshold = nn.Parameter(torch.tensor(0.5))

    def forward(self, image):
        above = 50 * (image.mean((1, 2, 3)) - self.threshold)
        return torch.stack([-above, above], 1)


class Thresholds(Callback):
    """Sets the network's threshold at the end of each epoch's training, as if the epoch had learned it."""

    def __init__(self, *values):
        self.values = values

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        pl_module.network.threshold.data.fill_(self.values[trainer.current_epoch])


def loader(classes=(0.3, 0.7), batch_size=10):
    """Images of each class, spread by less than the attack's eps."""
    values = [(c, 0.02 * i / 10) for i in range(10) for c in (0, 1)]
    samples = [
        {"image": torch.full((3, 4, 4), classes[c] + spread), "label": c, "index": i}
        for i, (c, spread) in enumerate(values)
    ]
    return DataLoader(samples, batch_size)


def fit(make_trainer, *thresholds, callbacks=(), data=None, ckpt_path=None, **options):
    module = Classifier(Threshold(), optimizer=lambda p: torch.optim.SGD(p, lr=0.0))
    options = {"max_epochs": len(thresholds), **options}
    trainer = make_trainer(callbacks=[*callbacks, Thresholds(*thresholds)], **options)
    trainer.fit(module, data or loader(), ckpt_path=ckpt_path)
    return trainer


# Between the classes all are right; at 0.3 half of the pictures, class 0's, are lost; at 0.72 class 1's.


@pytest.mark.parametrize("guard_first", [True, False])
def test_a_run_that_overfits_is_stopped_and_the_weights_before_are_kept(make_trainer, tmp_path, caplog, guard_first):
    guard, attack = OverfittingGuard(), Attack(ATTACK)
    callbacks = [guard, attack, Results()] if guard_first else [attack, Results(), guard]
    with caplog.at_level(logging.INFO, "lightning.pytorch.utilities.rank_zero"):
        trainer = fit(make_trainer, 0.5, 0.45, 0.3, 0.5, callbacks=callbacks)
    assert trainer.current_epoch == 3, "of 4"
    (line,) = [record.getMessage() for record in caplog.records if "catastrophic" in record.getMessage()]
    assert "\n" not in line and "fell from 1.000 to 0.500 in epoch 2" in line and KEPT in line
    assert "PGD(constraint=Linf(eps=0.05), steps=5" in line
    assert guard.stopped in line
    assert json.loads((tmp_path / "results.json").read_text())["stopped"] == guard.stopped
    kept = torch.load(tmp_path / KEPT, weights_only=True)
    assert kept["epoch"] == 1 and kept["state_dict"]["network.threshold"] == torch.tensor(0.45)


def test_a_run_that_does_not_is_left_alone(make_trainer, tmp_path):
    guard, trainer_callbacks = OverfittingGuard(), [Attack(ATTACK), Results()]
    trainer = fit(make_trainer, 0.3, 0.5, 0.6, 0.5, callbacks=[guard, *trainer_callbacks])
    assert trainer.current_epoch == 4 and guard.stopped is None and guard.best == 1
    assert json.loads((tmp_path / "results.json").read_text())["stopped"] is None
    assert torch.load(tmp_path / KEPT, weights_only=True)["epoch"] == 3
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["before_overfitting.ckpt"]


@pytest.mark.parametrize(("drop", "stopped"), [(0.49, True), (0.51, False)])
def test_the_fall_is_measured_from_the_best_so_far(make_trainer, drop, stopped):
    guard = OverfittingGuard(drop=drop)
    fit(make_trainer, 0.5, 0.3, callbacks=[Attack(ATTACK), guard])
    assert (guard.stopped is not None) == stopped


def test_a_slow_fall_counts_as_well(make_trainer):
    """To 0.9, 0.8 and 0.65, of which none is too much by itself."""
    guard = OverfittingGuard(PGD(Linf(0.0), steps=1), drop=0.25)
    falling = [0.5, 0.703, 0.707, 0.713, 0.5]
    trainer = fit(make_trainer, *falling, callbacks=[Attack(ATTACK), guard], data=loader(batch_size=20))
    assert trainer.callback_metrics["overfitting_guard/accuracy"] == pytest.approx(0.65)
    assert "in epoch 3" in guard.stopped and guard.best == 1


def test_the_best_so_far_survives_a_resume(make_trainer, tmp_path):
    fit(make_trainer, 0.5, callbacks=[Attack(ATTACK), OverfittingGuard()])
    guard = OverfittingGuard()
    trainer = fit(make_trainer, 0.5, 0.3, 0.5, callbacks=[Attack(ATTACK), guard], ckpt_path=tmp_path / KEPT)
    assert trainer.current_epoch == 2 and "from 1.000 to 0.500 in epoch 1" in guard.stopped


def test_it_measures_on_the_clean_images_of_the_first_batch_in_float32_and_eval_mode(
    make_trainer, noise_loader, pixel_network
):
    seen = []

    def measuring(network, image, label, seed=None, region=None):
        assert not any(module.training for module in network.modules())
        assert network(image).dtype == torch.float32
        seen.append((image, label, seed))
        return image

    modes = []

    class After(Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            modes.append((pl_module.network.training, int(pl_module.network[1].num_batches_tracked)))

    callbacks = [OverfittingGuard(measuring), Attack(ATTACK), After()]
    trainer = make_trainer(callbacks=callbacks, precision="bf16-mixed", max_epochs=2)
    trainer.fit(Classifier(pixel_network), noise_loader(4))
    data = noise_loader(4).dataset
    assert len(seen) == 2
    for image, label, seed in seen:
        assert torch.equal(image, data.image[:4]) and torch.equal(label, data.label[:4])
        assert torch.equal(seed, mix(0, torch.arange(4)))
    assert modes == [(True, 2), (True, 4)], "the network is left as it was"


def test_void_pixels_count_nowhere(make_trainer, noise_loader):
    network = nn.Conv2d(3, 3, 1)
    data = noise_loader(4)
    expected = []

    def measuring(network, image, label, seed=None, region=None):
        right = (network(image).argmax(1) == label).sum()
        expected.append(float(right / (label != 255).sum()))
        return image

    class Logged(Callback):
        def on_train_end(self, trainer, pl_module):
            logged.append(float(trainer.callback_metrics["overfitting_guard/accuracy"]))

    logged: list[float] = []
    make_trainer(callbacks=[OverfittingGuard(measuring), Logged()]).fit(Classifier(network), data)
    assert logged == pytest.approx(expected) and 0 < logged[0] < 1


def test_a_batch_that_is_all_void_says_nothing(make_trainer, noise_loader, pixel_network):
    data = noise_loader(4)
    data.dataset.label.fill_(255)
    guard = OverfittingGuard(ATTACK)
    guard.best = 1.0
    make_trainer(callbacks=[guard]).fit(Classifier(pixel_network), data)
    assert guard.stopped is None and guard.best == 1


def test_an_epoch_that_was_resumed_in_the_middle_is_measured_on_what_is_left_of_it(make_trainer):
    guard = OverfittingGuard(ATTACK)
    guard.on_train_batch_end(None, None, None, {"image": torch.zeros(1), "index": 3}, 7)
    guard.on_train_batch_end(None, None, None, {"image": torch.zeros(1), "index": 4}, 8)
    assert guard._batch["index"] == 3


def test_standard_training_has_nothing_to_guard(make_trainer, tmp_path):
    trainer = fit(make_trainer, 0.5, 0.3, 0.3, callbacks=[Attack(None), OverfittingGuard()])
    assert trainer.current_epoch == 3 and not (tmp_path / KEPT).exists()


def test_a_training_attack_without_a_ball_needs_an_attack_to_measure_with(make_trainer):
    with pytest.raises(MisconfigurationException, match="give the guard an attack"):
        fit(make_trainer, 0.5, callbacks=[Attack(GaussianNoise(0.1)), OverfittingGuard()])
    guard = OverfittingGuard(PGD(L2(0.1), steps=2))
    fit(make_trainer, 0.5, 0.3, callbacks=[Attack(GaussianNoise(0.1)), guard])
    assert "PGD(constraint=L2(eps=0.1)" in guard.stopped


@pytest.mark.parametrize("drop", [0, 1, 20, -0.1])
def test_a_drop_that_is_no_share_is_refused(drop):
    with pytest.raises(ValueError, match=f"drop={drop} is a share"):
        OverfittingGuard(drop=drop)

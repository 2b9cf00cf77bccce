from functools import partial

import pytest
import torch
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from networks import fcn
from torch import nn

from attacks import (
    SEA,
    UAP,
    BalancedMaskedCrossEntropy,
    DataFreeUAP,
    Ensemble,
    Linf,
    Transfer,
)
from callbacks import Attack
from datamodules import Shapes
from lightning_modules import Classifier

SMALL = {"train_samples": 6, "val_samples": 4, "size": 16, "batch_size": 2}
PICTURES, CLASSES = Shapes(**SMALL), Shapes(labels="class", **SMALL)


def classifier():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 14 * 14, 4))


def data_free(**options):
    return DataFreeUAP(Linf(0.1), **{"steps": 3, **options})


def run(make_trainer, attack, data=PICTURES, network=None, command="test", **options):
    network = network or (fcn(5).float() if data is PICTURES else classifier())
    callback = Attack(None, {"mine": attack})
    trainer = make_trainer(callbacks=[callback], **options)
    getattr(trainer, command)(Classifier(network), data)
    return callback


@pytest.mark.parametrize("objective", [BalancedMaskedCrossEntropy, partial(BalancedMaskedCrossEntropy, pixels=None)])
def test_the_balance_of_classes_is_that_of_the_training_set(make_trainer, objective):
    attack = SEA(Linf(0.1), objective, steps=3)
    run(make_trainer, attack)
    label = torch.stack([sample["label"] for sample in PICTURES.make_set("train")])
    assert attack.objective.keywords["pixels"] == torch.bincount(label.flatten(), minlength=5).tolist()


def test_a_balance_that_is_given_stays(make_trainer):
    given = partial(BalancedMaskedCrossEntropy, pixels=[1, 2, 3, 4, 5])
    attack = SEA(Linf(0.1), given, steps=3)
    run(make_trainer, attack)
    assert attack.objective is given


@pytest.mark.parametrize(
    ("attack", "data"), [(data_free(), PICTURES), (data_free(), CLASSES), (UAP(Linf(0.1), max_passes=2), CLASSES)]
)
@pytest.mark.parametrize("command", ["test", "validate", "fit"])
def test_a_universal_perturbation_is_crafted_and_kept_in_the_run(make_trainer, tmp_path, attack, data, command):
    attack.perturbation = None
    run(make_trainer, attack, data, command=command)
    kept = torch.load(tmp_path / "perturbations" / "mine.pt", weights_only=True)
    assert kept.shape == (3, 16, 16)
    assert torch.equal(kept, attack.perturbation)
    assert (tmp_path / "perturbations" / "mine.png").is_file()
    assert kept.abs().max() <= 0.1 + 1e-6


def test_it_is_the_same_each_time(make_trainer, tmp_path):
    found = []
    for name in ("one", "two"):
        attack = UAP(Linf(0.1), max_passes=2)
        run(make_trainer, attack, CLASSES, default_root_dir=tmp_path / name)
        found.append(attack.perturbation)
        torch.rand(3)  # wherever the global generator is
    assert found[0].any() and torch.equal(*found)


def test_what_is_crafted_is_left_alone(make_trainer, tmp_path):
    attack = data_free()
    attack.perturbation = given = torch.full((3, 16, 16), 0.05)
    run(make_trainer, attack)
    assert attack.perturbation is given
    assert not (tmp_path / "perturbations").exists()


def test_an_interrupted_evaluation_takes_up_its_perturbation(make_trainer, tmp_path):
    (tmp_path / "perturbations").mkdir()
    kept = torch.full((3, 16, 16), 0.02)
    torch.save(kept, tmp_path / "perturbations" / "mine.pt")
    attack = data_free()
    run(make_trainer, attack)
    assert torch.equal(attack.perturbation, kept)
    attack = data_free()
    run(make_trainer, attack, command="fit")
    assert not torch.equal(attack.perturbation, kept), "training changes the network"


def test_inside_others_it_is_crafted_too_and_for_a_transfer_on_the_surrogate(make_trainer, tmp_path):
    alone, transferred, within = data_free(), data_free(), data_free()
    network, surrogate = fcn(5).float(), nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU())
    for attack in (alone, Ensemble([within]), Transfer(transferred, surrogate)):
        run(make_trainer, attack, network=network, default_root_dir=tmp_path / type(attack).__name__)
    assert torch.equal(within.perturbation, alone.perturbation)
    expected = data_free().fit(surrogate, PICTURES.crafting_dataloader()).perturbation
    assert torch.equal(transferred.perturbation, expected)
    assert not torch.equal(transferred.perturbation, alone.perturbation)


def test_two_in_one_ensemble_are_two(make_trainer, tmp_path):
    first, second = data_free(), data_free(seed=7)
    run(make_trainer, Ensemble([first, second]))
    assert not torch.equal(first.perturbation, second.perturbation)
    assert {path.name for path in (tmp_path / "perturbations").glob("*.pt")} == {"mine.pt", "mine-2.pt"}


def test_without_a_data_module_it_cannot_be_crafted(make_trainer, noise_loader):
    trainer = make_trainer(callbacks=[Attack(None, {"mine": data_free()})])
    with pytest.raises(MisconfigurationException, match=r"attack.evaluate.mine: DataFreeUAP .* use a DataModule"):
        trainer.test(Classifier(fcn().float()), noise_loader())

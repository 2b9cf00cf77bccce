import hashlib
import json
from functools import partial

import pytest
import torch
from torch import nn

from attacks import FGSM, L2, SEA, BalancedMaskedCrossEntropy, Ensemble, Linf
from callbacks import Attack, Inpainting, Results
from callbacks.results import settings
from lightning_modules import Classifier, Network
from reports.intervals import wilson


def read(folder):
    return json.loads((folder / "results.json").read_text())


@pytest.mark.parametrize("command", ["fit", "validate", "test"])
def test_results_are_written_at_the_end(make_trainer, noise_loader, pixel_network, tmp_path, command):
    attack = Attack(FGSM(Linf(0.01)), {"fgsm": FGSM(Linf(0.03))})
    painting = Inpainting(L2(1), 1, 0.1, size=3, samples=2)
    module = Classifier(pixel_network)
    trainer = make_trainer(callbacks=[attack, painting, Results()])
    loaders = (noise_loader(), noise_loader()) if command == "fit" else (noise_loader(),)
    getattr(trainer, command)(module, *loaders)
    results = read(tmp_path)
    assert results["command"] == command
    assert set(results["metrics"]) == {"clean", "fgsm"}
    for version, values in results["metrics"].items():
        assert values == module.results[version]
        assert 0 <= values["accuracy"] <= 1 and 0 <= values["miou"] <= 1 and values["samples"] == 7
        assert set(values["iou"]) == {"0", "1", "2"}
    assert results["synthesis"]["inpainting"] == painting.results
    assert results["attacks"]["train"]["class"] == "FGSM"
    assert results["attacks"]["fgsm"]["constraint"] == {"class": "Linf", "eps": 0.03}
    assert json.loads(json.dumps(results["attacks"])) == results["attacks"]


def test_settings_say_what_an_attack_is_made_of():
    objective = partial(BalancedMaskedCrossEntropy, pixels=[1, 2])
    attack = Ensemble([SEA(Linf("4/255"), objective, steps=10), FGSM(L2(1))])
    sea, fgsm = settings(attack)["attacks"]
    assert sea["objective"] == {"class": "BalancedMaskedCrossEntropy", "pixels": [1, 2]}
    assert (sea["class"], sea["steps"], sea["constraint"]["eps"]) == ("SEA", 10, 4 / 255)
    assert fgsm["objective"] == "CrossEntropy"
    assert settings(None) is None


def test_the_checkpoint_is_named_by_its_content(make_trainer, noise_loader, pixel_network, tmp_path):
    trainer, module = make_trainer(callbacks=[Results()]), Classifier(pixel_network)
    trainer.fit(module, noise_loader(), noise_loader())
    path = tmp_path / "some.ckpt"
    trainer.save_checkpoint(path)
    assert read(tmp_path)["checkpoint"] is None
    trainer.test(module, noise_loader(), ckpt_path=path, verbose=False)
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    assert read(tmp_path)["checkpoint"] == {"path": str(path), "sha256": expected}


def test_weights_that_come_without_a_checkpoint_are_named_by_their_content(make_trainer, noise_loader, tmp_path):
    path = tmp_path / "weights.pt"
    torch.save(Network("resnet_small", 3).state_dict(), path)
    trainer = make_trainer(callbacks=[Results()])
    trainer.test(Classifier(Network("resnet_small", 3, weights=str(path))), noise_loader(dense=False), verbose=False)
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    assert read(tmp_path)["checkpoint"] == {"path": str(path), "sha256": expected}
    assert read(tmp_path)["epochs"] is None


def test_image_labels_have_no_miou(make_trainer, noise_loader, tmp_path):
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 3))
    trainer = make_trainer(callbacks=[Results()])
    trainer.validate(Classifier(network), noise_loader(dense=False), verbose=False)
    metrics = read(tmp_path)["metrics"]["clean"]
    assert set(metrics) == {"accuracy", "accuracy_interval", "class_accuracy", "labels", "loss", "samples"}
    assert metrics["accuracy_interval"] == list(wilson(metrics["accuracy"], 7))


def test_an_interrupted_run_leaves_no_results(make_trainer, noise_loader, pixel_network, tmp_path):
    class Broken(Classifier):
        def on_train_epoch_end(self):
            raise RuntimeError("lost power")

    with pytest.raises(RuntimeError, match="lost power"):
        make_trainer(callbacks=[Results()]).fit(Broken(pixel_network), noise_loader(), noise_loader())
    assert not (tmp_path / "results.json").exists()

import hashlib
import json

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EarlyStopping
from torch import nn

from attacks import FGSM, L2, Linf
from callbacks import Attack, Inpainting, Results
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
    assert list(results["attacks"]) == ["fgsm"], "those of the evaluation"
    assert (results["seed"], results["image_size"]) == (0, [8, 8]) and results["versions"]["saddle"]
    assert results["attacks"]["fgsm"]["constraint"] == {"class": "Linf", "eps": 0.03}
    assert json.loads(json.dumps(results["attacks"])) == results["attacks"]


def test_the_checkpoint_is_named_by_its_content(make_trainer, noise_loader, pixel_network, tmp_path):
    trainer, module = make_trainer(callbacks=[Results()]), Classifier(pixel_network)
    trainer.fit(module, noise_loader(), noise_loader())
    path = tmp_path / "some.ckpt"
    trainer.save_checkpoint(path)
    assert read(tmp_path)["checkpoint"] is None
    trainer.test(module, noise_loader(), ckpt_path=path, verbose=False)
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    assert read(tmp_path)["checkpoint"] == {"path": str(path), "sha256": expected}


class Judged(Inpainting):
    def __init__(self, judge):
        super().__init__(L2(1), 1, 0.1, size=3, samples=2)
        self.judge = judge


def test_the_judge_is_named_by_the_content_of_its_weights(make_trainer, noise_loader, pixel_network, tmp_path):
    path = tmp_path / "judge.ckpt"
    judge = Network("fcn_small", 3)
    trainer = make_trainer(max_epochs=1)
    trainer.fit(Classifier(judge), noise_loader(), noise_loader())
    trainer.save_checkpoint(path)  # one of our own
    content = hashlib.sha256(path.read_bytes()).hexdigest()
    again = Network("fcn_small", 3, weights=str(path))
    assert all(torch.equal(value, judge.state_dict()[name]) for name, value in again.state_dict().items())
    task = Judged(again)
    make_trainer(callbacks=[task, Results()]).validate(Classifier(pixel_network), noise_loader(), verbose=False)
    assert read(tmp_path)["judges"] == {"inpainting": {"network": "fcn_small", "weights": str(path), "sha256": content}}
    assert read(tmp_path)["synthesis"]["inpainting"] == task.results
    make_trainer(callbacks=[Judged(nn.Conv2d(3, 3, 1)), Results()]).validate(
        Classifier(pixel_network), noise_loader(), verbose=False
    )
    assert read(tmp_path)["judges"] == {"inpainting": {"network": "Conv2d", "weights": None, "sha256": None}}


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


TRAINED = {"class": "FGSM", "constraint": {"class": "Linf", "eps": 0.01}}


def test_the_training_is_the_checkpoints_own_wherever_it_lies(make_trainer, noise_loader, pixel_network, tmp_path):
    """And not the config's, which may be another's."""
    module = Classifier(pixel_network)
    trainer = make_trainer(callbacks=[Attack(FGSM(Linf(0.01)), fraction=0.5), Results()], max_epochs=2)
    trainer.fit(module, noise_loader(), noise_loader())
    fitted = read(tmp_path)["training"]
    assert fitted.pop("attack").items() >= TRAINED.items()
    assert fitted == {"run": tmp_path.name, "fraction": 0.5, "warm_up": 0.0, "epochs": 2, "seed": 0}
    fitted = read(tmp_path)["training"]
    trainer.save_checkpoint(tmp_path / "moved.pt")

    other = make_trainer(callbacks=[Attack(FGSM(Linf(0.2))), Results()], default_root_dir=tmp_path / "other")
    other.test(module, noise_loader(), ckpt_path=tmp_path / "moved.pt", verbose=False, weights_only=True)
    assert read(tmp_path / "other")["training"] == fitted
    with pytest.warns(UserWarning, match="trained with fraction 0.5, and goes on with 1.0"):
        make_trainer(callbacks=[Attack(FGSM(Linf(0.01))), Results()], max_epochs=3).fit(
            module, noise_loader(), noise_loader(), ckpt_path=tmp_path / "moved.pt"
        )
    module.network.weights = str(tmp_path / "moved.pt")  # as weights, without a checkpoint
    other.test(module, noise_loader(), verbose=False)
    assert read(tmp_path / "other")["training"] == fitted


def test_images_of_several_sizes_have_none(make_trainer, pixel_network, tmp_path):
    samples = [
        {"image": torch.rand(3, n, 8), "label": torch.zeros(n, 8, dtype=torch.int64), "index": n - 8} for n in (8, 9)
    ]
    loader = torch.utils.data.DataLoader(samples)
    make_trainer(callbacks=[Results()]).test(Classifier(pixel_network), loader, verbose=False)
    assert read(tmp_path)["image_size"] is None


def test_results_are_never_replaced_by_less(make_trainer, noise_loader, pixel_network, tmp_path):
    """Nothing replaces something; what is left out is kept beside it."""

    def fit(evaluate, **options):
        trainer = make_trainer(callbacks=[Attack(evaluate=evaluate), Results()], **options)
        trainer.fit(Classifier(pixel_network), noise_loader(), noise_loader())

    fit({"fgsm": FGSM(Linf(0.1))})
    first = (tmp_path / "results.json").read_text()
    with pytest.warns(UserWarning, match="results.json stays as it is: nothing was evaluated"):
        fit({}, limit_val_batches=0)
    assert (tmp_path / "results.json").read_text() == first
    with pytest.warns(UserWarning, match="results-2.json keeps what was measured before: fgsm not measured"):
        fit({})
    assert set(read(tmp_path)["metrics"]) == {"clean"}
    assert (tmp_path / "results-2.json").read_text() == first
    fit({"fgsm": FGSM(Linf(0.1))})
    assert set(read(tmp_path)["metrics"]) == {"clean", "fgsm"}


def test_why_early_stopping_stopped(make_trainer, noise_loader, pixel_network, tmp_path):
    stopping = EarlyStopping("val/clean/loss", patience=1, min_delta=1e9)
    make_trainer(callbacks=[stopping, Results()], max_epochs=5).fit(
        Classifier(pixel_network), noise_loader(), noise_loader()
    )
    assert "val/clean/loss did not improve" in read(tmp_path)["stopped"] and read(tmp_path)["epochs"] == 2


def stopped_and_resumed(make_trainer, loader, folder, *ends):
    """The epochs that the checkpoint says at each of the ends, given as options."""
    found, path = [], None
    for options in ends:
        trainer = make_trainer(callbacks=[Results()], default_root_dir=folder, **options)
        trainer.fit(Classifier(nn.Conv2d(3, 3, 1)), loader, loader, ckpt_path=path, weights_only=path and True)
        trainer.save_checkpoint(path := folder / "last.ckpt")
        found.append(torch.load(path, weights_only=True)["training"]["epochs"])
    return found


def test_an_epoch_that_is_stopped_and_resumed_counts_once(make_trainer, noise_loader, tmp_path):
    """Of 4 steps an epoch."""
    steps = [{"max_epochs": -1, "max_steps": steps} for steps in (5, 7, 9, 12)]
    assert stopped_and_resumed(make_trainer, noise_loader(2), tmp_path, *steps) == [1.25, 1.75, 2.25, 3]
    epochs = [{"max_epochs": epochs} for epochs in (1, 3)]
    assert stopped_and_resumed(make_trainer, noise_loader(2), tmp_path, *epochs) == [1, 3]


def test_a_checkpoint_inside_an_epoch_says_how_much_of_it_was_trained(make_trainer, noise_loader, tmp_path):
    class Saves(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            trainer.save_checkpoint(tmp_path / f"{trainer.global_step}.ckpt")

    def fit(**options):
        trainer = make_trainer(callbacks=[Results(), Saves()], max_epochs=3)
        trainer.fit(Classifier(nn.Conv2d(3, 3, 1)), noise_loader(2), **options)
        steps = (3, 5, 6, 8, 10)
        said = {step: torch.load(tmp_path / f"{step}.ckpt", weights_only=True)["training"]["epochs"] for step in steps}
        assert said == {3: 0.75, 5: 1.25, 6: 1.5, 8: 2, 10: 2.5} and read(tmp_path)["training"]["epochs"] == 3

    fit()
    fit(ckpt_path=tmp_path / "5.ckpt", weights_only=True)
    fit(ckpt_path=tmp_path / "6.ckpt", weights_only=True)

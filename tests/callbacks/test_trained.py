import json
from functools import partial

import pytest
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from one_line import one_line
from torch import nn

from attacks import FGSM, Linf
from callbacks import Attack, Results
from callbacks.trained import check_number
from lightning_modules import Classifier

TRAINED = {"class": "FGSM", "constraint": {"class": "Linf", "eps": 0.01}}


def read(folder):
    return json.loads((folder / "results.json").read_text())


def test_of_an_older_checkpoint_it_is_what_the_run_beside_it_says_and_else_unknown(
    make_trainer, noise_loader, pixel_network, tmp_path
):
    run, module = tmp_path / "run", Classifier(pixel_network)
    trainer = make_trainer(callbacks=[Attack(FGSM(Linf(0.01)))], default_root_dir=run)
    trainer.fit(module, noise_loader())
    trainer.save_checkpoint(run / "checkpoints" / "last.ckpt")

    def training():
        tested = make_trainer(callbacks=[Attack(FGSM(Linf(0.2))), Results()])
        tested.test(module, noise_loader(), ckpt_path=run / "checkpoints" / "last.ckpt", verbose=False)
        return read(tmp_path)["training"]

    assert training() is None
    old = {"run": "run", "command": "fit", "metrics": {}, "attacks": {"train": TRAINED}}
    (run / "results.json").write_text(json.dumps(old))
    assert training() == {"run": "run", "attack": TRAINED, "fraction": None, "warm_up": None, "epochs": None}


class Named(LightningDataModule):
    def __init__(self, loader, classes):
        super().__init__()
        self.loader, self.classes = loader, classes

    def train_dataloader(self):
        return self.loader

    val_dataloader = test_dataloader = predict_dataloader = train_dataloader


@pytest.mark.parametrize("stage", ["fit", "validate", "test", "predict"])
def test_the_data_have_the_classes_of_the_checkpoint_in_its_order(make_trainer, noise_loader, tmp_path, stage):
    def run(stage, classes, module, **options):
        trainer = make_trainer(callbacks=[Results()], max_epochs=1 + ("ckpt_path" in options))
        getattr(trainer, stage)(module, datamodule=Named(noise_loader(), classes), **options)
        return trainer

    module, path = Classifier(nn.Conv2d(3, 3, 1)), tmp_path / "last.ckpt"
    run("fit", ["sky", "sea", "land"], module).save_checkpoint(path)
    assert "classes" not in read(tmp_path)["training"]
    given = {"ckpt_path": path, "weights_only": True}
    run(stage, ("sky", "sea", "land"), module, **given)
    refused = partial(pytest.raises, MisconfigurationException)
    order = (path, "in another order: class 1 is 'sea' there and 'land' in the data; set the data's to sky, sea, land")
    with refused(match=one_line(*order)):
        run(stage, ["sky", "land", "sea"], module, **given)
    with pytest.warns(UserWarning, match=one_line(path, "class 2 is 'land' there and 'earth' in the data")):
        run(stage, ["sky", "sea", "earth"], module, **given)
    module.network.weights = str(path)
    if stage == "fit":  # it may be trained to another order
        run(stage, ["sky", "land", "sea"], module)
    else:
        with refused(match=one_line(*order)):
            run(stage, ["sky", "land", "sea"], module)


def test_classes_that_nobody_names_are_not_compared(make_trainer, noise_loader, tmp_path):
    module, path = Classifier(nn.Conv2d(3, 3, 1)), tmp_path / "last.ckpt"
    trainer = make_trainer(callbacks=[Results()])
    trainer.fit(module, noise_loader())
    trainer.save_checkpoint(path)
    make_trainer(callbacks=[Results()]).test(
        module, datamodule=Named(noise_loader(), ["b", "a", "c"]), ckpt_path=path, weights_only=True
    )


@pytest.mark.parametrize("now", [["sky"], ["sky", "sea", "land", "ice"]])
def test_another_number_of_classes_is_refused_and_both_are_named(now):
    told = one_line("a.ckpt", "was trained on 2 classes (sky, sea), and the data have", f"{len(now)} classes (sky")
    with pytest.raises(MisconfigurationException, match=told):
        check_number({"classes": ["sky", "sea"]}, now, "a.ckpt")
    for trained, names in (({"classes": ["sky", "sea"]}, ["a", "b"]), (None, now), ({}, now), ({"classes": now}, ())):
        check_number(trained, names, "a.ckpt")

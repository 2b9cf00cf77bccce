import json

import pytest
from lightning.pytorch.utilities.exceptions import SIGTERMException

from attacks import L2, PGD, DataFreeUAP, Linf
from callbacks import Attack, Inpainting, Records, SanityGate
from callbacks.interruption import interruptible
from datamodules import Shapes
from lightning_modules import Classifier


class Late:
    """An attack that a SIGTERM reaches in its third look at the network, of very many."""

    def __init__(self, trainer=None):
        self.trainer, self.looks, self.calls = trainer, 0, 0

    def __call__(self, network, image, label, seed=None, region=None):
        self.calls += 1
        for _ in range(100 if self.calls == 2 else 1):
            network(image)
            self.looks += 1
            if self.looks == 3:
                self.trainer._signal_connector.received_sigterm = True
        return image


def test_an_evaluation_ends_between_the_steps_and_keeps_what_it_measured(
    make_trainer, noise_loader, pixel_network, tmp_path
):
    late = Late()
    late.trainer = trainer = make_trainer(callbacks=[Attack(evaluate={"late": late}), Records()])
    with pytest.raises(SIGTERMException):
        trainer.test(Classifier(pixel_network), noise_loader(2), verbose=False)
    assert late.looks == 3
    lines = (tmp_path / "records" / "0.jsonl").read_text().split("\n")
    assert [json.loads(line)["index"] for line in lines if line] == [0, 1]
    assert not pixel_network._forward_pre_hooks, "and looks no more"


@pytest.mark.parametrize("what", ["painting", "gate", "universal"])
def test_so_do_paintings_the_gate_and_what_is_crafted(make_trainer, noise_loader, pixel_network, what):
    looks = []

    def look(module, args):
        looks.append(None)
        trainer._signal_connector.received_sigterm = len(looks) >= (10 if what == "painting" else 3)

    callbacks = {
        "painting": [Inpainting(L2(1), 1000, 0.1, size=3, samples=2)],
        "gate": [Attack(evaluate={"pgd": PGD(Linf(0.1), 1)}), SanityGate(steps=1000, queries=1)],
        "universal": [Attack(evaluate={"universal": DataFreeUAP(Linf(0.1))})],
    }[what]
    trainer = make_trainer(callbacks=callbacks[::-1])
    pixel_network.register_forward_pre_hook(look)
    with pytest.raises(SIGTERMException):
        if what == "universal":
            shapes = Shapes(train_samples=4, val_samples=4, size=8, batch_size=2)
            trainer.validate(Classifier(pixel_network), datamodule=shapes, verbose=False)
        else:
            trainer.validate(Classifier(pixel_network), noise_loader(4), verbose=False)
    assert len(looks) < 20


def test_of_several_processes_none_leaves_alone(make_trainer, pixel_network, monkeypatch):
    trainer = make_trainer()
    trainer._signal_connector.received_sigterm = True
    monkeypatch.setattr(type(trainer), "world_size", 2)
    with interruptible(pixel_network, trainer):
        assert not pixel_network._forward_pre_hooks

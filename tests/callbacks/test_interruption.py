import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from attacks import L2, PGD, DataFreeUAP, Linf
from callbacks import Attack, Inpainting, Records, SanityGate
from callbacks.interruption import Ending, Stopped, ending
from datamodules import Shapes
from lightning_modules import Classifier


class Late:
    """An attack that a SIGTERM reaches in its third look at the network, of very many."""

    def __init__(self):
        self.looks, self.calls = 0, 0

    def __call__(self, network, image, label, seed=None, region=None):
        self.calls += 1
        for _ in range(100 if self.calls == 2 else 1):
            network(image)
            self.looks += 1
            if self.looks == 3:
                ending.signum = signal.SIGTERM
        return image


def test_an_evaluation_ends_between_the_steps_and_keeps_what_it_measured(
    make_trainer, noise_loader, pixel_network, tmp_path
):
    late = Late()
    trainer = make_trainer(callbacks=[Attack(evaluate={"late": late}), Records()])
    with pytest.raises(Stopped):
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
        if len(looks) >= (10 if what == "painting" else 3):
            ending.signum = signal.SIGTERM

    callbacks = {
        "painting": [Inpainting(L2(1), 1000, 0.1, size=3, samples=2)],
        "gate": [Attack(evaluate={"pgd": PGD(Linf(0.1), 1)}), SanityGate(steps=1000, queries=1)],
        "universal": [Attack(evaluate={"universal": DataFreeUAP(Linf(0.1))})],
    }[what]
    trainer = make_trainer(callbacks=callbacks[::-1])
    pixel_network.register_forward_pre_hook(look)
    with pytest.raises(Stopped):
        if what == "universal":
            shapes = Shapes(train_samples=4, val_samples=4, size=8, batch_size=2)
            trainer.validate(Classifier(pixel_network), datamodule=shapes, verbose=False)
        else:
            trainer.validate(Classifier(pixel_network), noise_loader(4), verbose=False)
    assert len(looks) < 20


def test_signals_are_only_noted_and_the_second_ctrl_c_is_heeded_at_once(capfd):
    told = Ending()
    before = signal.getsignal(signal.SIGINT)
    told.listen()
    try:
        assert not told.told
        os.kill(os.getpid(), signal.SIGINT)
        assert told.told == signal.SIGINT
        assert "interrupt once more to stop at once" in capfd.readouterr().err
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGUSR1)
        assert told.told == signal.SIGUSR1
        with pytest.raises(Stopped) as stopped:
            told.heed()
        assert stopped.value.code == 138
    finally:
        told.stop_listening()
    assert signal.getsignal(signal.SIGINT) == before
    signal.signal(signal.SIGUSR1, signal.SIG_DFL)


EARLY = """
import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
from callbacks.interruption import Ending
told = Ending()
os.kill(os.getpid(), signal.SIGUSR1)
told.listen()
assert told.told == signal.SIGUSR1
told.stop_listening()
os.kill(os.getpid(), signal.SIGUSR1)  # too late: the run is over
print("and nothing happens")
"""
"""In a process of its own, as cli.py does it: threads that are there already would take the signal."""


def test_what_comes_before_it_listens_is_noted_then():
    run = subprocess.run([sys.executable, "-c", EARLY], capture_output=True, text=True, check=False)
    assert run.stdout == "and nothing happens\n", run.stderr


def test_another_thread_changes_nothing():
    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=Ending().listen)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) == before

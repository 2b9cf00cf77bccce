import json

import pytest

from callbacks import Attack, Measurement, Results
from lightning_modules import Classifier
from reports.measurements import compare
from reports.results import read_runs


class Counting(Measurement):
    """Of each evaluation: how many batches it had."""

    task = "counting"

    def on_validation_epoch_end(self, trainer, pl_module):
        self.results["batches_seen"] = float(sum(trainer.num_val_batches))


class Silent(Measurement):
    task = "silent"


def test_what_was_measured_is_kept_and_shown(make_trainer, noise_loader, pixel_network, tmp_path):
    loader = noise_loader()
    trainer = make_trainer(callbacks=[Attack(), Counting(), Silent(), Results()])
    trainer.validate(Classifier(pixel_network), loader, verbose=False)
    content = json.loads((tmp_path / "results.json").read_text())
    assert content["insight"] == {"counting": {"batches_seen": len(loader)}}, "what measured nothing is left out"
    assert compare(read_runs([tmp_path])).rows["counting batches seen"] == [f"{len(loader):.4f}"]


def test_it_is_not_replaced_by_less(make_trainer, noise_loader, pixel_network, tmp_path):
    for callbacks in ([Counting()], []):
        trainer = make_trainer(callbacks=[Attack(), *callbacks, Results()])
        if callbacks:
            trainer.validate(Classifier(pixel_network), noise_loader(), verbose=False)
            before = (tmp_path / "results.json").read_text()
        else:
            with pytest.warns(UserWarning, match="results-0.json keeps what was measured before: counting not"):
                trainer.validate(Classifier(pixel_network), noise_loader(), verbose=False)
    assert (tmp_path / "results-0.json").read_text() == before

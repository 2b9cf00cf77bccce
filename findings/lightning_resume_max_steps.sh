#!/usr/bin/env bash
# Lightning 2.6.6 (torch 2.15.0): a run with `max_steps` that is resumed from an epoch's end leaves out a third of its steps.
#
# Met with: a limit that never binds, beside `max_epochs`; the checkpoint of an epoch's end is the one that most runs have.
# One would expect: 3 epochs of 6 steps are 18 steps, whether the run was interrupted after the first epoch or not.
# Seen: with `max_steps=1000` the resumed run goes back into the epoch that has ended, counts it twice, and ends after 13
#   steps without a word; without `max_steps` it makes all 18.
# Fails if that has changed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.15.0 lightning==2.6.6 numpy==2.4.6
cd "$place"
"$place/venv/bin/python" - <<'PYTHON'
import logging
import warnings

warnings.simplefilter("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

import lightning
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader, TensorDataset


class Module(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(2, 1)

    def training_step(self, batch: list[torch.Tensor], index: int) -> torch.Tensor:
        return self.linear(batch[0]).sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


class Interruption(Callback):
    """As the second epoch begins."""

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, batch: object, index: int) -> None:
        if trainer.current_epoch == 1:
            raise RuntimeError("interrupted")


def steps(folder: str, max_steps: int) -> int:
    """Of a run that is interrupted after its first epoch, and resumed."""

    def trainer(*callbacks: Callback) -> Trainer:
        keep = ModelCheckpoint(folder, "last", save_on_train_epoch_end=True, enable_version_counter=False)
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        limits = {"max_epochs": 3, "max_steps": max_steps}
        return Trainer(accelerator="cpu", callbacks=[keep, *callbacks], **limits, **quiet)

    loader = DataLoader(TensorDataset(torch.ones(12, 2)), 2)
    try:
        trainer(Interruption()).fit(Module(), loader)
    except RuntimeError as error:
        assert str(error) == "interrupted"
    resumed = trainer()
    resumed.fit(Module(), loader, ckpt_path=f"{folder}/last.ckpt")
    return resumed.global_step


found = {limit: steps(f"limit{limit}", limit) for limit in (-1, 1000)}
print("lightning", lightning.__version__, "torch", torch.__version__)
for limit, number in found.items():
    print(f"max_steps={limit}: {number} steps; expected 18")
assert found == {-1: 18, 1000: 13}, "this has changed"
PYTHON

import errno
import os
from pathlib import Path

import pytest
import torch
from callbacks.last_checkpoint import WholeFiles
from lightning.pytorch import Callback

from callbacks import Attack, LastCheckpoint
from lightning_modules import Classifier


class Fails(Callback):
    """At a training batch."""

    def __init__(self, batch):
        self.batch = batch

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == self.batch:
            raise RuntimeError("lost power")


@pytest.mark.parametrize("step", [0, 2, 5])
def test_what_an_exception_interrupts_is_kept_if_something_was_trained(
    make_trainer, noise_loader, pixel_network, tmp_path, step
):
    trainer = make_trainer(
        callbacks=[Attack(), Fails(step), LastCheckpoint(tmp_path / "kept")],
        enable_checkpointing=True,
        max_epochs=2,
        plugins=[WholeFiles()],
    )
    with pytest.raises(RuntimeError, match="lost power"):
        trainer.fit(Classifier(pixel_network), noise_loader(2))
    (tmp_path / "kept").rmdir() if not step else None
    if step:
        assert torch.load(tmp_path / "kept" / "last.ckpt", weights_only=True)["global_step"] == step


def test_it_meets_no_barrier_there(make_trainer, noise_loader, pixel_network, tmp_path, monkeypatch):
    """The process that it would wait for may never come."""
    trainer = make_trainer(callbacks=[Fails(2), LastCheckpoint(tmp_path)], enable_checkpointing=True)

    def barrier(self, name=None):
        assert name != "Trainer.save_checkpoint"

    monkeypatch.setattr(type(trainer.strategy), "barrier", barrier)
    with pytest.raises(RuntimeError, match="lost power"):
        trainer.fit(Classifier(pixel_network), noise_loader(2))
    assert (tmp_path / "last.ckpt").is_file()


def test_a_place_that_is_none_is_told_before_training(make_trainer, noise_loader, pixel_network, tmp_path):
    (tmp_path / "checkpoints").write_text("a file")
    trainer = make_trainer(callbacks=[LastCheckpoint(tmp_path / "checkpoints")], enable_checkpointing=True)
    with pytest.raises(OSError, match="checkpoints"):
        trainer.fit(Classifier(pixel_network), noise_loader())
    assert trainer.global_step == 0


class Full:
    """A file on a disk that is full after some bytes."""

    def __init__(self, file):
        self.file, self.left = file, 1000

    def write(self, content):
        self.left -= len(content)
        if self.left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.file.write(content)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def __getattr__(self, name):
        return getattr(self.file, name)


def test_on_a_full_disk_the_checkpoint_before_stays_whole(tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    WholeFiles().save_checkpoint({"a": torch.zeros(3)}, path)
    opened = Path.open
    monkeypatch.setattr(Path, "open", lambda self, *args: Full(opened(self, *args)))
    with pytest.raises(OSError) as caught:
        WholeFiles().save_checkpoint({"a": torch.ones(10_000)}, path)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
    monkeypatch.undo()
    assert torch.load(path, weights_only=True)["a"].tolist() == [0, 0, 0]
    assert list(tmp_path.iterdir()) == [path]

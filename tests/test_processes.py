"""One process and two give the same samples the same augmentation and noise, and take over from each other."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from test_ddp import ARGS, TWO, results
from warm_cli import saddle_command

from cli import main

MINE = """
import json
import os
import signal
from pathlib import Path

import torch
from lightning.pytorch import Callback
from torch.utils.data import Dataset

from datamodules import Shapes

RANK = os.environ.get("LOCAL_RANK", "0")
calls = 0


class Shifted(Dataset):
    def __init__(self, samples):
        self.samples = samples

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        sample = dict(self.samples[index])
        return sample | {"image": (sample["image"] + torch.rand(3, 1, 1)).clamp(0, 1)}


class ShiftedShapes(Shapes):
    def make_set(self, split):
        return Shifted(super().make_set(split)) if split == "train" else super().make_set(split)


def noise(network, image, label, seed=None, region=None):
    global calls
    calls += 1
    if os.environ.get("ENDS_IN") == RANK and calls == 2:
        os.kill(os.getpid(), signal.SIGTERM)
    network(image)
    drawn = [torch.rand(each.shape, generator=torch.Generator().manual_seed(int(s) % 2**63))
             for each, s in zip(image, seed)]
    return (image + 0.1 * torch.stack(drawn)).clamp(0, 1)


class Seen(Callback):
    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        with Path(trainer.default_root_dir, f"seen-{RANK}").open("a") as file:
            for i, index in enumerate(batch["index"].tolist()):
                values = batch["clean"][i].double().sum().item(), batch["image"][i].double().sum().item()
                file.write(json.dumps([trainer.current_epoch, batch_idx, index, *values]) + "\\n")
"""


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Start a command in one process or two, in a folder with code of the user's own; returns its exit status."""
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)

    def start(command, processes, *args, ends_in=""):
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "ENDS_IN": ends_in}
        line = [
            *saddle_command().split(),
            command,
            *ARGS,
            "--trainer.logger",
            "false",
            *(TWO if processes == 2 else []),
            *args,
        ]
        run = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
        assert run.returncode in (0, 128 + signal.SIGTERM), run.stderr[-3000:]
        return run.returncode

    return start


def test_augmentation_and_noise_of_a_sample_are_those_of_one_process(start, tmp_path):
    """And so is the batch that it comes in, of all processes together."""
    args = ["--data", "mine.ShiftedShapes", "--data.train_samples", "12", "--attack.train", "mine.noise"]
    args += ["--trainer.callbacks", "[mine.Seen]", "--data.val_samples", "1"]
    start("fit", 1, *args, "--data.batch_size", "4", "--data.num_workers", "2", "--name", "one")
    start("fit", 2, *args, "--data.batch_size", "2", "--data.num_workers", "0", "--name", "two")
    seen = {
        name: sorted(json.loads(line) for path in (tmp_path / "runs" / name).glob("seen-*") for line in path.open())
        for name in ("one", "two")
    }
    assert len(list((tmp_path / "runs" / "two").glob("seen-*"))) == 2
    assert seen["one"] == seen["two"]
    assert [index for epoch, _, index, *_ in sorted(seen["one"], key=lambda row: row[::2]) if epoch == 1] == list(
        range(12)
    )
    assert len({values for *_, values in seen["one"]}) == 24


@pytest.mark.parametrize("first", [1, 2])
def test_an_evaluation_goes_on_with_another_number_of_processes(start, tmp_path, monkeypatch, first):
    args = ["--trainer.callbacks", "[]", "--sanity", "false", "--attack.evaluate", "{noise: mine.noise}"]
    args += ["--data.val_samples", "7", "--data.eval_batch_size", "1"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    alone = ["validate", *ARGS, *args, "--trainer.logger", "false"]
    if first == 2:
        assert start("validate", 2, *args, ends_in="1") == 128 + signal.SIGTERM
    else:
        monkeypatch.setenv("ENDS_IN", "0")
        with pytest.raises(SystemExit):
            main(alone)
        monkeypatch.delenv("ENDS_IN")
    kept = [json.loads(line) for path in Path("runs").glob("*/records/*.jsonl") for line in path.open() if line.strip()]
    assert 0 < len(kept) < 7
    if first == 2:
        main(alone)
    else:
        start("validate", 2, *args)
    main([*alone, "--name", "whole"])
    assert sorted(path.name for path in Path("runs").iterdir()) == ["quickstart_validate", "whole_validate"]
    found, expected = results(tmp_path, "quickstart_validate"), results(tmp_path, "whole_validate")
    for version in ("clean", "noise"):
        got, whole = found["metrics"][version], expected["metrics"][version]
        assert (got["samples"], got["labels"], got["iou"]) == (7, whole["labels"], whole["iou"])
        assert got["loss"] == pytest.approx(whole["loss"], rel=1e-12)
    rows = [Path("runs", f"{name}_validate", "samples.csv").read_text() for name in ("quickstart", "whole")]
    assert rows[0] == rows[1]

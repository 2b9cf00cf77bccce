"""Transfer and late fusion by one script, shrunken."""

import os
import subprocess
from pathlib import Path

import pytest
import torch
from tiny_classification import write_cifar10
from warm_cli import saddle_command

import datamodules
from lightning_modules import Network

ROOT = Path(__file__).parent.parent.parent
SETS = (
    "SVHN",
    "CIFAR10",
    "CIFAR100",
    "TinyImageNet",
    "STL10",
    "Food101",
    "Flowers102",
    "StanfordDogs",
    "CUB200",
    "ImageNet",
)
SMALL = [
    *("--trainer.accelerator", "cpu", "--trainer.logger", "false", "--trainer.enable_progress_bar", "false"),
    *("--trainer.max_epochs", "1", "--trainer.check_val_every_n_epoch", "1", "--trainer.limit_train_batches", "1"),
    *("--data.num_workers", "0", "--data.batch_size", "2", "--attack.evaluate.pgd.steps", "1"),
]
WEIGHTS = ("STD", "STD2", "ADV", "ADV2")


def script(*args, **environment):
    kept = {key: value for key, value in os.environ.items() if key not in {*WEIGHTS, *map(str.upper, SETS)}}
    own = {"SADDLE_COMMAND": saddle_command(), "OMP_NUM_THREADS": "1", **environment}
    command = [ROOT / "experiments" / "itazuri_figure9.sh", *args]
    return subprocess.run(command, cwd=ROOT, env=kept | own, text=True, capture_output=True, check=False)


def test_all_sets_and_networks_three_times():
    given = {name: f"{name}.pt" for name in WEIGHTS} | {name.upper(): f"/data/{name}" for name in SETS}
    done = script("--more", SADDLE_COMMAND="echo", OUT="out", **given)
    *fits, report = done.stdout.splitlines()
    assert (done.returncode, done.stderr, report) == (0, "", "report --seeds --columns data out/itazuri_figure9/*/*/")
    runs = []
    for line in fits:
        words = line.split()
        options = dict(zip(words[1:-1:2], words[2:-1:2], strict=True))
        name = options["--data"]
        classes = getattr(datamodules, name).classes
        assert classes == () or len(classes) == int(options["--model.network.num_classes"])
        assert options["--data.root"] == f"/data/{name}" and words[-1] == "--more"
        weights = [options[key] for key in sorted(options) if key.endswith("backbone_weights")]
        runs.append((name, options["--name"], options["--seed_everything"], *weights))
    named = {"STD": ["STD.pt"], "ADV": ["ADV.pt"], "STD+STD": ["STD.pt", "STD2.pt"], "STD+ADV": ["STD.pt", "ADV.pt"],
             "ADV+ADV": ["ADV.pt", "ADV2.pt"]}  # fmt: skip
    expected = [
        (name, f"{networks}_seed{seed}", str(seed), *weights)
        for name in SETS
        for networks, weights in named.items()
        for seed in range(3)
    ]
    assert runs == expected


def test_runs_their_table_and_later_what_was_missing(tmp_path):
    torch.manual_seed(0)
    write_cifar10(tmp_path / "data")
    for name in ("STD", "ADV"):
        torch.save(Network("resnet_small", 7).state_dict(), tmp_path / f"{name}.pt")
    given = {"CIFAR10": str(tmp_path / "data"), "OUT": str(tmp_path), "NETWORK": "resnet_small", "SIZE": "24"}
    given |= {"SEEDS": "0", "STD": str(tmp_path / "STD.pt")}
    done = script(*SMALL, **given)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "SVHN: left out; SVHN=DIR takes it in" in done.stderr
    assert "CIFAR10: STD+ADV: left out; there is no ADV=FILE" in done.stderr
    runs = tmp_path / "itazuri_figure9" / "CIFAR10"
    (first,) = runs.glob("*/results.json")
    before = first.read_bytes()
    again = script(*SMALL, **given, ADV=str(tmp_path / "ADV.pt"))
    assert again.returncode == 0, again.stderr[-2000:]
    assert again.stdout.count("nothing is changed") == 1 and first.read_bytes() == before
    names = {"STD_seed0", "ADV_seed0", "STD+ADV_seed0"}
    assert {path.parent.name for path in runs.glob("*/results.json")} == names
    assert all(name in again.stdout for name in names), "the table"


@pytest.mark.parametrize("given", [{}, {"STD": "a.pt"}, {"CIFAR10": "data"}], ids=str)
def test_without_weights_or_sets_it_says_so(given):
    done = script(SADDLE_COMMAND="echo", **given)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1].startswith("nothing to train: give weights and sets")


def test_a_task_of_an_array_is_one_run(tmp_path):
    """Those above the number of runs have nothing to do."""
    given = {"STD": "a.pt", "CIFAR10": "data", "SEEDS": "4", "SADDLE_COMMAND": "echo"}
    done = script(SLURM_ARRAY_TASK_ID="1", **given)
    assert (done.returncode, done.stdout) == (0, "task 1: there are 1 runs\n")

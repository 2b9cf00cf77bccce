"""Configs as hands, editors and other programs leave them."""

import json
from pathlib import Path
from random import Random

import pytest
import yaml
from fuzz.breaking import broken_text, broken_tree, cases
from fuzz.endings import PLANTED, command, sane

CONFIG = """\
seed_everything: 1
model:
  network:
    class_path: Network
    init_args: {name: fcn_small, num_classes: 5}
  loss:
    class_path: CrossEntropyLoss
    init_args: {aux_weight: 0.5}
  optimizer:
    class_path: torch.optim.SGD
    init_args: {lr: 0.05, momentum: 0.9}
  schedule:
    class_path: Drops
    init_args: {at: [0.5], of: 1}
  lr_multipliers: {model.head: 10}
data:
  class_path: Shapes
  init_args: {size: 16, train_samples: 4, val_samples: 4, batch_size: 4, num_workers: 0}
attack:
  train:
    class_path: PGD
    init_args:
      constraint: {class_path: Linf, init_args: {eps: 8/255}}
      steps: 1
      step_size: 2/255
  evaluate:
    pgd:
      class_path: PGD
      init_args:
        constraint: {class_path: L2, init_args: {eps: 0.5}}
        steps: 2
        objective: CosPGDLoss
    both:
      class_path: Ensemble
      init_args:
        attacks:
          - {class_path: FGSM, init_args: {constraint: {class_path: Linf, init_args: {eps: 0.03}}}}
          - {class_path: APGD, init_args: {constraint: {class_path: Linf, init_args: {eps: 0.03}}, steps: 2}}
  worst: {worst: [pgd, both]}
trainer:
  accelerator: cpu
  devices: 1
  precision: 32-true
  logger: false
  enable_progress_bar: false
  enable_model_summary: false
  num_sanity_val_steps: 0
  log_every_n_steps: 1
  callbacks:
    - class_path: Inpainting
      init_args:
        constraint: {class_path: L2, init_args: {eps: 2}}
        steps: 1
        step_size: 0.1
        size: 4
        samples: 2
    - class_path: EMA
      init_args: {decay: 0.5}
"""

TREE = yaml.safe_load(CONFIG)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("planted.py").write_text(PLANTED)


FEW = ["--trainer.max_epochs", "1", "--trainer.limit_train_batches", "1", "--trainer.limit_val_batches", "1"]
"""Where a slip leaves out how many samples there are, there are many."""


def use(capsys, draw):
    """Train or evaluate with a config; what is measured are numbers."""
    which = draw.choice(("fit", "validate", "validate"))
    line = command(capsys, which, "--config", "broken.yaml", *FEW)
    for path in Path("runs").glob("*/results.json"):
        assert not line, f"there are results, and {line}"
        sane(json.loads(path.read_text()))


def test_the_whole_config_is_taken(capsys):
    Path("broken.yaml").write_text(CONFIG)
    assert not command(capsys, "fit", "--config", "broken.yaml", *FEW)
    assert Path("runs/broken/results.json").is_file()


@pytest.mark.parametrize("name", cases("values"))
def test_odd_values(capsys, name):
    draw = Random(name)
    tree = broken_tree(TREE, draw, times=draw.choice((1, 1, 2)))
    Path("broken.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))
    use(capsys, draw)


@pytest.mark.parametrize("name", cases("text"))
def test_slips_of_the_hand(capsys, name):
    draw = Random(name)
    Path("broken.yaml").write_bytes(broken_text(CONFIG, draw))
    use(capsys, draw)

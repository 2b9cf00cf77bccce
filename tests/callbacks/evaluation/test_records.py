import csv
import json

import pytest
import torch
from networks import fcn
from torch import nn

from attacks import FGSM, PGD, Ensemble, Linf, Square
from callbacks import Attack, Records, Results
from callbacks.evaluation.bootstrap import intervals
from callbacks.evaluation.records import unfinished
from lightning_modules import Classifier
from lightning_modules.counts import Counts

ATTACKS = {"fgsm": FGSM(Linf(0.1)), "pgd": PGD(Linf(0.1), steps=3), "square": Square(Linf(0.1), queries=5)}


class LostPowerError(Exception):
    pass


class Breaks(Classifier):
    """Is interrupted after so many batches."""

    def __init__(self, network, after):
        super().__init__(network)
        self.after = after

    def test_step(self, batch, batch_idx):
        if batch_idx == self.after:
            raise LostPowerError
        return super().test_step(batch, batch_idx)


def callbacks(key="key"):
    return [Results(), Records(key), Attack(None, dict(ATTACKS), worst={"worst": ["fgsm", "pgd", "square"]})]


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines() if line]


def rows(folder):
    with (folder / "samples.csv").open() as file:
        return list(csv.DictReader(file))


def results(folder):
    content = json.loads((folder / "results.json").read_text())
    for cost in content["cost"].values():
        cost.pop("seconds")
    return {name: content[name] for name in ("metrics", "cost", "worst")}


@pytest.fixture
def network():
    return fcn().float()


@pytest.mark.parametrize("command", ["validate", "test"])
def test_every_sample_has_its_line_and_its_row(make_trainer, noise_loader, network, tmp_path, command):
    module = Classifier(network)
    getattr(make_trainer(callbacks=callbacks()), command)(module, noise_loader(batch_size=2), verbose=False)
    found, table = lines(tmp_path / "records.jsonl"), rows(tmp_path)
    assert [record["index"] for record in found] == list(range(7))
    assert list(table[0]) == ["index", "name", "clean", "fgsm", "pgd", "square", "worst", "worst_attack"]
    for version, values in module.results.items():
        if version == "worst":
            continue
        tp = sum(n[0] for record in found for n in record["counts"][version].values())
        fn = sum(n[2] for record in found for n in record["counts"][version].values())
        assert values["accuracy"] == pytest.approx(tp / (tp + fn))
        assert values["loss"] == pytest.approx(sum(record["loss"][version] for record in found) / 7)
    for row in table:
        scores = {name: float(row[name]) for name in ATTACKS}
        assert float(row["worst"]) == min(scores.values()) == scores[row["worst_attack"]]
    assert not (tmp_path / "records").exists()
    assert results(tmp_path)["cost"]["pgd"] == {"forwards": 3, "backwards": 3}


@pytest.mark.parametrize("command", ["validate", "test"])
def test_label_maps_have_intervals_over_their_images(make_trainer, noise_loader, network, tmp_path, command):
    module = Classifier(network)
    getattr(make_trainer(callbacks=callbacks()), command)(module, noise_loader(batch_size=2), verbose=False)
    metrics = results(tmp_path)["metrics"]
    assert set(metrics) == {"clean", *ATTACKS, "worst"}
    for values in metrics.values():
        for name in ("accuracy", "miou"):
            low, high = values[f"{name}_interval"]
            assert 0 <= low < values[name] < high <= 1
    found = lines(tmp_path / "records.jsonl")
    classes = [[record["counts"]["pgd"].get(str(c), [0, 0, 0]) for c in range(3)] for record in found]
    expected = intervals(Counts(*torch.tensor(classes).unbind(2)))
    assert tuple(metrics["pgd"]["miou_interval"]) == expected["miou_interval"]


def test_the_worst_is_below_every_attack_and_logged(make_trainer, noise_loader, network):
    module = Classifier(network)
    (logged,) = make_trainer(callbacks=callbacks()).test(module, noise_loader(), verbose=False)
    for name in ("accuracy", "miou"):
        worst = logged[f"test/worst/{name}"]
        assert worst == pytest.approx(module.results["worst"][name])
        assert worst <= min(logged[f"test/{attack}/{name}"] for attack in ATTACKS)


def test_a_training_run_keeps_no_records(make_trainer, noise_loader, network, tmp_path):
    make_trainer(callbacks=callbacks()).fit(Classifier(network), noise_loader(), noise_loader())
    assert (tmp_path / "results.json").is_file()
    assert not list(tmp_path.glob("records*"))


@pytest.mark.parametrize("after", [0, 2])
def test_an_interrupted_evaluation_goes_on_where_it_stopped(make_trainer, noise_loader, network, tmp_path, after):
    whole = make_trainer(callbacks=callbacks(), default_root_dir=tmp_path / "whole")
    whole.test(Classifier(network), noise_loader(batch_size=2), verbose=False)
    folder = tmp_path / "parts"
    with pytest.raises(LostPowerError):
        broken = make_trainer(callbacks=callbacks(), default_root_dir=folder)
        broken.test(Breaks(network, after), noise_loader(batch_size=2), verbose=False)
    assert unfinished(folder, "key") and not unfinished(folder, "another")
    assert not (folder / "results.json").exists()
    with (folder / "records" / "0.jsonl").open("a") as file:
        file.write('{"index": 6, "coun\n12\n[1]\n{"index": 3}\n')  # torn, as by a power cut, and damaged otherwise
    with (folder / "records" / "1.jsonl").open("wb") as file:
        file.write(b"\xff\xfe\x00")

    forwards = []
    network.register_forward_hook(lambda module, args, output: forwards.append(len(args[0])))
    again = make_trainer(callbacks=callbacks(), default_root_dir=folder)
    again.test(Classifier(network), noise_loader(batch_size=2), verbose=False)
    remaining = 7 - 2 * after
    # FGSM 1, PGD 3, Square 5, and a look at the clean image and at each attacked one
    assert sum(forwards) == remaining * (1 + 3 + 5 + 4)
    assert results(folder) == results(tmp_path / "whole")
    assert rows(folder) == rows(tmp_path / "whole")
    assert not unfinished(folder, "key")


def test_a_batch_that_is_known_in_part_is_measured_again(make_trainer, noise_loader, network, tmp_path):
    with pytest.raises(LostPowerError):
        make_trainer(callbacks=callbacks()).test(Breaks(network, 1), noise_loader(batch_size=2), verbose=False)
    make_trainer(callbacks=callbacks()).test(Classifier(network), noise_loader(batch_size=7), verbose=False)
    assert [record["index"] for record in lines(tmp_path / "records.jsonl")] == list(range(7))
    assert results(tmp_path)["metrics"]["clean"]["samples"] == 7


def test_image_level_labels(make_trainer, noise_loader, tmp_path):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 3))
    module = Classifier(network)
    make_trainer(callbacks=callbacks()).test(module, noise_loader(dense=False), verbose=False)
    for row in rows(tmp_path):
        assert {row[name] for name in ("clean", *ATTACKS)} <= {"0", "1"}
        assert float(row["worst"]) == min(float(row[name]) for name in ATTACKS)
    worst = [float(row["worst"]) for row in rows(tmp_path)]
    assert module.results["worst"]["accuracy"] == pytest.approx(sum(worst) / 7)
    assert "miou" not in module.results["worst"]


def test_of_an_ensemble_the_attack_that_won_is_told(make_trainer, noise_loader, network, tmp_path):
    """Also by the run that goes on where another was interrupted."""

    def run(module):
        attacks = {"both": Ensemble([FGSM(Linf(0.1)), PGD(Linf(0.1), steps=3)]), **ATTACKS}
        trainer = make_trainer(callbacks=[Results(), Records(), Attack(None, attacks)])
        trainer.test(module, noise_loader(batch_size=2), verbose=False)

    with pytest.raises(LostPowerError):
        run(Breaks(network, 2))
    run(Classifier(network))
    for row in rows(tmp_path):
        scores = {name: float(row[name]) for name in ("clean", "fgsm", "pgd")}
        assert float(row["both"]) == min(scores.values()) == scores[row["both_attack"].lower()]
    assert {row["both_attack"] for row in rows(tmp_path)} == {"FGSM", "PGD"}
    assert "pgd_attack" not in rows(tmp_path)[0]
    settings = json.loads((tmp_path / "results.json").read_text())["attacks"]["both"]
    assert list(settings) == ["class", "attacks"]


def test_a_worst_group_must_name_attacks_that_are_there():
    for group in ({"sea": ["pgd", "js"]}, {"sea": []}, {"pgd": ["pgd"]}, {"clean": ["pgd"]}, {"a b": ["pgd"]}):
        with pytest.raises(ValueError, match=r"worst|cannot name"):
            Attack(None, {"pgd": PGD(Linf(0.1))}, worst=group)

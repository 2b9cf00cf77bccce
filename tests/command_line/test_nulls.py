import pytest
from test_cli import QUICK, error_of

from cli import main

ENSEMBLE = "{both: {class_path: Ensemble, init_args: {attacks: [FGSM, ?]}}}"
EMAS = "[{class_path: EMA}, {class_path: EMA}]"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SADDLE_DEBUG", raising=False)


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (["--data.num_workers", "null"], "data.num_workers null: is nothing; give a value, or leave it out"),
        (["--data.val_samples", "null"], "data.val_samples null: is nothing"),
        (["--attack.evaluate.pgd.init_args.steps", "null"], "attack.evaluate.pgd.steps null: is nothing"),
        (["--attack.evaluate", ENSEMBLE.replace("?", "null")], "not None"),
        (
            ["--attack.evaluate", "{both: {class_path: Ensemble, init_args: {attacks: [FGSM, {}]}}}"],
            "{} names no class",
        ),
        (["--model.optimizer", "{class_path: torch.optim.SGD, init_args: {lr: null}}"], "model.optimizer.lr null"),
        (
            ["--trainer.callbacks", EMAS],
            "trainer.callbacks: Found more than one stateful callback of type `EMA`",
        ),
    ],
)
def test_nothing_where_something_is_needed_is_told(capsys, args, line):
    assert line in error_of(capsys, "fit", *QUICK, *args)


def test_nothing_where_it_is_a_choice_is_taken():
    args = ["--attack.train", "null", "--model.schedule", "null", "--data.predict_images", "null"]
    main(["fit", *QUICK, *args, "--trainer.max_epochs", "1", "--trainer.max_time", "null"])

"""Every synthesis task, as a user asks for it in a config or on the command line."""

import inspect
from pathlib import Path

import pytest

import callbacks
from cli import main

TASKS = sorted(
    name
    for name, each in vars(callbacks).items()
    if inspect.isclass(each) and issubclass(each, callbacks.PictureCallback) and not inspect.isabstract(each)
)

NEEDS = {
    "Translation": ["--trainer.callbacks.target", "disc"],
    "SketchToImage": ["--trainer.callbacks.target", "1"],
    "FeaturePainting": ["--trainer.callbacks.features", "[5, 3]", "--trainer.callbacks.size", "6"],
    "FeatureAddition": ["--trainer.callbacks.features", "[5]"],
    "LayerVisualization": ["--trainer.callbacks.layer", "model.backbone.1.0"],
    "SensitivityMaps": ["--trainer.callbacks.randomization", "2"],
    "Inversion": ["--trainer.callbacks.start", "image"],
}
"""What a task must be told."""

NOT_OF = {("Localization", "map")}
"""A task and labels that it is not for."""

SMALL = [
    *("--data.train_samples", "8", "--data.val_samples", "4", "--data.batch_size", "4", "--data.size", "16"),
    *("--attack.train.steps", "1", "--attack.evaluate.pgd.init_args.steps", "1", "--trainer.max_epochs", "1"),
    *("--trainer.check_val_every_n_epoch", "1", "--trainer.callbacks", "[]", "--trainer.logger", "false"),
    *("--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"),
    *("--model.network.init_args.channels_last", "false"),
]
CLASSES = ["--data.labels", "class", "--model.network.name", "resnet_small", "--model.network.num_classes", "4"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SADDLE_DEBUG", raising=False)


def fit(*args):
    main(["fit", "--config", "quickstart.yaml", *SMALL, *args])


@pytest.mark.parametrize(
    ("name", "labels"), [(name, kind) for name in TASKS for kind in ("map", "class") if (name, kind) not in NOT_OF]
)
def test_a_task_paints_in_a_fit_of_a_classifier_and_of_an_fcn(name, labels, capsys):
    task = getattr(callbacks, name)
    arguments = ["--trainer.callbacks.samples", "3", *NEEDS.get(name, [])]
    if issubclass(task, callbacks.Synthesis):
        arguments += ["--trainer.callbacks.steps", "2"]
    fit(f"--trainer.callbacks+={name}", *arguments, *(CLASSES if labels == "class" else []))
    pictures = list(Path("runs/quickstart/gallery", task.task).glob("*/epoch_0000.png"))
    assert len(pictures) >= 3
    assert len({picture.read_bytes() for picture in pictures}) > 1 or name == "FirstFilters", "that is of the network"
    assert task.task in (Path("runs/quickstart/gallery/index.html").read_text())


@pytest.mark.parametrize(
    ("arguments", "line"),
    [(["Translation", "target", "dics"], "Translation: target=dics: no class is called so; did you mean disc"),
     (["Translation", "target", "7"], "Translation: target=7: classes are numbered from 0 to 4"),
     (["Inpainting", "masks", "nowhere.png"], "nowhere.png: no picture that can be read"),
     (["Generation", "start", "gaussian"], "Generation: start=gaussian: a Gaussian is that of a class"),
     (["Generation", "samples", "[17]"], "generation: sample 17 of a set of 4; set `samples`"),
     (["FeaturePainting", "features", "[64]"], "features=64: the representation (model.classifier.3) has 64 units"),
     (["FeatureAddition", "features", "[3, 3]"], "features=[3, 3]: units of the representation, each once"),
     (["FeatureVisualization", "layer", "model.fc"], "layer=model.fc: the network has no such layer; it has "),
     (["Inversion", "inside", "dics"], "Inversion: inside=dics: no class is called so; did you mean disc"),
     (["Interpolation", "samples", "1"], "interpolation: shows pairs of images, and there is one; set `samples`"),
     (["DecisionInsight", "k", "65"], "k=65: the representation (model.classifier.3) has 64 units"),
     (["LayerVisualization", "layer", "model.backbone.10"], "model.backbone.10: the network has no such layer; it "),
     (["SensitivityMaps", "target", "dics"], "SensitivityMaps: target=dics: no class is called so; did you mean disc"),
     (["FirstFilters", "layer", "model.backbone.3.0.conv2"], "model.backbone.3.0.conv2: its filters have 128 channels"),
     (["Localization", "threshold", "0.3"], "Localization: the batches have no `box`: left, top, right and bottom"),
     (["SuperResolution", "factor", "20"], "SuperResolution: factor=20: an image of 16 x 16 pixels leaves nothing")],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)  # fmt: skip
def test_what_cannot_be_painted_is_told_before_training(arguments, line, capsys):
    name, setting, value = arguments
    with pytest.raises(SystemExit) as ended:
        fit(f"--trainer.callbacks+={name}", f"--trainer.callbacks.{setting}", value)
    assert ended.value.code == 2
    (told,) = [each for each in capsys.readouterr().err.splitlines() if each.startswith("error")]
    assert line in told
    assert not Path("runs").exists()

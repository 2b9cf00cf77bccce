from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch.loggers.logger import DummyLogger
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from one_line import one_line
from PIL import Image
from torch import nn

from attacks import L2
from callbacks import Generation, Inpainting
from lightning_modules import Classifier
from reports.paintings import read_task

SETTINGS = {"constraint": L2(5), "steps": 2, "step_size": 0.1}


class ImageLogger(DummyLogger):
    """Keeps what it is given, as a dashboard would."""

    def __init__(self):
        super().__init__()
        self.images, self.scalars = [], []

    def log_image(self, key, images, step=None, **kwargs):
        self.images.append((key, [image.size for image in images], step, kwargs["caption"]))

    def log_metrics(self, metrics, step=None):
        self.scalars.append((set(metrics), step))


@pytest.fixture
def module(pixel_network):
    return Classifier(pixel_network)


def test_every_epoch_adds_its_pictures_of_the_same_samples(make_trainer, noise_loader, module, tmp_path):
    logger = ImageLogger()
    tasks = [Inpainting(**SETTINGS, size=3, samples=3), Generation(**SETTINGS, samples=[1, 6])]
    trainer = make_trainer(max_epochs=2, callbacks=tasks, logger=logger)
    trainer.fit(module, noise_loader(), noise_loader())
    gallery = tmp_path / "gallery"
    assert sorted(folder.name for folder in (gallery / "inpainting").glob("*/")) == ["000000", "000002", "000004"]
    assert sorted(folder.name for folder in (gallery / "generation").glob("*/")) == ["000001", "000006"]
    names = ["epoch_0000.png", "epoch_0001.png", "label.png", "original.png"]
    names += ["prediction_0000.png", "prediction_0001.png", "start.png"]
    assert sorted(path.name for path in (gallery / "generation" / "000001").iterdir()) == names
    assert "epoch_0001.png" in (gallery / "index.html").read_text()
    strip = (4 * 8 + 3 * 2, 8)
    keys = [(key, sizes, step) for key, sizes, step, _ in logger.images]
    assert keys == [
        ("synthesis/inpainting", [strip] * 3, 2),
        ("synthesis/generation", [strip] * 2, 2),
        ("synthesis/inpainting", [strip] * 3, 4),
        ("synthesis/generation", [strip] * 2, 4),
    ]
    names = [f"{name}{start}" for name in ("blurred_error", "psnr", "ssim") for start in ("", "_start")]
    assert ({f"synthesis/inpainting_{name}" for name in names}, 4) in logger.scalars


@pytest.mark.parametrize(
    ("setting", "line"),
    [({"samples": 0}, "samples=0: a number above 0"), ({"samples": []}, r"samples=\[\]: indices of the data set"),
     ({"samples": [3, -1]}, "indices of the data set, 0 or more, each once"), ({"samples": [3, 3]}, "each once"),
     ({"steps": 0}, "steps=0: a number above 0"), ({"every_n_epochs": 0}, "every_n_epochs=0: a number above 0"),
     ({"step_size": -1}, "step_size=-1.0: a number above 0")],
)  # fmt: skip
def test_settings_out_of_their_range(setting, line):
    with pytest.raises(ValueError, match=line):
        Generation(**{**SETTINGS, **setting})


@pytest.mark.parametrize(("epochs", "every", "expected"), [(5, 2, [1, 3, 4]), (3, 1, [0, 1, 2])])
def test_every_n_epochs_and_always_the_last(make_trainer, noise_loader, module, tmp_path, epochs, every, expected):
    task = Generation(**SETTINGS, samples=1, every_n_epochs=every)
    make_trainer(max_epochs=epochs, callbacks=[task]).fit(module, noise_loader(), noise_loader())
    painted = sorted(path.stem for path in (tmp_path / "gallery/generation/000000").glob("epoch_*"))
    assert painted == [f"epoch_{epoch:04d}" for epoch in expected]


@pytest.mark.parametrize("inference_mode", [True, False])
@pytest.mark.parametrize("command", ["validate", "test"])
def test_evaluation_paints_too(make_trainer, noise_loader, module, tmp_path, command, inference_mode):
    trainer = make_trainer(callbacks=[Generation(**SETTINGS, samples=2)], inference_mode=inference_mode)
    getattr(trainer, command)(module, noise_loader(), verbose=False)
    assert len(list((tmp_path / "gallery/generation").glob("*/painting.png"))) == 2
    assert not list((tmp_path / "gallery/generation").glob("*/epoch_*"))


@pytest.mark.parametrize("command", ["validate", "test"])
def test_an_evaluation_says_how_long_its_checkpoint_was_trained(make_trainer, noise_loader, module, tmp_path, command):
    trainer = make_trainer(max_epochs=3)
    trainer.fit(module, noise_loader())
    trainer.save_checkpoint(tmp_path / "some.ckpt")
    trainer = make_trainer(callbacks=[Generation(**SETTINGS, samples=1)])
    getattr(trainer, command)(module, noise_loader(), ckpt_path=tmp_path / "some.ckpt", verbose=False)
    assert [path.name for path in (tmp_path / "gallery/generation/000000").glob("epoch_*")] == ["epoch_0002.png"]
    assert "epoch 3" in (tmp_path / "gallery/index.html").read_text()


@pytest.mark.parametrize("dense", [True, False])
def test_what_was_painted_how_and_what_the_network_sees_in_it_is_kept(make_trainer, noise_loader, tmp_path, dense):
    torch.manual_seed(0)
    network = nn.Conv2d(3, 3, 1) if dense else nn.Sequential(nn.Flatten(), nn.Linear(192, 3))
    task, logger = Inpainting(L2(5), 2, "8/255", size=3, samples=[4], weight=2), ImageLogger()
    loader = noise_loader(dense=dense)
    make_trainer(callbacks=[task], logger=logger).fit(Classifier(network), loader, loader)
    found = read_task(tmp_path / "gallery" / "inpainting")
    assert found.settings == {
        "constraint": {"class": "L2", "eps": 5}, "steps": 2, "step_size": 8 / 255, "size": [3, 3], "weight": 2,
    }  # fmt: skip
    sample = loader.dataset[4]
    batch = {"image": sample["image"][None], "label": sample["label"][None], "index": torch.tensor([4])}
    (painting,) = task.synthesize(network, batch)
    ((_, _, _, captions),) = logger.images
    if dense:
        with Image.open(tmp_path / "gallery/inpainting/000004/prediction_0000.png") as picture:
            assert torch.equal(torch.from_numpy(np.array(picture)).long(), painting.logits.argmax(1)[0])
        assert found.samples["000004"].classes == [0, 1, 2, 255]
        assert captions == ["000004: original, start, result, prediction"]
    else:
        seen, share = painting.logits.argmax(1).item(), painting.logits.softmax(1).max().item()
        said = f"class {seen} {100 * share:.0f} %"
        assert found.samples["000004"].predictions == {"epoch_0000.png": said}
        assert captions == [f"000004 (class {int(batch['label'])}): original, start, result ({said})"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"samples": 0}, {"samples": -1}, {"samples": []}, {"samples": [1, 1]}, {"samples": [-1]}, {"steps": 0},
        {"step_size": 0}, {"step_size": "-8/255"}, {"every_n_epochs": 0},
    ],
)  # fmt: skip
def test_a_setting_out_of_its_range_is_told(wrong):
    with pytest.raises(ValueError, match=one_line(next(iter(wrong)))):
        Generation(**SETTINGS | wrong)


def test_a_damaged_results_file_does_not_end_a_training(make_trainer, noise_loader, module, tmp_path):
    """As of the run that is gone on with."""
    (tmp_path / "results.json").write_text("{")
    with pytest.warns(UserWarning, match="gallery's page is not written"):
        make_trainer(callbacks=[Generation(**SETTINGS)]).fit(module, noise_loader(), noise_loader())
    assert (tmp_path / "gallery/generation/000000/epoch_0000.png").is_file()


def test_the_sanity_check_paints_nothing(make_trainer, noise_loader, module, tmp_path):
    trainer = make_trainer(callbacks=[Generation(**SETTINGS)], limit_train_batches=1, num_sanity_val_steps=1)
    painted = []

    def forbid(*args):
        assert not trainer.sanity_checking
        painted.append(args)

    trainer.callbacks[0]._make = forbid
    trainer.fit(module, noise_loader(), noise_loader())
    assert len(painted) == 1


def test_painting_does_not_change_training(make_trainer, noise_loader, tmp_path):
    def train(callbacks):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Conv2d(4, 3, 1))
        make_trainer(max_epochs=2, callbacks=callbacks).fit(Classifier(network), noise_loader(), noise_loader())
        return network.state_dict()

    plain, painted = train([]), train([Generation(**SETTINGS), Inpainting(**SETTINGS, size=3)])
    assert all(torch.equal(plain[key], painted[key]) for key in plain)


def test_samples_of_several_sizes_are_painted_one_by_one(make_trainer, module, tmp_path):
    samples = [
        {"image": torch.rand(3, 8, 8 + i), "label": torch.zeros(8, 8 + i, dtype=torch.long), "index": i}
        for i in range(3)
    ]
    loader = torch.utils.data.DataLoader(samples, 1)
    make_trainer(callbacks=[Generation(**SETTINGS, samples=3)]).validate(module, loader, verbose=False)
    assert len(list(Path(tmp_path).glob("gallery/generation/*/painting.png"))) == 3


class Watcher(Generation):
    """Notes what it looks at."""

    pairs = True

    def __init__(self, **options):
        super().__init__(**SETTINGS, **options)
        self.looks = []

    def look_at(self, data, network):
        self.looks.append((data, network))

    def synthesize(self, network, batch):
        assert self.looks
        self.looks.append(batch["other"])
        return super().synthesize(network, batch)


def test_before_it_paints_it_may_look_at_the_data(make_trainer, noise_loader, module):
    task, loader = Watcher(samples=2), noise_loader()
    make_trainer(callbacks=[task]).validate(module, loader, verbose=False)
    (look, other) = task.looks
    assert look == (loader.dataset, module.network)
    assert torch.equal(other, torch.stack([loader.dataset[3]["image"], loader.dataset[0]["image"]]))


def test_one_image_makes_no_pair(make_trainer, noise_loader, module):
    with pytest.raises(MisconfigurationException, match="shows pairs of images, and there is one; set `samples`"):
        make_trainer(callbacks=[Watcher(samples=1)]).validate(module, noise_loader(), verbose=False)


class Broken(Generation):
    """Its objective is NaN for every second sample."""

    def plans(self, network, batch, seed):
        (plan,) = super().plans(network, batch, seed)
        objective = plan.objective

        def broken(image, progress):
            value, logits = objective(image, progress)
            return value * torch.where(batch["index"] % 2 == 0, 1.0, torch.nan), logits

        plan.objective = broken
        yield plan

    def scores(self, painting, plan):
        return {"brightness": painting.result.mean((1, 2, 3))}


def test_a_painting_that_meets_nan_is_told_and_training_goes_on(make_trainer, noise_loader, module, tmp_path):
    task = Broken(**SETTINGS, samples=[0, 1, 2, 3])
    trainer = make_trainer(max_epochs=2, callbacks=[task])
    with pytest.warns(UserWarning, match="generation: the picture of sample 000001 is left out: the network met NaN"):
        trainer.fit(module, noise_loader(), noise_loader())
    assert trainer.current_epoch == 2
    assert {path.parent.name for path in tmp_path.glob("gallery/*/*/epoch_0001.png")} == {"000000", "000002"}
    assert 0 < task.results["brightness"] < 1


def test_where_every_painting_meets_nan_there_are_no_scores(make_trainer, noise_loader, module):
    task = Broken(**SETTINGS, samples=[1, 3])
    with pytest.warns(UserWarning, match="000003 is left out"):
        make_trainer(callbacks=[task]).fit(module, noise_loader(), noise_loader())
    assert task.results == {}

import json

import numpy as np
import pytest
import torch
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from networks import seeded
from one_line import one_line
from torch import nn
from torch.utils.data import DataLoader, Dataset

from callbacks import Localization
from callbacks.insight.boxes import box_of
from callbacks.insight.heatmaps import ClassActivation, gradient_heatmap
from callbacks.insight.localization import look_at_boxes
from cli import main
from lightning_modules import Classifier

GREEN, RED = torch.tensor([0.0, 1.0, 0.0]), torch.tensor([1.0, 0.0, 0.0])


class Squares(Dataset):
    """A bright square on dim noise, red or blue by its class, with its box."""

    def __init__(self, length=9, size=24, seed=0):
        generator = torch.Generator().manual_seed(seed)
        self.image = 0.2 * torch.rand(length, 3, size, size, generator=generator)
        self.label = torch.arange(length) % 2
        corners = torch.randint(1, size // 2, (length, 2), generator=generator)
        self.box = torch.cat([corners, corners + size // 3], 1).float()
        for image, label, box in zip(self.image, self.label, self.box.int().tolist(), strict=True):
            image[2 * label, box[1] : box[3], box[0] : box[2]] += 0.7

    def __len__(self):
        return len(self.image)

    def __getitem__(self, index):
        sample = {"image": self.image[index], "label": self.label[index], "index": index}
        return sample | {"box": self.box[index]}


def squares_network():
    """Sees red or blue where it is bright."""

    def build():
        network = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
        )
        weight = torch.zeros(4, 3, 3, 3)
        weight[0, 0], weight[1, 2] = 1 / 9, 1 / 9
        network[0].weight.data.copy_(weight)
        network[0].bias.data.copy_(torch.tensor([-0.3, -0.3, 0, 0]))
        network[4].weight.data.copy_(30 * torch.tensor([[1.0, -1, 0, 0], [-1, 1, 0, 0]]))
        network[4].bias.data.zero_()
        return network

    return seeded(build)


def batch_of(data, *places):
    samples = [data[place] for place in places]
    return {key: torch.stack([torch.as_tensor(each[key]) for each in samples]) for key in samples[0]}


def test_pictures_have_the_true_box_in_red_and_the_estimate_in_green_over_the_heatmap():
    network, batch = squares_network(), batch_of(Squares(), 0, 5)
    batch["box"] = torch.tensor([[1.0, 2, 23, 22]] * 2)  # another than the estimate, which would lie over it
    gradient, cam = Localization(["gradient", "cam"], threshold=0.4).synthesize(network, batch)
    assert (gradient.variant, cam.variant) == ("gradient", "cam")
    expected = {"gradient": gradient_heatmap(network, batch["image"])[0]}
    expected["cam"] = ClassActivation(network, batch["image"])(batch["image"], batch["label"])[0]
    for painting in (gradient, cam):
        heatmap = expected[painting.variant]
        assert np.allclose(painting.beside["heatmap"][:, 0], heatmap, atol=1e-6)
        assert torch.equal(painting.original, batch["image"]) and torch.allclose(
            painting.logits, network(batch["image"])
        )
        for i in range(2):
            left, top, right, bottom = box_of(heatmap[i], 0.4).tolist()
            assert torch.equal(painting.result[i, :, top, left], GREEN)
            assert torch.equal(painting.result[i, :, bottom - 1, right - 1], GREEN)
            red = (painting.result[i] == RED[:, None, None]).all(0).nonzero()
            true = batch["box"][i].int().tolist()
            assert len(red) and (red >= torch.tensor([true[1], true[0]])).all()
            assert (red < torch.tensor([true[3], true[2]])).all()
            lines = (painting.result[i] == GREEN[:, None, None]).all(0) | (
                painting.result[i] == RED[:, None, None]
            ).all(0)
            plain = torch.tensor(heatmap[i] < 2 / 3) & ~lines  # where nothing is blue in the heatmap
            assert plain.any()
            assert torch.allclose(painting.result[i, 2][plain], batch["image"][i, 2][plain] / 2, atol=1 / 255)


def test_a_picture_of_no_label_and_no_box_has_the_estimate_alone():
    batch = {"image": Squares().image[:1]}
    task = Localization(["cam"])
    task.check(squares_network(), batch)
    (painting,) = task.synthesize(squares_network(), batch)
    assert painting.variant == "" and (painting.result == GREEN[:, None, None]).all(1).any()
    assert not (painting.result == RED[:, None, None]).all(1).any()


@pytest.mark.parametrize("command", ["fit", "validate", "test"])
def test_all_images_are_measured_and_thresholds_are_chosen_on_training_images(make_trainer, command, tmp_path):
    data, training = Squares(), Squares(10, seed=1)
    task = Localization(["gradient", "cam"], training_share=0.5, samples=2)
    read = []

    class Watched(Squares):
        def __getitem__(self, index):
            read.append(index)
            return super().__getitem__(index)

    class Data(torch.utils.data.Dataset):
        """Stands for a data module."""

        plain_training_set = staticmethod(lambda: Watched(10, seed=1))

    trainer = make_trainer(callbacks=[task])
    task._learn = lambda *_: setattr(task, "training_images", Data.plain_training_set)
    loader = DataLoader(data, 4)
    module = Classifier(squares_network(), optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.0))
    if command == "fit":
        trainer.fit(module, DataLoader(training, 5), loader)
    else:
        states = []
        for each in (make_trainer(), trainer):
            torch.manual_seed(0)
            getattr(each, command)(module, loader, verbose=False)
            states.append(torch.random.get_rng_state())
        assert torch.equal(*states)
    told = task.results
    assert sorted(read) == [0, 2, 4, 6, 8], "half of them, evenly spread"
    assert told["images"] == 9 and told["top1_acc"] == 1
    assert told["gradient_max_box_acc"] == told["cam_max_box_acc"] == 1, "the network sees where the squares are"
    assert told["cam_box_acc"] > 0.8 and told["centred_max_box_acc"] < 1
    assert told["cam_max_box_acc_gain"] == 1 - told["centred_max_box_acc"]
    assert 0 < told["cam_threshold"] < 1
    assert len(list((tmp_path / "gallery/localization").glob("*_cam/heatmap*.png"))) == 2


def test_what_is_measured_does_not_depend_on_the_batches(make_trainer):
    told = []
    for size in (2, 9):
        task = Localization(["gradient", "cam"], samples=1)
        make_trainer(callbacks=[task]).validate(
            Classifier(squares_network()), DataLoader(Squares(), size), verbose=False
        )
        told.append(task.results)
    assert told[0] == told[1] and "cam_box_acc" not in told[0], "without training images nothing is chosen on them"


def test_only_evaluations_that_are_due_are_measured(make_trainer, monkeypatch):
    task = Localization(samples=1, every_n_epochs=3)
    looks = []
    monkeypatch.setattr(task, "_count", lambda *_: looks.append(trainer.current_epoch))
    monkeypatch.setattr("callbacks.insight.localization.scores", lambda *_: {"images": 9.0})
    trainer = make_trainer(max_epochs=4, callbacks=[task], num_sanity_val_steps=1)
    trainer.fit(Classifier(squares_network()), DataLoader(Squares(4), 4), DataLoader(Squares(), 9))
    assert looks == [2, 3], "after the third epoch, and the last"


@pytest.mark.parametrize(
    ("setting", "line"),
    [({"heatmaps": []}, "heatmaps=[]: gradient, cam or both"), ({"heatmaps": ["cam", "cam"]}, "gradient, cam or both"),
     ({"heatmaps": ["gradcam"]}, "gradient, cam or both"), ({"threshold": 1}, "threshold=1: in [0, 1)"),
     ({"training_share": 1.5}, "training_share=1.5: between 0 and 1"), ({"samples": 0}, "samples=0: a number above 0")],
)  # fmt: skip
def test_settings_out_of_their_range(setting, line):
    with pytest.raises(ValueError, match=one_line(line)):
        Localization(**setting)


@pytest.mark.parametrize(
    ("box", "line"),
    [([1, 2, 3, 4], "here it is (4,) for 2 images"), ([[[1.0, 2, 3, 4]]] * 2, "here it is (2, 1, 4)"),
     ([[1.0, 2, 3, 4]] * 3, "here it is (3, 4) for 2 images"), ([[0.0, 0, 5, 9], [1, 1, 9, 8]], "[1.0, 1.0, 9.0, 8.0]"),
     ([[0.0, 0, 5, 9], [-1, 1, 7, 8]], "none in an image of 9 x 8"), ([[6.0, 0, 5, 9], [1, 1, 7, 8]], "[6.0, 0.0, 5.0"),
     ([[torch.nan, 0, 5, 9], [1, 1, 7, 8]], "none in an image")],
)  # fmt: skip
def test_boxes_that_are_none_are_told(box, line):
    with pytest.raises(ValueError, match=one_line("`box` is float (B, 4): left, top, right and bottom", line)):
        look_at_boxes(torch.tensor(box), torch.zeros(2, 3, 9, 8))


def test_boxes_in_shares_of_the_image_are_told():
    batch = {"image": Squares().image[:1], "box": torch.tensor([[0.1, 0.2, 0.5, 1.0]])}
    with pytest.raises(ValueError, match=one_line("has shares of its image: give it in pixels")):
        Localization().check(squares_network(), batch)


def test_a_box_that_the_crop_has_left_empty_is_one():
    look_at_boxes(torch.tensor([[0.0, 3, 0, 9], [8, 0, 8, 2]]), torch.zeros(2, 3, 9, 8))


def test_label_maps_and_a_single_class_are_told(pixel_network):
    image = torch.rand(2, 3, 8, 8)
    with pytest.raises(ValueError, match=one_line("is for one class an image")):
        Localization().check(pixel_network, {"image": image})
    one = nn.Sequential(nn.Flatten(), nn.Linear(192, 1))
    with pytest.raises(ValueError, match=one_line("tells one class apart")):
        Localization().check(one, {"image": image})
    flat = nn.Sequential(nn.Flatten(), nn.Linear(192, 2))
    with pytest.raises(ValueError, match=one_line("cam: the last linear map (1) does not see the means")):
        Localization(["cam"]).check(flat, {"image": image})


def test_batches_without_boxes_are_told(make_trainer, noise_loader):
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 3))
    trainer = make_trainer(callbacks=[Localization(samples=1)])
    with pytest.raises(MisconfigurationException, match=one_line("the batches have no `box`", "CUB200 has")):
        trainer.validate(Classifier(network), noise_loader(dense=False), verbose=False)


SHAPES = [
    *("--data.size", "16", "--data.train_samples", "8", "--data.val_samples", "4", "--data.batch_size", "4"),
    *("--attack.train", "null", "--attack.evaluate", "{}", "--trainer.max_epochs", "1", "--trainer.logger", "false"),
    *(
        "--trainer.check_val_every_n_epoch",
        "1",
        "--trainer.enable_progress_bar",
        "false",
        "--trainer.callbacks",
        "null",
    ),
    *("--data.labels", "class", "--model.network.name", "resnet_small", "--model.network.num_classes", "4"),
    "--trainer.callbacks+=Localization",
]


def test_from_the_command_line_to_the_table(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    main(["fit", "--config", "quickstart.yaml", *SHAPES, "--trainer.callbacks.heatmaps", "[gradient,cam]"])
    told = json.loads((tmp_path / "runs/quickstart/results.json").read_text())["synthesis"]["localization"]
    assert told["images"] == 4 and {"gradient_box_acc", "cam_max_box_acc", "centred_box_acc"} <= told.keys()
    capsys.readouterr()
    main(["report", "runs/quickstart"])
    assert "localization centred MaxBoxAcc" in capsys.readouterr().out
    main(["paint", "Localization", "--run", "runs/quickstart", "--samples", "2", "--out", "painted"])
    painted = sorted(path.name for path in (tmp_path / "painted").glob("0*.png"))
    assert painted == ["000000.png", "000000_heatmap.png", "000002.png", "000002_heatmap.png"]


def test_training_images_without_boxes_are_told_before_training(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    without = "datamodules.shapes.Shapes.plain_training_set"
    monkeypatch.setattr(without, lambda self: [{"image": torch.zeros(3, 16, 16)}])
    with pytest.raises(SystemExit):
        main(["fit", "--config", "quickstart.yaml", *SHAPES])
    assert "Localization: the training images have no `box`" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()

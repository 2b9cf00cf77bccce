import random
import warnings
from functools import partial

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningDataModule
from networks import fcn, linear, per_pixel, ragged_labels, uniform
from one_line import one_line
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset

from lightning_modules import TRADES, BatchError, Classifier, GradientNorm, NetworkError
from lightning_modules.first_look import first_look

IMAGE, MAPS = uniform(4, 3, 6, 6).float(), ragged_labels()
SAMPLES = [{"image": IMAGE[i], "label": MAPS[i], "index": i} for i in range(4)]
COMMANDS = ["fit", "validate", "test", "predict"]


class Data(LightningDataModule):
    classes = ("sky", "sea", "land")

    def __init__(self, data=SAMPLES, batch_size=2, train=None, **options):
        super().__init__()
        self.loader = partial(DataLoader, data, batch_size, **options)
        self.train = SAMPLES if train is None else train
        self.batch_size = batch_size

    def train_dataloader(self):
        return DataLoader(self.train, self.batch_size)

    def val_dataloader(self):
        return self.loader()

    test_dataloader = predict_dataloader = val_dataloader


@pytest.fixture
def look(make_trainer):
    def run(network, command="validate", data=None, loss=None, **options):
        module = Classifier(network.float(), loss)
        first_look(module, data or Data(), command, make_trainer(**options))
        return module

    return run


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("loss", [None, TRADES()])
def test_what_is_right_passes(look, command, loss):
    look(fcn(), command, loss=loss)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("precision", ["32-true", "64-true", "bf16-mixed"])
def test_nothing_is_disturbed(look, command, precision):
    class Drawing(Dataset):
        def __len__(self):
            return 4

        def __getitem__(self, index):
            torch.rand(1), np.random.rand(), random.random()
            return SAMPLES[index]

    network = fcn().float()
    network.eval()
    network[3].train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    states = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    data = Data(Drawing(), train=Drawing(), num_workers=0)
    module = look(network, command, data, precision=precision)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1].tolist(), random.getstate()) == states[1:]
    assert all(torch.equal(value.to(before[name]), before[name]) for name, value in network.state_dict().items())
    assert [module.training for module in network.modules()] == [False, False, False, False, True, False]
    assert all(p.grad is None for p in module.parameters())


def test_files_that_a_data_set_opens_are_not_open_in_the_run(look):
    class Lazy(Dataset):
        file = None

        def __len__(self):
            return 4

        def __getitem__(self, index):
            self.file = "open"
            return SAMPLES[index]

    data = Lazy()
    look(fcn(), "fit", Data(data, train=data))
    assert data.file is None


def test_no_worker_is_started(look, monkeypatch):
    monkeypatch.setattr(DataLoader, "__iter__", lambda self: pytest.fail("a loader was asked for batches"))
    look(fcn(), "fit", Data(num_workers=2))


def test_a_stream_is_left_alone(look):
    class Once(IterableDataset):
        def __iter__(self):
            return pytest.fail("the stream was read")

    look(fcn(), "validate", Data(Once()))


@pytest.mark.parametrize("place", [0, 3])
@pytest.mark.parametrize("split", ["data", "train"])
def test_the_first_and_the_last_sample_are_looked_at(look, place, split):
    samples = [*SAMPLES]
    samples[place] = {**samples[place], "image": IMAGE[place] * 255}
    with pytest.raises(BatchError, match=one_line("image: values from", "divide them by 255")):
        look(fcn(), "fit", Data(**{split: samples}))


class Short(Dataset):
    """Says that it has more samples than it has."""

    def __init__(self, error, length=9):
        self.error, self.length = error, length

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        if index >= 4:
            raise self.error(f"no {index}")
        return SAMPLES[index]


@pytest.mark.parametrize("error", [IndexError, KeyError, StopIteration])
def test_a_length_that_is_too_long_is_told(look, error):
    with pytest.raises(BatchError, match=one_line("Short: sample 8 of 9 (val) raised", error.__name__, "no 8")):
        look(fcn(), "validate", Data(Short(error)))


def test_an_empty_set_is_told(look):
    with pytest.raises(BatchError, match=one_line("Short: the val set holds no samples")):
        look(fcn(), "validate", Data(Short(IndexError, 0)))


def test_batch_norm_of_a_single_value_is_told_before_training(look):
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1), nn.Upsample(6))
    with pytest.raises(NetworkError, match=one_line("one value per channel", "take --data.batch_size 2 or more")):
        look(network, "fit", Data(batch_size=1))
    look(network, "fit", Data(batch_size=2))
    look(network, "validate", Data(batch_size=1))


class Returns(nn.Module):
    def __init__(self, forward):
        super().__init__()
        self.body, self.made = per_pixel(), forward

    def forward(self, image):
        return self.made(self.body(image))


@pytest.mark.parametrize(
    ("made", "part"),
    [
        (lambda logits: logits[:, :2], "2 outputs, and the data have 3 classes"),
        (lambda logits: torch.cat([logits, logits], 1), "6 outputs, and the data have 3 classes"),
        (lambda logits: logits[:, :1], "one output"),
        (lambda logits: logits[..., ::2, ::2], "logits of (3, 3) pixels"),
        (lambda logits: logits * float("nan"), "logits are NaN or infinite"),
        (lambda logits: {"scores": logits}, "not a dict of scores"),
        (lambda logits: None, "not a NoneType"),
        (lambda logits: logits.half(), "logits are float16"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_not_logits_is_told_before_anything_is_written(look, command, made, part):
    with pytest.raises(NetworkError, match=one_line(part)):
        look(Returns(made), command)


@pytest.mark.parametrize(
    "made",
    [
        lambda logits: {"logits": logits, "loss": None},
        lambda logits: {"out": logits, "aux": None},
        lambda logits: (logits, logits[:, :1]),
        lambda logits: [logits],
        lambda logits: type("Output", (), {"logits": logits})(),
    ],
)
@pytest.mark.parametrize("command", COMMANDS)
def test_logits_by_any_usual_name_are_taken(look, command, made):
    look(Returns(made), command)


def test_a_network_for_other_images_is_told_in_one_line(look):
    with pytest.raises(
        NetworkError, match=one_line("images (1, 3, 6, 6): the network fails with RuntimeError: ", "mat1")
    ):
        look(linear(size=5), "validate")


@pytest.mark.parametrize(
    ("loss", "error", "part"),
    [
        (lambda network, batch: network(batch["image"]).mean(), BatchError, "the loss gives a tensor ()"),
        (lambda network, batch: network(batch["image"]).mean((1, 2, 3)).detach(), BatchError, "has no gradient"),
        (lambda network, batch: network(batch["image"]).mean((1, 2, 3)) / 0, BatchError, "before the first step"),
        (lambda network, batch: batch["boxes"], NetworkError, "the network or its loss fails with KeyError: 'boxes'"),
    ],
)
def test_a_loss_is_tried_before_training(look, loss, error, part):
    with pytest.raises(error, match=one_line(part)):
        look(fcn(), "fit", loss=loss)
    look(fcn(), "validate", loss=loss)


def test_a_network_without_a_second_derivative_is_told_before_training(look):
    network = fcn()
    network[2] = nn.Hardsigmoid()
    look(network, "fit")
    part = "the loss takes a derivative of the gradient, and an operator of the network has none (derivative for aten::"
    with pytest.raises(NetworkError, match=one_line(part)):
        look(network, "fit", loss=GradientNorm())
    look(network, "fit", loss=GradientNorm(step=0.01))
    assert all(weight.grad is None for weight in network.parameters())


def test_images_of_float64_are_for_such_networks(look):
    double = [sample | {"image": sample["image"].double()} for sample in SAMPLES]
    with pytest.raises(BatchError, match=one_line("image: float64, not float32 (B, 3, H, W) in [0, 1]: convert it")):
        look(fcn(), "validate", Data(double))
    look(fcn(), "validate", Data(double), precision="64-true")


class Voids(Dataset):
    """Label maps that are all void, but for some."""

    def __init__(self, length, labelled=()):
        self.length, self.labelled, self.read = length, labelled, []

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        self.read.append(index)
        return SAMPLES[1] | {"label": MAPS[1] if index in self.labelled else torch.full((6, 6), 255), "index": index}


@pytest.mark.parametrize("command", ["fit", "validate", "test"])
def test_a_set_that_is_all_void_is_told_before_anything_is_written(look, command):
    assert (MAPS[1] != 255).any()
    look(fcn(), command, Data(Voids(5, [3])))
    split = "val" if command == "fit" else {"validate": "val"}.get(command, command)
    with pytest.raises(BatchError, match=one_line(f"Voids: {split}: label: all 5 label maps", "are these")):
        look(fcn(), command, Data(Voids(5)))
    with pytest.raises(BatchError, match=one_line("Voids: train: label: all 5 label maps")):
        look(fcn(), "fit", Data(train=Voids(5)))


def test_of_a_large_set_as_much_is_looked_at_as_it_takes(look):
    data = Voids(1000, range(200, 300))
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Voids")
        look(fcn(), "validate", Data(data))
    assert max(data.read[2:]) < 205
    with pytest.warns(UserWarning, match=one_line("Voids: val: label: all 256 of 1000 label maps looked at are void")):
        look(fcn(), "validate", Data(Voids(1000)))


def test_crops_of_few_samples_may_be_void_again_and_again(look):
    class Cropped(Voids):
        def __getitem__(self, index):
            self.labelled = [index] if len(self.read) > 40 else []
            return super().__getitem__(index)

    look(fcn(), "fit", Data(train=Cropped(2)))


def test_prediction_knows_no_void(look):
    look(fcn(), "predict", Data(Voids(5)))

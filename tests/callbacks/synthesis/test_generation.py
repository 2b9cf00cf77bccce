import pytest
import torch
from networks import linear, per_pixel
from one_line import one_line
from torch import nn

from attacks import L2
from callbacks import Generation
from datamodules import Shapes
from lightning_modules import Classifier


def test_it_starts_from_the_channel_mean_and_paints_what_the_labels_say():
    network = nn.Conv2d(3, 3, 1, bias=False)
    with torch.no_grad():
        network.weight.copy_(20 * torch.eye(3).view(3, 3, 1, 1))  # class = brightest channel
    torch.manual_seed(0)
    batch = {"image": torch.rand(2, 3, 16, 16), "label": torch.zeros(2, 16, 16, dtype=torch.long)}
    batch["label"][:, :, 8:] = 2
    batch["label"][0, :4] = 255
    (painting,) = Generation(L2(30), steps=40, step_size=0.5).synthesize(network, batch)
    mean = batch["image"].mean((2, 3), keepdim=True)
    assert torch.allclose(painting.start, mean.expand_as(painting.start))
    valid = batch["label"] != 255
    assert (network(painting.result).argmax(1) == batch["label"])[valid].all()
    untouched = (painting.result - painting.start)[0][:, :4].abs().max()
    assert untouched == 0, "void pixels are asked nothing"


def gaussian_batch(task, index=(0, 1, 2)):
    task.training_images = Shapes("class", train_samples=60, size=8).plain_training_set
    task.classes = ["disc", "square", "triangle", "cross"]
    label = torch.tensor([[0, 3, 3][i] for i in index])
    return {"image": torch.rand(len(index), 3, 8, 8), "label": label, "index": torch.tensor(index)}


def test_image_labels_start_from_a_sample_of_their_class():
    task = Generation(steps=1, step_size=1e-6)
    batch = gaussian_batch(task)
    (painting,) = task.synthesize(linear(4, 8).float(), batch)
    assert not torch.equal(painting.start[1], painting.start[2]), "each sample's is another"
    (alone,) = task.synthesize(linear(4, 8).float(), gaussian_batch(task, [2]))
    assert torch.equal(alone.start[0], painting.start[2]), "whatever is painted beside it"
    train = Shapes("class", train_samples=60, size=8).plain_training_set()
    crosses = torch.stack([train[i]["image"] for i in range(60) if train[i]["label"] == 3])
    many = {key: value[1:2].expand(500, *value.shape[1:]) for key, value in batch.items()} | {
        "index": torch.arange(500)
    }
    (plan,) = task.plans(linear(4, 8), many, torch.arange(500))
    assert torch.allclose(plan.start.mean(0), crosses.mean(0), atol=0.05)


def test_another_run_has_gaussians_of_its_own(tmp_path):
    task = Generation(steps=1, step_size=1e-6)
    batch = gaussian_batch(task)
    first = task.synthesize(linear(4, 8).float(), batch)[0].start
    task.training_images, task.folder = Shapes("class", train_samples=60, size=8, seed=5).plain_training_set, tmp_path
    second = task.synthesize(linear(4, 8).float(), batch)[0].start
    assert not torch.allclose(first, second, atol=0.01)
    assert {path.stem for path in (tmp_path / "seeds").iterdir()} == {"0", "3"}


def test_classes_that_are_named_get_a_picture_each():
    task = Generation(steps=30, targets=["cross", 0])
    paintings = task.synthesize(linear(4, 8).float(), gaussian_batch(task))
    assert [painting.variant for painting in paintings] == ["of_cross", "of_0"]
    assert [painting.logits.argmax(1).tolist() for painting in paintings] == [[3] * 3, [0] * 3]


def test_large_images_start_from_blocks():
    task = Generation(start="gaussian", steps=1, step_size=1e-6)
    task.training_images = Shapes("class", train_samples=20, size=128).plain_training_set
    batch = {"image": torch.rand(1, 3, 128, 128), "label": torch.tensor([2])}
    start = task.synthesize(linear(4, 128).float(), batch)[0].start
    assert torch.equal(start[..., ::2, ::2], start[..., 1::2, 1::2]) and start.unique().numel() > 1000


def test_of_label_maps_there_is_no_gaussian():
    batch = {"image": torch.rand(1, 3, 4, 4).double(), "label": torch.zeros(1, 4, 4, dtype=torch.long)}
    with pytest.raises(ValueError, match=one_line("start=gaussian: a Gaussian is that of a class")):
        Generation(start="gaussian").check(per_pixel(), batch)


def test_a_fit_keeps_the_gaussians_in_the_runs_folder(make_trainer, tmp_path):
    data = Shapes("class", train_samples=32, val_samples=6, size=16)
    task = Generation(steps=2, samples=3)
    make_trainer(callbacks=[task]).fit(Classifier(linear(4, 16).float()), datamodule=data)
    labels = {data.sets["val"][index]["label"] for index in (0, 2, 4)}
    assert {path.stem for path in (tmp_path / "seeds").iterdir()} == {str(label) for label in labels}
    assert len(list(tmp_path.glob("gallery/generation/*/epoch_0000.png"))) == 3

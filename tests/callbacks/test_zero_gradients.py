import torch
from lightning.pytorch.loggers.logger import DummyLogger
from torch import nn

from attacks import FGSM, Linf
from callbacks import Attack, ZeroGradients
from callbacks.zero_gradients import zero_share
from lightning_modules import Classifier


class Blind(nn.Module):
    """Sees the red and green channel of the left half alone."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 3)

    def forward(self, image):
        return self.linear(image[:, :2, :, : image.shape[3] // 2].mean((2, 3)))


def test_the_share_of_what_has_no_gradient():
    image, label = torch.rand(2, 3, 4, 4), torch.tensor([0, 1])
    assert zero_share(Blind(), image, label) == 2 / 3, "one channel, and half of the others"
    assert zero_share(nn.Sequential(nn.Flatten(), nn.Linear(48, 3)), image, label) == 0


def test_saturated_predictions_have_none():
    network = nn.Sequential(nn.Flatten(), nn.Linear(48, 3))
    image = torch.rand(2, 3, 4, 4)
    network[1].weight.data *= 1e5
    right = network(image).argmax(1)
    assert zero_share(network, image, right) == 1
    assert zero_share(network, image, (right + 1) % 3) == 0


def test_only_the_region_of_images_with_labels_counts(pixel_network):
    image, label = torch.rand(2, 3, 8, 8), torch.zeros(2, 8, 8, dtype=torch.int64)
    label[1] = 255
    pixel_network.append(nn.Identity())
    assert zero_share(pixel_network, image, label) == 0, "the second would be all zeros"
    label[0, :, 2:] = 255
    region = torch.zeros(2, 1, 8, 8, dtype=torch.bool)
    region[..., :3] = True
    assert zero_share(pixel_network, image, label) > 0
    assert zero_share(pixel_network, image, label, region) == 0
    assert zero_share(pixel_network, image, torch.full_like(label, 255)) is None


class Scalars(DummyLogger):
    def __init__(self):
        super().__init__()
        self.rows = []

    def log_metrics(self, metrics, step=None):
        self.rows += [step] if "attack/zero_gradients" in metrics else []


def fit(make_trainer, noise_loader, attack, **options):
    logger = Scalars()
    trainer = make_trainer(callbacks=[Attack(attack), ZeroGradients()], logger=logger, **options)
    module = Classifier(nn.Conv2d(3, 3, 1), optimizer=lambda p: torch.optim.SGD(p, lr=0.1))
    trainer.fit(module, noise_loader(1, length=130))
    return logger.rows, module


def test_it_is_looked_at_once_in_a_hundred_steps(make_trainer, noise_loader):
    attack = FGSM(Linf(0.1))
    assert fit(make_trainer, noise_loader, attack, log_every_n_steps=1)[0] == [0, 100]
    assert fit(make_trainer, noise_loader, attack, log_every_n_steps=20)[0] == [19, 119]
    assert fit(make_trainer, noise_loader, attack, log_every_n_steps=65)[0] == [64, 129]
    assert fit(make_trainer, noise_loader, None, log_every_n_steps=1)[0] == [], "nothing attacks"


def test_training_is_the_same_without_it(make_trainer, noise_loader, monkeypatch):
    weights = []
    for look in (ZeroGradients.on_train_batch_end, lambda *_: None):
        monkeypatch.setattr(ZeroGradients, "on_train_batch_end", look)
        torch.manual_seed(0)
        _, module = fit(make_trainer, noise_loader, FGSM(Linf(0.1)), log_every_n_steps=1, accumulate_grad_batches=3)
        weights.append(module.network.weight)
    assert torch.equal(*weights)

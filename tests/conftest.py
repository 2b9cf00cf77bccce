"""What all tests share: small, quiet Trainers and samples of noise."""

import sys
from collections.abc import Callable, Iterator

import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn
from torch.utils.data import DataLoader, Dataset

from callbacks.interruption import ending

torch.set_num_threads(1)  # the tensors are tiny: more threads only wait for each other


@pytest.fixture(autouse=True)
def nothing_was_told() -> None:
    """Of the end of a job: by a test before this one, in the same process."""
    ending.begin()


class NoiseSet(Dataset):
    """Images of noise with label maps (or image labels), a fifth of the pixels void."""

    def __init__(self, length: int = 7, size: int = 8, classes: int = 3, dense: bool = True) -> None:
        generator = torch.Generator().manual_seed(length)
        self.image = torch.rand(length, 3, size, size, generator=generator)
        self.label = torch.randint(0, classes, (length, size, size) if dense else (length,), generator=generator)
        if dense:
            self.label[torch.rand(self.label.shape, generator=generator) < 0.2] = 255

    def __len__(self) -> int:
        return len(self.image)

    def __getitem__(self, index: int) -> dict:
        return {"image": self.image[index], "label": self.label[index], "index": index}


@pytest.fixture(autouse=True)
def modules_of_its_own(tmp_path_factory) -> Iterator[None]:
    """What a test imports from a temporary folder is forgotten after it: another test may write one of that name."""
    before = set(sys.modules)
    yield
    folder = str(tmp_path_factory.getbasetemp())
    for name in sys.modules.keys() - before:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(folder):
            del sys.modules[name]


@pytest.fixture
def noise_loader() -> Callable[..., DataLoader]:
    return lambda batch_size=4, **options: DataLoader(NoiseSet(**options), batch_size)


@pytest.fixture
def make_trainer(tmp_path) -> Callable[..., Trainer]:
    def make(**options) -> Trainer:
        quiet = {"logger": False, "enable_checkpointing": False}
        quiet |= {"enable_progress_bar": False, "enable_model_summary": False}
        options = {"accelerator": "cpu", "max_epochs": 1, "default_root_dir": tmp_path, **quiet, **options}
        return Trainer(**options)

    return make


@pytest.fixture
def pixel_network() -> nn.Module:
    """A per-pixel network with everything an attack could disturb."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.ReLU(), nn.Conv2d(4, 3, 1)
    )

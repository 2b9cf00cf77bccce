"""What an adversarial step costs on a GPU, beside a plain loop and torchattacks; and whether it does what it should.

One table and some checks, within five minutes: prepared for the day when there is a GPU for a quarter of an hour. The
plain loop is K x (forward + backward to the image) + one training step, in float32 without TF32; each row is the median
of steps in turns with it. Rows: the loop with TF32 and in bfloat16, torchattacks, and the Trainer with the `Attack`
callback, by twin and precision; the attack alone with the twin compiled, and replayed as a CUDA graph.

    python benchmarks/gpu.py                       FCN-ResNet50, 8 x 3 x 480 x 480, K = 3
    python benchmarks/gpu.py --device cpu --quick  small, to see that it runs where there is no GPU

The last line, `ratio`, is that of the bfloat16 twin with training in bf16-mixed.
"""

import argparse
import contextlib
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader

sys.path.insert(0, str(Path(__file__).parent.parent))

from attack_step import CLASSES, EPS, STEP_SIZE, Noise

from attacks import PGD, Linf
from attacks.twin import Kind, at_rest
from callbacks import Attack
from lightning_modules import Classifier, Network


class Setting:
    """What all rows share."""

    def __init__(self, device: str, quick: bool) -> None:
        self.device = torch.device(device)
        self.name, self.batch, self.size, self.steps, self.turns = (
            ("fcn_small", 2, 32, 2, 3) if quick else ("fcn_resnet50", 8, 480, 3, 12)
        )
        data = Noise(self.batch, self.size)
        self.image = torch.stack([data[0]["image"]] * self.batch).to(self.device)
        self.label = torch.stack([data[0]["label"]] * self.batch).to(self.device)

    def network(self, channels_last: bool = False) -> Network:
        torch.manual_seed(0)
        return Network(self.name, CLASSES, channels_last=channels_last).to(self.device)

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


@contextlib.contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    backends: list[Any] = [torch.backends.cudnn, torch.backends.cuda.matmul]
    before = [backend.allow_tf32 for backend in backends]
    for backend in backends:
        backend.allow_tf32 = allowed
    try:
        yield
    finally:
        for backend, was in zip(backends, before, strict=True):
            backend.allow_tf32 = was


def plain(setting: Setting, dtype: torch.dtype | None = None, attack: Any = None) -> Callable[[], None]:
    """A step as it is written by hand; in autocast if a dtype is given, or with another's attack."""
    network = setting.network(channels_last=dtype is not None)
    optimizer = torch.optim.SGD(network.parameters(), 1e-6, momentum=0.9)
    attack = None if attack is None else attack(network)

    def step() -> None:
        with torch.autocast(setting.device.type, dtype, enabled=dtype is not None):
            image = setting.image
            network.eval()
            if attack is None:
                for _ in range(setting.steps):
                    image = image.detach().requires_grad_()
                    loss = nn.functional.cross_entropy(network(image), setting.label)
                    torch.autograd.grad(loss, image)
            else:
                image = attack(image, setting.label)
            network.train()
            loss = nn.functional.cross_entropy(network(image.detach()), setting.label)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


class Timed(Classifier):
    """Notes when steps end; the first three warm up."""

    def __init__(self, setting: Setting, channels_last: bool) -> None:
        super().__init__(setting.network(channels_last), optimizer=lambda p: torch.optim.SGD(p, 1e-6, momentum=0.9))
        self.setting, self._since = setting, 0.0
        self.seconds: list[float] = []

    def on_train_batch_end(self, outputs: Any, batch: dict[str, Any], batch_idx: int) -> None:
        self.setting.wait()
        now = time.perf_counter()
        if batch_idx > 2:
            self.seconds.append(now - self._since)
        self._since = now


def trained(setting: Setting, twin: Kind, precision: Any, **settings: Any) -> Timed:
    """The Trainer with the `Attack` callback, over some steps."""
    module = Timed(setting, channels_last=precision != "32-true")
    data = Noise((setting.turns + 3) * setting.batch, setting.size)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            default_root_dir=folder,
            accelerator=setting.device.type if setting.device.type == "cpu" else "gpu",
            devices=1,
            precision=precision,
            max_epochs=1,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
            callbacks=[Attack(PGD(Linf(EPS), setting.steps, step_size=STEP_SIZE), twin=twin)],
            **settings,
        )
        trainer.fit(module, DataLoader(data, setting.batch, num_workers=0 if setting.device.type == "cpu" else 4))
    return module


def timed(setting: Setting, step: Callable[[], None]) -> list[float]:
    seconds = []
    for turn in range(setting.turns + 3):
        setting.wait()
        start = time.perf_counter()
        step()
        setting.wait()
        if turn > 2:
            seconds.append(time.perf_counter() - start)
    return seconds


def loop(setting: Setting, *args: Any, **kwargs: Any) -> list[float]:
    return timed(setting, plain(setting, *args, **kwargs))


def with_trainer(setting: Setting, twin: Kind, precision: str) -> list[float]:
    return trained(setting, twin, precision).seconds


def alone(setting: Setting, compiled: bool, graph: bool) -> list[float]:
    """K forwards and gradients of the exact twin, as it is, compiled, or replayed from a CUDA graph."""
    with at_rest(setting.network(channels_last=True).eval(), setting.image) as twin:
        called: Any = torch.compile(twin) if compiled else twin
        given = setting.image.clone().requires_grad_()

        def once() -> Tensor:
            loss = nn.functional.cross_entropy(called(given), setting.label)
            return torch.autograd.grad(loss, given)[0]

        def steps() -> None:
            for _ in range(setting.steps):
                replay()

        replay: Callable[[], object] = _recorded(once) if graph else once
        return timed(setting, steps)


def _recorded(work: Callable[[], object]) -> Callable[[], None]:
    stream, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        work()
    torch.cuda.current_stream().wait_stream(stream)
    with torch.cuda.graph(graph):
        work()
    return graph.replay


def rows(setting: Setting) -> Iterator[tuple[str, float]]:
    """Names and medians; what fails is told, and left out."""

    def torchattacks(network: nn.Module) -> Any:
        import torchattacks

        return torchattacks.PGD(network, eps=EPS, alpha=STEP_SIZE, steps=setting.steps)

    def tried(name: str, work: Callable[..., list[float]], *args: Any, **kwargs: Any) -> Iterator[tuple[str, float]]:
        try:
            yield name, statistics.median(work(setting, *args, **kwargs))
        except Exception as error:  # a row less, and the table stands
            print(f"{name}: {type(error).__name__}: {str(error).partition(chr(10))[0]}", flush=True)

    with tf32(False):
        yield from tried("plain loop, float32", loop)
        yield from tried("torchattacks, float32", loop, attack=torchattacks)
        yield from tried("twin off, 32-true", with_trainer, "off", "32-true")
        yield from tried("twin exact, 32-true", with_trainer, "exact", "32-true")
        yield from tried("attack alone, exact", alone, compiled=False, graph=False)
        if setting.device.type == "cuda":
            yield from tried("attack alone, compiled", alone, compiled=True, graph=False)
            yield from tried("attack alone, CUDA graph", alone, compiled=False, graph=True)
    with tf32(True):
        yield from tried("plain loop, TF32", loop)
        yield from tried("plain loop, bfloat16", loop, torch.bfloat16)
        yield from tried("twin exact, 32-true, TF32", with_trainer, "exact", "32-true")
        yield from tried("twin off, bf16-mixed", with_trainer, "off", "bf16-mixed")
        yield from tried("twin exact, bf16-mixed", with_trainer, "exact", "bf16-mixed")
        if setting.device.type == "cuda":
            yield from tried("twin exact, 16-mixed", with_trainer, "exact", "16-mixed")
        yield from tried("twin bf16, bf16-mixed", with_trainer, "bf16", "bf16-mixed")


def checks(setting: Setting) -> Iterator[tuple[str, bool]]:
    """What has to hold on any device."""
    network, attack = setting.network().eval(), PGD(Linf(EPS), setting.steps, step_size=STEP_SIZE)
    small, label = setting.image[:1, :, :64, :64], setting.label[:1, :64, :64]
    with tf32(False):
        found = []
        for device in ("cpu", setting.device):
            with at_rest(network.to(device), small.to(device)) as twin:
                moved = small.to(device).requires_grad_()
                loss = nn.functional.cross_entropy(twin(moved), label.to(device))
                found.append(torch.autograd.grad(loss, moved)[0].cpu())
        agreed = (found[0].sign() == found[1].sign()).float().mean().item()
        yield f"signs of gradients on the CPU and here: {100 * agreed:.2f} % agree", agreed > 0.99
    with at_rest(network, small) as twin:
        images = [attack(twin, small, label) for _ in range(2)]
    yield (
        "an attack twice gives the same image, but for atomics",
        torch.allclose(images[0], images[1], atol=2 * STEP_SIZE),
    )
    runs = [trained(setting, "exact", "32-true", deterministic="warn").network.state_dict() for _ in range(2)]
    yield "two deterministic runs end alike", all(torch.equal(runs[0][key], runs[1][key]) for key in runs[0])
    synced = nn.SyncBatchNorm.convert_sync_batchnorm(setting.network().eval())
    with at_rest(synced, small) as twin:
        yield "SyncBatchNorm is folded", twin is not synced
    seen: list[bool] = []

    class Looks(Classifier):
        def validation_step(self, batch: dict[str, Any], batch_idx: int) -> Any:
            seen.append(torch.backends.cudnn.allow_tf32 or torch.backends.cuda.matmul.allow_tf32)
            return super().validation_step(batch, batch_idx)

    with tf32(True), tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            default_root_dir=folder,
            accelerator="cpu" if setting.device.type == "cpu" else "gpu",
            devices=1,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.validate(Looks(setting.network()), DataLoader(Noise(1, 64), 1), verbose=False)
    yield "TF32 is off in evaluation", seen == [False]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--quick", action="store_true", help="small, to see that it runs")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit("there is no GPU that torch can use; --device cpu --quick shows that the script runs")
    warnings.filterwarnings("ignore")
    setting = Setting(options.device, options.quick)
    device = torch.cuda.get_device_name() if options.device == "cuda" else "CPU"
    print(f"{device}, torch {torch.__version__}; {setting.name}, {setting.batch} x 3 x {setting.size}²")
    found = dict(rows(setting))
    least = found["plain loop, float32"]
    for name, seconds in found.items():
        print(f"{name:28} {1000 * seconds:9.1f} ms {seconds / least:7.3f}")
    if options.device == "cuda":
        print(f"highest memory: {torch.cuda.max_memory_allocated() / 2**20:.0f} MiB")
    for name, passed in checks(setting):
        print(f"{'yes' if passed else 'NO ':3} {name}")
    print(f"ratio {found['twin bf16, bf16-mixed'] / least:.3f}")


if __name__ == "__main__":
    main()

"""Every optimizer and schedule of torch: made, saved, looked at, loaded, and gone on with."""

import functools
import inspect
from pathlib import Path

import pytest
import torch
from one_line import one_line
from torch import nn
from torch.optim import SGD, Optimizer, lr_scheduler, swa_utils
from torch.optim.lr_scheduler import LRScheduler

from cli import main
from lightning_modules import Classifier, Drops, NetworkError, Triangle
from lightning_modules.optimizers import check_schedule, make
from lightning_modules.weights import check_checkpoint

OPTIMIZERS = {
    name: kind
    for name, kind in vars(torch.optim).items()
    if inspect.isclass(kind) and issubclass(kind, Optimizer) and kind is not Optimizer and name != "SparseAdam"
}


class Growth:
    """A function with a state."""

    def __init__(self):
        self.factor = 1.5

    def __call__(self, step):
        return self.factor


SCHEDULES = {
    "LambdaLR": lambda o: lr_scheduler.LambdaLR(o, lambda step: 0.5**step),
    "LambdaLR of objects": lambda o: lr_scheduler.LambdaLR(o, Growth()),
    "LambdaLR of partials": lambda o: lr_scheduler.LambdaLR(o, functools.partial(pow, 0.5)),
    "MultiplicativeLR": lambda o: lr_scheduler.MultiplicativeLR(o, lambda step: 0.5),
    "StepLR": lambda o: lr_scheduler.StepLR(o, 2),
    "MultiStepLR": lambda o: lr_scheduler.MultiStepLR(o, [2, 3, 3]),
    "ConstantLR": lr_scheduler.ConstantLR,
    "LinearLR": lr_scheduler.LinearLR,
    "ExponentialLR": lambda o: lr_scheduler.ExponentialLR(o, 0.9),
    "SequentialLR": lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.MultiStepLR(o, [1]), lr_scheduler.CosineAnnealingLR(o, 9)], [2]
    ),
    "CosineAnnealingLR": lambda o: lr_scheduler.CosineAnnealingLR(o, 9),
    "ChainedScheduler": lambda o: lr_scheduler.ChainedScheduler(
        [lr_scheduler.MultiStepLR(o, [1]), lr_scheduler.StepLR(o, 2)], o
    ),
    "ReduceLROnPlateau": lr_scheduler.ReduceLROnPlateau,
    "CyclicLR": lambda o: lr_scheduler.CyclicLR(o, 0.01, 0.1, 3, cycle_momentum=False),
    "CyclicLR of functions": lambda o: lr_scheduler.CyclicLR(
        o, 0.01, 0.1, 3, scale_fn=lambda x: 0.9, cycle_momentum=False
    ),
    "CosineAnnealingWarmRestarts": lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 3),
    "OneCycleLR": lambda o: lr_scheduler.OneCycleLR(o, 0.1, 9, cycle_momentum=False),
    "PolynomialLR": lambda o: lr_scheduler.PolynomialLR(o, 9),
    "SWALR": lambda o: swa_utils.SWALR(o, 0.05),
    "Drops": lambda o: Drops(o, 9, [1, 2], 3),
    "Triangle": lambda o: Triangle(o, 9),
}


def test_every_schedule_of_torch_is_here():
    kinds = {lr_scheduler.LRScheduler, lr_scheduler._LRScheduler}
    every = {
        name
        for name, kind in vars(lr_scheduler).items()
        if inspect.isclass(kind) and issubclass(kind, LRScheduler) and kind not in kinds
    }
    assert every <= SCHEDULES.keys()


def start(optimizer, schedule):
    """A module of one matrix, which all optimizers take, its optimizer and schedule."""
    module = nn.Module()
    module.weight = nn.Parameter(torch.linspace(-1, 1, 6).view(2, 3))
    made = make(Optimizer, functools.partial(OPTIMIZERS[optimizer], lr=0.1), [{"params": list(module.parameters())}])
    return module, made, make(LRScheduler, SCHEDULES[schedule], made)


def steps(module, optimizer, schedule, count):
    """The learning rate and the weights after each."""

    def closure():
        optimizer.zero_grad()
        loss = (module.weight**2).sum()
        loss.backward()
        return loss

    found = []
    for _ in range(count):
        optimizer.step(closure)
        schedule.step(*[1.0] * isinstance(schedule, lr_scheduler.ReduceLROnPlateau))
        found.append((optimizer.param_groups[0]["lr"], module.weight.detach().clone()))
    return found


PAIRS = [*(("SGD", schedule) for schedule in SCHEDULES), *((optimizer, "MultiStepLR") for optimizer in OPTIMIZERS)]


@pytest.mark.parametrize(("optimizer", "schedule"), PAIRS)
def test_a_run_with_any_optimizer_and_schedule_goes_on(tmp_path, optimizer, schedule):
    """As the command line does: the checkpoint is looked at, then loaded with `weights_only`."""
    path = tmp_path / "last.ckpt"
    expected = steps(*start(optimizer, schedule), 5)
    module, made, scheduler = start(optimizer, schedule)
    steps(module, made, scheduler, 2)
    content = {"pytorch-lightning_version": "2", "state_dict": module.state_dict()}
    content |= {"optimizer_states": [made.state_dict()], "lr_schedulers": [scheduler.state_dict()]}
    torch.save(content, path)

    module, made, scheduler = start(optimizer, schedule)
    check_checkpoint(module, path)
    loaded = torch.load(path, weights_only=True)
    module.load_state_dict(loaded["state_dict"])
    made.load_state_dict(loaded["optimizer_states"][0])
    scheduler.load_state_dict(loaded["lr_schedulers"][0])
    for (rate, weight), (expected_rate, expected_weight) in zip(
        steps(module, made, scheduler, 3), expected[2:], strict=True
    ):
        assert rate == pytest.approx(expected_rate)
        assert torch.equal(weight, expected_weight)


def sgd():
    return SGD([nn.Parameter(torch.zeros(1))], lr=0.1)


class Odd(LRScheduler):
    """A schedule whose state cannot be taken back."""

    def __init__(self, optimizer, steps, kept):
        self.kept = kept
        super().__init__(optimizer)

    def get_lr(self):
        return self.base_lrs


@pytest.mark.parametrize(
    "kept", [lambda step: 1.0, object(), SGD, inspect], ids=["lambda", "object", "class", "module"]
)
def test_a_schedule_whose_state_could_not_be_taken_back_is_refused_before_training(kept):
    message = one_line("model.schedule: the state of Odd holds more than numbers", "state_dict()")
    with pytest.raises(NetworkError, match=message):
        make(LRScheduler, Odd, sgd(), 9, kept)
    assert make(LRScheduler, Odd, sgd(), 9, {"a": [1, (2.0, None)]}).kept["a"]


@pytest.mark.parametrize(
    ("kind", "maker", "arguments", "message"),
    [
        (Optimizer, torch.optim.Muon, [[nn.Parameter(torch.zeros(1))]], "model.optimizer cannot be made: Muon only"),
        (Optimizer, torch.optim.Adam, [[nn.Parameter(torch.zeros(1))], -1.0], "Invalid learning rate: -1.0"),
        (Optimizer, torch.optim.SparseAdam, [[nn.Parameter(torch.zeros(1))]], "sparse gradients only"),
        (Optimizer, torch.optim.LBFGS, [[{"params": [nn.Parameter(torch.zeros(1))]}] * 2], "cannot be made"),
        (Optimizer, list, [], "model.optimizer made list, no Optimizer"),
        (LRScheduler, lambda *_: None, [1], "model.schedule made NoneType, no LRScheduler"),
        (LRScheduler, lr_scheduler.CosineAnnealingLR, [sgd()], "missing 1 required positional argument: 'T_max'"),
        (LRScheduler, lambda *_: 1 / 0, [1], "model.schedule cannot be made: division by zero"),
    ],
)
def test_what_cannot_be_used_is_one_line(kind, maker, arguments, message):
    with pytest.raises(NetworkError, match=one_line(message)):
        make(kind, maker, *arguments)


def test_a_schedule_that_takes_the_number_of_steps_for_something_else_is_refused():
    """It would be the learning rate of OneCycleLR, and the factor of ExponentialLR."""
    fits = {"CosineAnnealingLR", "CosineAnnealingWarmRestarts", "PolynomialLR"}
    for name in SCHEDULES.keys() & vars(lr_scheduler).keys():
        kind = getattr(lr_scheduler, name)
        for maker in (kind, functools.partial(kind), functools.partial(lambda kind, *_: kind, kind)):
            if name in fits:
                check_schedule(maker)
            else:
                with pytest.raises(
                    NetworkError, match=one_line(f"model.schedule: {name} takes ", "(optimizer, steps)")
                ):
                    Classifier(nn.Linear(1, 1), schedule=maker)
    for maker in (Drops, Triangle, functools.partial(Triangle, peak=0.2), lambda optimizer, steps: None):
        check_schedule(maker)


# By the command line.

QUICK = [
    *("--config", "quickstart.yaml", "--model.network.init_args.channels_last", "false", "--trainer.logger", "false"),
    *("--data.train_samples", "8", "--data.val_samples", "4", "--data.batch_size", "4", "--data.size", "16"),
    *("--attack.train", "null", "--attack.evaluate", "{}", "--trainer.check_val_every_n_epoch", "1", "--name", "r"),
    *("--trainer.callbacks", "[]", "--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"),
]


def warm(optimizer, steps, share=0.5):
    """As a user would write it."""
    first = lr_scheduler.LinearLR(optimizer, 0.1, 1.0, 1)
    return lr_scheduler.SequentialLR(optimizer, [first, lr_scheduler.MultiStepLR(optimizer, [int(steps * share)])], [1])


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SADDLE_DEBUG", raising=False)
    (tmp_path / "mine.py").write_text(
        "from torch.optim import Optimizer\n"
        "from torch.optim.lr_scheduler import LRScheduler, LinearLR, MultiStepLR, SequentialLR\n"
        + inspect.getsource(warm)
        .replace("lr_scheduler.", "")
        .replace(
            "(optimizer, steps, share=0.5)", "(optimizer: Optimizer, steps: int, share: float = 0.5) -> LRScheduler"
        )
    )
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize(
    "options",
    [
        ["--model.schedule", "Drops", "--model.schedule.at", "[1]", "--model.schedule.of", "2"],
        ["--model.schedule", "mine.warm", "--model.optimizer", "torch.optim.AdamW"],
    ],
    ids=lambda options: options[1],
)
def test_a_run_is_resumed_and_evaluated(options):
    main(["fit", *QUICK, *options, "--trainer.max_epochs", "2"])
    main(["validate", *QUICK, *options, "--ckpt_path", "last", "--sanity", "false"])
    main(["fit", *QUICK, *options, "--trainer.max_epochs", "3", "--ckpt_path", "last"])
    saved = torch.load("runs/r/checkpoints/last.ckpt", weights_only=True)
    assert saved["global_step"] == 6


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model.schedule", "torch.optim.lr_scheduler.OneCycleLR"], "OneCycleLR takes max_lr where a schedule"),
        (["--model.schedule", "torch.optim.lr_scheduler.ReduceLROnPlateau"], "ReduceLROnPlateau takes mode where"),
        (["--model.optimizer", "torch.optim.SparseAdam"], "SparseAdam takes sparse gradients only"),
        (["--model.optimizer", "torch.optim.Muon"], "model.optimizer cannot be made: Muon only supports 2D"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else None,
)
def test_what_cannot_train_is_one_line_and_leaves_nothing(capsys, options, message):
    with pytest.raises(SystemExit) as ended:
        main(["fit", *QUICK, *options, "--trainer.max_epochs", "1"])
    assert ended.value.code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert message in line
    assert not Path("runs").exists()

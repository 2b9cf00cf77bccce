"""What a class path may name: looked at before it is called, and whatever Python takes is taken."""

import textwrap
from functools import partial
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from torch import nn

from attacks import PGD, Linf
from attacks.constraints import Constraint
from attacks.objectives import ObjectiveFactory
from callbacks import Attack, Inpainting, OverfittingGuard
from command_line import UserError
from command_line.parser import Parser
from lightning_modules import Classifier

MODULE = """
    import functools
    import torch
    from torch import Tensor, nn

    called = []

    class Count:
        pass

    count_of = Count()

    def mark():
        called.append("mark")

    def attack(network, image, label, seed=None, region=None):
        return image

    def attack_of(network, image, label, seed=None, region=None, *, shift=0.1):
        return image + shift

    def network_first() -> Tensor:
        called.append("network_first")

    halved = functools.partial(attack_of, shift=0.5)
    nameless = lambda network, image, label, seed=None, region=None: image

    class Shift:
        def __init__(self, by: float = 0.1):
            self.by = by

        def __call__(self, network, image, label, seed=None, region=None):
            return image + self.by

        def bound(self, network, image, label, seed=None, region=None):
            return image

    instance = Shift(0.3)
    bound = instance.bound

    def loss(network, batch):
        return network(batch["image"]).mean(1)

    def weighted(network, batch, weight=1.0):
        return weight * network(batch["image"]).mean(1)

    def build(num_classes=3):
        return nn.Linear(2, num_classes)

    def annotated(num_classes: int) -> nn.Module:
        return nn.Linear(2, num_classes)

    def build_any(name, pretrained=False, **options):
        return nn.Linear(2, **options)

    ready = nn.Linear(2, 3)

    @functools.cache
    def remembered(num_classes=3):
        return nn.Linear(2, num_classes)

    def builds_nothing() -> nn.Module:
        called.append("builds_nothing")

    def builds_text(num_classes=3):
        return "text"

    def fails(name):
        raise RuntimeError(f"unknown model {name}")

    def count() -> int:
        called.append("count")
        return 3

    def optimizer(params):
        return torch.optim.SGD(params, lr=0.1)

    def optimizer_of(params, lr):
        return torch.optim.SGD(params, lr=lr)

    def schedule(optimizer, steps):
        return torch.optim.lr_scheduler.LinearLR(optimizer)

    def no_objective(network, image):
        called.append("no_objective")
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A user's module, by another name in every test."""
    name = f"mine_{tmp_path.name}".replace("-", "_")
    (tmp_path / f"{name}.py").write_text(textwrap.dedent(MODULE))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("SADDLE_DEBUG", raising=False)
    return name


def value_of(typehint: Any, *args: str) -> Any:
    """What the arguments of one place make."""
    parser = Parser()
    parser.add_argument("--it", type=typehint, enable_path=True)
    return parser.instantiate(parser.parse_args(args)).it


def kept(parser: Parser, config: Any) -> Any:
    """What a config makes, once written and read again as runs keep theirs."""
    text = parser.dump(config, skip_unset=False)
    again = parser.parse_string(text)
    assert parser.dump(again, skip_unset=False) == text
    return parser.instantiate(again)


def attack_of(*args: str) -> Any:
    parser = Parser()
    parser.add_lightning_class_args(Attack, "attack")
    config = parser.parse_args(list(args))
    return kept(parser, config).attack


def model_of(*args: str) -> Classifier:
    parser = Parser()
    parser.add_lightning_class_args(Classifier, "model")
    config = parser.parse_args(["--model.network", "torch.nn.Identity", *args])
    return kept(parser, config).model


IMAGE = torch.zeros(1, 3, 2, 2)


@pytest.mark.parametrize(
    ("path", "moved"),
    [("attack", 0), ("attack_of", 0.1), ("halved", 0.5), ("nameless", 0), ("Shift", 0.1), ("instance", 0.3),
     ("bound", 0)],
)  # fmt: skip
def test_an_attack_is_any_callable(mine, path, moved):
    for given in (f"{mine}.{path}", f"{{class_path: {mine}.{path}}}"):
        attack = attack_of("--attack.train", given).train
        assert attack(None, IMAGE, None, seed=None, region=None).mean().item() == pytest.approx(moved)
        attack = attack_of("--attack.evaluate", f"{{a: {given}}}").evaluate["a"]
        assert attack(None, IMAGE, None).mean().item() == pytest.approx(moved)


def test_a_function_takes_the_arguments_that_its_place_does_not_give(mine):
    attack = attack_of("--attack.train", f"{mine}.attack_of", "--attack.train.shift", "0.7").train
    assert attack(None, IMAGE, None).mean().item() == pytest.approx(0.7)
    attack = attack_of("--attack.train", f"{{class_path: {mine}.Shift, init_args: {{by: 0.2}}}}").train
    assert attack.by == 0.2
    model = model_of("--model.loss", f"{mine}.weighted", "--model.loss.weight", "2")
    assert model.loss(lambda image: image, {"image": torch.ones(1, 3)}).item() == 2
    assert isinstance(model.loss, partial) and model.loss.func.__name__ == "weighted"
    model = model_of("--model.optimizer", f"{{class_path: {mine}.optimizer_of, init_args: {{lr: 0.3}}}}")
    assert model.optimizer(nn.Linear(1, 1).parameters()).param_groups[0]["lr"] == 0.3


def test_a_loss_an_optimizer_and_a_schedule_without_annotations(mine):
    args = [f"--model.{part}={mine}.{part}" for part in ("loss", "optimizer", "schedule")]
    model = model_of(*args)
    assert [model.loss.__name__, model.optimizer.__name__, model.schedule.__name__] == ["loss", "optimizer", "schedule"]


@pytest.mark.parametrize(
    ("args", "outputs"),
    [
        (["{mine}.build"], 3),
        (["{{class_path: {mine}.build, init_args: {{num_classes: 4}}}}"], 4),
        (["{mine}.build", "--model.network.num_classes", "5"], 5),
        (["{{class_path: {mine}.annotated, init_args: {{num_classes: 4}}}}"], 4),
        (["{mine}.ready"], 3),
        (["{mine}.remembered"], 3),
        (["{{class_path: {mine}.build_any, init_args: {{name: x, out_features: 4}}}}"], 4),
        (["{mine}.build_any", "--model.network.name=x", "--model.network.init_args.out_features=6"], 6),
        (["{{class_path: {mine}.build_any, init_args: {{name: x}}, dict_kwargs: {{out_features: 4}}}}"], 4),
    ],
)
def test_a_network_is_whatever_makes_one(mine, args, outputs):
    model = model_of("--model.network", *[arg.format(mine=mine) for arg in args])
    assert model.network.out_features == outputs


def test_a_network_of_torchvision_by_its_function():
    args = ["torchvision.models.resnet18", "--model.network.num_classes", "5"]
    assert model_of("--model.network", *args).network.fc.out_features == 5


REFUSED = [
    ("attack.train", "{mine}.count", "returns int, not Adversary or Tensor"),
    ("attack.train", "{{class_path: {mine}.count}}", "returns int"),
    ("attack.train", "os.getcwd", "os.getcwd: this is of Python's own library, which has nothing for a config"),
    ("attack.train", "{{class_path: os.getcwd}}", "Python's own library"),
    ("attack.train", "torch.os.getcwd", "Python's own library"),
    ("attack.train", "{mine}.atack", "has no atack; did you mean attack?"),
    ("attack.train", "nowhere.attack", "no module nowhere; its folder must be on PYTHONPATH"),
    ("attack.train", "PDG", "no Adversary is called PDG; did you mean PGD?"),
    ("attack.train", "Linf", "no Adversary is called Linf (Linf is another kind); there are APGD"),
    ("attack.train", "attacks.Linf", "attacks.Linf is no subclass of Adversary or Tensor"),
    ("attack.evaluate", "{{a: {mine}.count_of}}", "is of type Count, not Adversary"),
    ("model.network", "{mine}.count", "returns int, not Module"),
    ("model.network", "{mine}.mark", "{mine}.mark returned nothing (None), not Module"),
    ("model.network", "{mine}.builds_nothing", "returned nothing (None), not Module"),
    ("model.network", "{mine}.builds_text", "returned of type str, not Module"),
    ("model.network", "{{class_path: {mine}.fails, init_args: {{name: x}}}}", "RuntimeError: unknown model x"),
    ("model.network", "attacks.PGD", "attacks.PGD is no subclass of Module"),
    ("model.loss", "{{class_path: {mine}.mark}}", "takes (); here it is called with 2 arguments"),
    ("model.loss", "{mine}.count", "returns int, not Loss or Tensor"),
    ("model.optimizer", "{{class_path: {mine}.mark}}", "takes (); here it is called with 1 argument"),
    ("model.optimizer", "{{class_path: {mine}.count}}", "returns int, not Optimizer"),
    ("model.schedule", "{{class_path: {mine}.mark}}", "takes (); here it is called with 2 arguments"),
    ("model.schedule", "torch.optim.SGD", "torch.optim.SGD is no subclass of LRScheduler"),
]


@pytest.mark.parametrize(("place", "given", "line"), REFUSED)
def test_what_is_not_of_its_places_kind_is_told_in_one_line(mine, place, given, line):
    make = attack_of if place.startswith("attack") else model_of
    with pytest.raises((UserError, ValueError)) as told:
        make(f"--{place}={given.format(mine=mine)}")
    assert line.format(mine=mine) in str(told.value)
    called = __import__(mine).called if mine in __import__("sys").modules else []
    assert called == (["mark"] if given == "{mine}.mark" else ["builds_nothing"] if "nothing" in given else [])


@pytest.mark.parametrize("typehint", [Constraint, ObjectiveFactory, Callback])
def test_nothing_is_called_to_see_what_it_is(mine, typehint):
    with pytest.raises(UserError, match=r"annotate it with -> |takes \(\)"):
        value_of(typehint, "--it", f"{{class_path: {mine}.mark}}")
    assert __import__(mine).called == []


def test_a_parameter_without_a_type_makes_nothing_of_a_class_path(mine):
    with pytest.raises(UserError, match="give the parameter a type"):
        value_of(Any, "--it", f"{{class_path: {mine}.mark}}")


def test_names_of_attacks_may_be_numbers_to_yaml():
    pgd = "{class_path: PGD, init_args: {constraint: {class_path: Linf, init_args: {eps: 0.1}}}}"
    assert list(attack_of("--attack.evaluate", f"{{1: {pgd}, on: {pgd}}}").evaluate) == ["1", "on"]


LIST = (
    "[{class_path: Inpainting, init_args: {constraint: {class_path: L2, init_args: {eps: 1}}, steps: 3, step_size: 1}},"
    " OverfittingGuard]"
)


def test_an_item_of_a_list_is_reached_by_its_name():
    args = ["--it", LIST, "--it.Inpainting.size", "30", "--it.Inpainting.init_args.constraint.eps", "10"]
    inpainting, guard = value_of(list[Callback] | Callback | None, *args, "--it.drop", "0.3")
    assert isinstance(inpainting, Inpainting) and isinstance(guard, OverfittingGuard)
    assert (inpainting.size, inpainting.constraint.eps, inpainting.steps) == ((30, 30), 10, 3)
    assert guard.drop == 0.3, "without a name, the last one is meant"


def test_an_item_of_a_list_is_reached_by_its_place():
    args = [
        "--it",
        LIST,
        "--it+=OverfittingGuard",
        "--it.2.drop",
        "0.2",
        "--it.0.constraint.eps",
        "10",
        "--it.1.drop=0.1",
    ]
    inpainting, *guards = value_of(list[Callback] | Callback | None, *args)
    assert inpainting.constraint.eps == 10 and [guard.drop for guard in guards] == [0.1, 0.2]


def test_networks_in_a_network_are_reached_by_their_places():
    args = [
        "LateFusion",
        "--it.num_classes",
        "3",
        "--it.networks",
        "[Network, Network]",
        "--it.networks.1.num_classes=4",
    ]
    named = [f"--it.networks.{i}.{key}" for i in (0, 1) for key in ("name", "init_args.mean")]
    given = [
        *args,
        named[0],
        "resnet_small",
        named[1],
        "[0, 0, 0]",
        named[2],
        "mnist_cnn",
        "--it.networks.0.num_classes=5",
    ]
    fusion = value_of(nn.Module, "--it", *given)
    assert [each.name for each in fusion.networks] == ["resnet_small", "mnist_cnn"]
    assert [each.num_classes for each in fusion.networks] == [5, 4]
    assert not fusion.networks[0].normalize.mean.any() and fusion.networks[1].normalize.mean.all()


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (["--it.Painting.size", "3"], "no Painting here; there are Inpainting, OverfittingGuard"),
        (["--it.2.drop", "0.2"], "no item 2 here; there are 2, from 0"),
        (["--it.1", "3"], "1: give one of its arguments"),
        (["--it.Inpainting", "3"], "Inpainting: give one of its arguments"),
        (["--it.Inpainting.sizes", "3"], "Option 'sizes' is not accepted; did you mean size?"),
        (["--it+=OverfittingGuard", "--it.OverfittingGuard.drop", "0.2"], "more than one OverfittingGuard here"),
    ],
)
def test_a_name_that_does_not_say_which_item(args, line):
    with pytest.raises(UserError) as told:
        value_of(list[Callback] | Callback | None, "--it", LIST, *args)
    assert line in str(told.value)


def test_settings_of_ours_are_as_they_were():
    attack = attack_of(
        "--attack.train", "PGD", "--attack.train.constraint", "Linf", "--attack.train.constraint.eps=0.1"
    )
    assert isinstance(attack.train, PGD) and isinstance(attack.train.constraint, Linf)

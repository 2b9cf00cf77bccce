"""Attacks, networks and losses of others, which return what they like: measured rightly, or told."""

import json
from pathlib import Path

import pytest
from fuzz.endings import command, sane
from fuzz.test_configs import CONFIG

SHAPES = ("network: nn.Module, image: Tensor, label: Tensor, seed=None, region=None", "network, image, label, **kwargs")

RETURNED = {
    "nothing": "None",
    "a number": "0",
    "a list": "[image]",
    "a tuple": "(image, label)",
    "a dict": "{'image': image}",
    "an array": "image.numpy()",
    "a shape": "image.shape",
    "the label": "label",
    "NaN": "image * float('nan')",
    "one NaN": "image.index_fill(0, torch.zeros(1, dtype=torch.long), float('nan'))",
    "infinity": "image / 0",
    "bytes": "(image * 255).byte()",
    "levels": "image * 255",
    "integers": "image.long()",
    "half": "image.half()",
    "bfloat16": "image.bfloat16()",
    "double": "image.double()",
    "complex": "image + 0j",
    "booleans": "image > 0.5",
    "grey": "image.mean(1, keepdim=True)",
    "four channels": "torch.cat([image, image[:, :1]], 1)",
    "no batch": "image[0]",
    "fewer": "image[1:]",
    "more": "torch.cat([image, image])",
    "channels last": "image.permute(0, 2, 3, 1)",
    "smaller": "image[..., ::2, ::2]",
    "a view": "image.flatten(1)",
    "above 1": "image + 0.5",
    "below 0": "image - 0.5",
    "sparse": "image.to_sparse()",
    "elsewhere": "image.to('meta')",
    "StopIteration": "next(iter(()))",
    "weights changed": "[image, [p.data.add_(1) for p in network.parameters()]][0]",
    "weights replaced": "[image, network.load_state_dict({k: v + 1 for k, v in network.state_dict().items()})][0]",
}
"""What an attack may return, as an expression; none of it is an image near the image."""

HONEST = {
    "the image": "image",
    "darker": "image / 2",
    "a graph": "(image.requires_grad_() * 0.99)",
    "channels last in memory": "image.contiguous(memory_format=torch.channels_last)",
    "not contiguous": "image.flip(-1)",
    "a parameter": "nn.Parameter(image)",
    "in place": "image.sub_(0.01).clamp_(0, 1)",
    "the label changed": "[image, label.zero_()][0]",
}
"""These are images."""

BEGINNING = "import torch\nfrom torch import Tensor, nn\n"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("tiny.yaml").write_text(CONFIG)


def module(name, code):
    """A module of its own for each test: a module is imported once."""
    Path(f"{name}.py").write_text(BEGINNING + code)
    return name


def results():
    return [json.loads(path.read_text()) for path in Path("runs").glob("*/results.json")]


def names(table):
    return [(number, name) for number, name in enumerate(table)]


@pytest.mark.parametrize("how", ("evaluate", "train"))
@pytest.mark.parametrize(("number", "name"), names(RETURNED))
def test_an_attack_that_breaks_its_contract_is_told(capsys, number, name, how):
    mine = module(f"bad_attack_{number}", f"def attack({SHAPES[number % 2]}):\n    return {RETURNED[name]}\n")
    given = (
        ["--attack.evaluate", f"{{mine: {mine}.attack}}"] if how == "evaluate" else ["--attack.train", f"{mine}.attack"]
    )
    command_ = ["validate", "--sanity", "false"] if how == "evaluate" else ["fit", "--trainer.max_epochs", "1"]
    line = command(
        capsys, *command_, "--config", "tiny.yaml", "--trainer.callbacks", "null", "--attack.worst", "null", *given
    )
    assert line, f"{name}: measured as {results()}"
    assert ("attack.evaluate.mine" if how == "evaluate" else "attack.train") in line
    assert not results()


@pytest.mark.parametrize(("number", "name"), names(HONEST))
def test_an_attack_that_keeps_it_is_measured(capsys, number, name):
    mine = module(f"good_attack_{number}", f"def attack({SHAPES[number % 2]}):\n    return {HONEST[name]}\n")
    args = ["--config", "tiny.yaml", "--sanity", "false", "--trainer.callbacks", "null", "--attack.worst", "null"]
    line = command(capsys, "validate", *args, "--attack.evaluate", f"{{mine: {mine}.attack}}")
    assert not line
    (measured,) = results()
    sane(measured, samples=4)
    if name in ("the image", "the label changed"):
        assert measured["metrics"]["mine"] == measured["metrics"]["clean"] | {"samples": 4}


OUTPUTS = {
    "nothing": "None",
    "a number": "0.0",
    "NaN": "logits * float('nan')",
    "infinity": "logits / 0",
    "integers": "logits.long()",
    "one channel": "logits[:, :1]",
    "fewer classes": "logits[:, :3]",
    "more classes": "torch.cat([logits, logits], 1)",
    "one label an image": "logits.mean((2, 3))",
    "the prediction": "logits.argmax(1)",
    "fewer samples": "logits[1:]",
    "channels last": "logits.permute(0, 2, 3, 1)",
    "a dict of others": "{'masks': logits}",
    "a list of nothing": "[]",
    "StopIteration": "next(iter(()))",
}


@pytest.mark.parametrize("command_", ("validate", "fit"))
@pytest.mark.parametrize(("number", "name"), names(OUTPUTS))
def test_a_network_that_breaks_its_contract_is_told_before_anything_is_written(capsys, number, name, command_):
    code = (
        f"class Other{number}{command_}(nn.Module):\n"  # each another name: short ones must be one of a kind
        "    def __init__(self) -> None:\n"
        "        super().__init__()\n"
        "        self.layer = nn.Conv2d(3, 5, 1)\n"
        "    def forward(self, image):\n"
        "        logits = self.layer(image)\n"
        f"        return {OUTPUTS[name]}\n"
    )
    own = f"Other{number}{command_}"
    mine = module(f"bad_network_{number}_{command_}", code)
    Path("other.yaml").write_text(
        CONFIG.replace(
            "class_path: Network\n    init_args: {name: fcn_small, num_classes: 5}",
            f"class_path: {mine}.{own}",
        )
    )
    line = command(capsys, command_, "--config", "other.yaml", "--trainer.max_epochs", "1", "--sanity", "false")
    assert line, f"{name}: measured as {results()}"
    assert not list(Path("runs").glob("*"))


LOSSES = {
    "nothing": "None",
    "a number": "1.0",
    "a mean": "values.mean()",
    "NaN": "values * float('nan')",
    "detached": "values.detach()",
    "fewer": "values[1:]",
    "of each pixel": "network(batch['image'])['out' if False else slice(None)]",
}


@pytest.mark.parametrize(("number", "name"), names(LOSSES))
def test_a_loss_that_breaks_its_contract_is_told(capsys, number, name):
    code = (
        "from attacks.objectives import cross_entropy\n"
        "def loss(network, batch):\n"
        "    values = cross_entropy(network(batch['image']), batch['label'])\n"
        f"    return {LOSSES[name]}\n"
    )
    mine = module(f"bad_loss_{number}", code)
    Path("other.yaml").write_text(
        CONFIG.replace("class_path: CrossEntropyLoss\n    init_args: {aux_weight: 0.5}", f"class_path: {mine}.loss")
    )
    line = command(capsys, "fit", "--config", "other.yaml", "--trainer.max_epochs", "1")
    assert line and not results()


SAMPLES = {
    "levels": "sample | {'image': sample['image'] * 255}",
    "bytes": "sample | {'image': (sample['image'] * 255).byte()}",
    "NaN": "sample | {'image': sample['image'] * float('nan')}",
    "doubles": "sample | {'image': sample['image'].double()}",
    "grey": "sample | {'image': sample['image'][:1]}",
    "channels last": "sample | {'image': sample['image'].permute(1, 2, 0)}",
    "one index": "sample | {'index': 0}",
    "no index": "{'image': sample['image'], 'label': sample['label']}",
    "a class too many": "sample | {'label': sample['label'] + 1}",
    "negative labels": "sample | {'label': sample['label'] - 1}",
    "real labels": "sample | {'label': sample['label'].float()}",
    "labels of another size": "sample | {'label': sample['label'][::2]}",
    "a tuple": "(sample['image'], sample['label'])",
    "nothing": "None",
    "StopIteration": "next(iter(()))",
}


@pytest.mark.parametrize(("number", "name"), names(SAMPLES))
def test_a_data_set_that_breaks_its_contract_is_told(capsys, number, name):
    code = (
        "from datamodules import Shapes\n"
        "class Set(torch.utils.data.Dataset):\n"
        "    def __init__(self, whole):\n"
        "        self.whole = whole\n"
        "    def __len__(self):\n"
        "        return len(self.whole)\n"
        "    def __getitem__(self, index):\n"
        "        sample = self.whole[index]\n"
        "        if index < 2:\n"  # the first is what is looked at before anything is made
        "            return sample\n"
        f"        return {SAMPLES[name]}\n"
        "class Data(Shapes):\n"
        "    def make_set(self, split):\n"
        "        return Set(super().make_set(split))\n"
    )
    mine = module(f"bad_data_{number}", code)
    Path("other.yaml").write_text(CONFIG.replace("class_path: Shapes", f"class_path: {mine}.Data"))
    line = command(
        capsys,
        "validate",
        "--config",
        "other.yaml",
        "--sanity",
        "false",
        "--trainer.callbacks",
        "null",
        "--data.eval_batch_size",
        "1",
    )
    assert line, f"{name}: measured as {results()}"
    assert not results()


OWN_ERRORS = {"an IndexError": ("[][0]", IndexError), "shapes": ("torch.zeros(2) @ torch.zeros(3)", RuntimeError)}


@pytest.mark.parametrize(("number", "name"), names(OWN_ERRORS))
def test_an_error_of_ones_own_code_keeps_its_traceback_and_measures_nothing(capsys, number, name):
    code, kind = OWN_ERRORS[name]
    mine = module(f"failing_attack_{number}", f"def attack({SHAPES[0]}):\n    return {code}\n")
    args = ["--config", "tiny.yaml", "--sanity", "false", "--trainer.callbacks", "null", "--attack.worst", "null"]
    with pytest.raises(kind):
        command(capsys, "validate", *args, "--attack.evaluate", f"{{mine: {mine}.attack}}")
    assert not results()

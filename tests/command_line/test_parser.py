import subprocess
import sys
from pathlib import Path

import pytest

from cli import COMMANDS, main
from command_line import UserError
from command_line.parser import FindConfig, Parser, deepest
from lightning_modules import Classifier

UNION = """Parser key "attack.train":
  Does not validate against any of the Union subtypes
  Subtypes: [<class 'attacks.adversary.Adversary'>, <class 'NoneType'>]
  Errors:
    - Problem with given class_path 'attacks.PGD':
        Option 'step' is not accepted
    - Expected a <class 'NoneType'>
  Given value type: <class 'dict'>
  Given value: {'class_path': 'PGD'}"""


@pytest.mark.parametrize(
    ("message", "line"),
    [
        (UNION, "attack.train: Option 'step' is not accepted"),
        ('Parser key "trainer.max_epochs":\n  Expected a <class \'int\'>\nGiven value: x',
         "trainer.max_epochs: Expected a <class 'int'>, not x"),
        ("unrecognized arguments: --foo", "unrecognized arguments: --foo"),
        ('Parser key "a":\n  Problem with given class_path \'PGD\':\n    Parser key "constraint":\n'
         "      Problem with given class_path 'Linf':\n        Option 'epss' is not accepted; did you mean eps?",
         "a.constraint: Option 'epss' is not accepted; did you mean eps?"),
        ('Parser key "name":\n  Expected a <class \'str\'>. Got value: 2024',
         "name: Expected a <class 'str'>, not 2024; in quotes it is text"),
    ],
)  # fmt: skip
def test_the_one_line_that_says_what_is_wrong(message, line):
    assert deepest(message) == line


@pytest.fixture
def parser(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SADDLE_DEBUG", raising=False)
    parser = Parser()
    parser.add_argument("--config", action=FindConfig)
    parser.add_argument("--name", type=str | None, default=None)
    parser.add_lightning_class_args(Classifier, "model")
    return parser


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (["--model.optimzer", "SGD"], "unrecognized arguments: --model.optimzer SGD; did you mean model.optimizer?"),
        (["--model.network", "Network", "--model.network.nam", "x"],
         "model.network: Option 'nam' is not accepted; did you mean name?"),
        (["--model.loss", "TRADES", "--model.loss.temperature", "x"],
         "model.loss: Option 'temperature' is not accepted; there are beta, aux_weight"),
        (["--model.optimizer", "SGD", "--model.optimizer.lr", "fast"],
         "model.optimizer.lr: Expected a <class 'float'>, not fast"),
        (["--model.optimizer", "SDG"], "model.optimizer: no Optimizer is called SDG; did you mean SGD?"),
        (["--model.frozen", "3"], "model.frozen: Expected a <class 'collections.abc.Sequence'>, not 3"),
        (["--config", "none.yaml"], "--config none.yaml: no such file; configs/ has alexnet_fgsm.yaml"),
        (["--config", "n" * 300], f"--config {'n' * 300}: no such file"),
        (["--config", "model.yaml"], "model.yaml: model: a section holds arguments and their values, not None"),
        (["--config", "twice.yaml"], "twice.yaml:2: 'name' is given twice, first in line 1"),
        (["--config", "{name: a, name: b}"], "line 1: 'name' is given twice, first in line 1"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_where_it_is(parser, args, line):
    Path("model.yaml").write_text("model:\n")
    Path("twice.yaml").write_text("name: a\nname: b\n")
    with pytest.raises(UserError) as told:
        parser.parse_args(args)
    assert str(told.value).startswith(line)


def test_a_config_twice_is_that_config(parser):
    Path("mine.yaml").write_text("name: 2024-01-01\nmodel: {network: torch.nn.Identity}\n")
    config = parser.parse_args(["--config", "mine.yaml", "--config", "mine.yaml"])
    assert config.name == "2024-01-01" and config.model.network.class_path == "torch.nn.Identity"


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (["reprot"], "error: reprot: did you mean report?"),
        (["x"], f"error: x: the commands are {', '.join(COMMANDS)}"),
        ([], "error: no command: the commands are fit"),
    ],
)
def test_a_command_that_is_none(args, line, capsys):
    with pytest.raises(SystemExit) as ended:
        main(args)
    assert ended.value.code == 2 and capsys.readouterr().err.startswith(line)


def test_nobody_reads_the_output():
    """As in `cli.py report ... | head`: no traceback, and the exit status of a closed pipe."""
    script = "import cli; cli._run = lambda *_: print('a long table'); cli.main([])"
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parent.parent.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdout.close()
    assert (process.stderr.read(), process.wait(60)) == ("", 141)


def test_an_interruption_is_no_traceback(monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("cli._run", interrupted)
    with pytest.raises(SystemExit) as ended:
        main(["fit"])
    assert ended.value.code == 130 and capsys.readouterr().err == "interrupted\n"

"""What needs no torch starts without it."""

import subprocess
import sys
from pathlib import Path

import pytest

from cli import main
from training_cli import run

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("columns", ["60", "160"])
def test_it_says_what_the_parser_of_all_commands_would(capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    main(["--help"])
    told = capsys.readouterr().out
    with pytest.raises(SystemExit):
        run(["--help"])
    assert told == capsys.readouterr().out
    main(["-h"])
    assert told == capsys.readouterr().out


@pytest.mark.parametrize("args", [["--help"], ["dashboard", "--help"], ["dashboard", "."], ["reprot"]])
def test_it_starts_without_torch(args, tmp_path):
    """As `report` and `status` do, whose own tests see to it."""
    heavy = {"torch", "lightning", "torchvision", "numpy"}
    code = f"import atexit, sys, cli; atexit.register(lambda: print(sorted({heavy} & set(sys.modules)))); cli.main()"
    process = subprocess.run(
        [sys.executable, "-c", code, *args], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert process.stdout.splitlines()[-1] == "[]", process.stderr
    assert "Traceback" not in process.stderr


def test_a_config_is_printed_wherever_the_command_stands(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["validate", "--print_config"])
    assert ended.value.code == 0 and "verbose: true" in capsys.readouterr().out
    for command in ("fit", "validate"):
        with pytest.raises(SystemExit):
            main(["--print_config", command])
        assert "seed_everything: 0" in capsys.readouterr().out

"""Who may import whom: the architecture, held."""

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = {"attacks", "callbacks", "command_line", "datamodules", "lightning_modules", "paint", "reports"}
ALLOWED = {
    "attacks": set(),
    "command_line": {"reports.files"},
    "datamodules": set(),
    "reports": set(),
    "lightning_modules": {"attacks"},
    "callbacks": {"attacks", "reports", "lightning_modules.counts"},
    "paint": {"attacks", "callbacks", "command_line", "datamodules", "lightning_modules", "reports"},
}
HEAVY = {"attacks": {"lightning", "torchvision"}, "reports": {"torch", "lightning", "torchvision", "numpy"}}


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            found.add(node.module)
    return found


def within(module: str, packages: set[str]) -> bool:
    return any(module == package or module.startswith(package + ".") for package in packages)


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_a_room_imports_only_what_it_may(room):
    files = sorted((ROOT / room).glob("**/*.py"))
    assert files
    for path in files:
        for module in imports(path):
            if within(module, ROOMS - {room}):
                assert within(module, ALLOWED[room]), f"{path.relative_to(ROOT)} imports {module}"
            assert not within(module, HEAVY.get(room, set())), f"{path.relative_to(ROOT)} imports {module}"
            assert module not in ("cli", "resuming", "run_folder", "training_cli")


def test_every_source_file_has_a_test_file_of_its_name():
    for room in ROOMS:
        for path in (ROOT / room).glob("**/*.py"):
            if path.stem not in ("__init__", "base"):
                test = ROOT / "tests" / path.relative_to(ROOT).with_name(f"test_{path.name}")
                assert test.is_file(), f"no test for {path}"


def test_synthesis_and_insight_do_not_know_evaluation():
    for room in ("synthesis", "insight"):
        for path in (ROOT / "callbacks" / room).glob("*.py"):
            assert not any(within(module, {"callbacks.evaluation"}) for module in imports(path)), path


def test_the_image_and_the_package_hold_all_rooms_and_modules():
    copied = {word for line in (ROOT / "Dockerfile").read_text().splitlines() for word in line.split()[1:-1]}
    assert ROOMS | {"configs", "*.py"} <= copied
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    packages = {
        str(path.parent.relative_to(ROOT)).replace("/", ".")
        for room in ROOMS
        for path in (ROOT / room).glob("**/__init__.py")
    }
    assert set(tools["packages"]) == packages
    assert set(tools["py-modules"]) == {path.stem for path in ROOT.glob("*.py")}

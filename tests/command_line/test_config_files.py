"""What a config file may be: anything else is one line, with file and line."""

import os
import re

import pytest
import yaml

from command_line.config_files import DEEPEST, LARGEST_FILE, MOST_NODES, Loader, UserError, load, read

TENFOLD = "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9))
"""Each line stands for ten times as many values as the one before it."""


@pytest.fixture
def file(tmp_path):
    return tmp_path / "mine.yaml"


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"model: {network: fcn\n", ":2: no YAML: did not find expected ',' or '}'"),
        (b"trainer:\n\tmax_epochs: 3\n", ":2: no YAML: .* .it has a tab: indent with spaces"),
        (b"trainer:\n  max_epochs: 3\n  max_epochs: 4\n", ":3: 'max_epochs' is given twice, first in line 2"),
        (b'{"data": {"size": 3,\n "size": 4}}', ":2: 'size' is given twice, first in line 1"),
        (b"name: a\nname: b\n", ":2: 'name' is given twice, first in line 1"),
        (b"a: &a\n  b: [*a]\n", r":2: \*a stands for itself"),
        (b"a: *b\n", r":1: \*b stands for nothing"),
        (b"a0: &a0 [1, 2]\n" + TENFOLD.encode(), f":5: more than {MOST_NODES} values"),
        (b"a: " + b"[" * 2 * DEEPEST + b"]" * 2 * DEEPEST, f":1: nested more than {DEEPEST} deep"),
        (b"a: !!python/name:os.getcwd\n", ":1: the tag .*os.getcwd has no meaning here"),
        (b"a: 1\n---\nb: 1\n", r":2: a second document begins \(---\)"),
        (b"[a, b]: 1\n", ":1: a key is a word"),
        (b"a: " + b"9" * 5000, ": Exceeds the limit"),
        (b"name: caf\xe9\n", ":1: not UTF-8 text; save it as UTF-8"),
        ("name: x\n".encode("utf-16"), ":1: not UTF-8 text; save it as UTF-8"),
        (b"name: \x00\n", ": no YAML: .*control characters are not allowed"),
        (b"", ": .* this file is empty"),
        (b"# nothing yet\n", ": .* this file is empty"),
        (b"- a\n", ": .* this file is a list"),
        (b"hello\n", ": .* this file is a text"),
        (b"1: 2\n", ": 1 is no section of a config"),
        (b"#" * (LARGEST_FILE + 1), ": larger than 1 MiB"),
    ],
)
def test_what_is_no_config_is_one_line_with_file_and_line(file, content, line):
    file.write_bytes(content)
    with pytest.raises(UserError, match=re.escape(str(file)) + line):
        read(file)


def test_only_a_regular_file_is_read(tmp_path):
    with pytest.raises(UserError, match="this is a folder; name a file in it"):
        read(tmp_path)
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(UserError, match="this is no regular file"):
        read(tmp_path / "pipe.yaml")
    with pytest.raises(UserError, match="No such file"):
        read(tmp_path / "none.yaml")


def test_a_byte_order_mark_tabs_in_json_and_aliases_are_read(file):
    file.write_bytes(b"\xef\xbb\xbfname: x\n")
    assert read(file) == {"name": "x"}
    file.write_text('{"data": {\n\t"size": 3}}')
    assert read(file) == {"data": {"size": 3}}
    file.write_text("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: *a\n")
    assert read(file)["b"] == {"x": 1, "y": 3}


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("3e-4", 3e-4), (".3e-2", 3e-3), ("1.", 1.0), ("-1_000", -1000), ("1_000", 1000), ("0x10", 16), ("0", 0),
        (".inf", float("inf")), ("true", True), ("False", False), ("null", None), ("~", None), ("", None),
        ("8/255", "8/255"), ("1:30", "1:30"), ("2024-01-01", "2024-01-01"), ("on", "on"), ("yes", "yes"), ("n", "n"),
        ("010", "010"), ("'3'", "3"), ("1e", "1e"), ("=", "="),
    ],
)  # fmt: skip
def test_a_value_is_what_it_looks_like(written, value):
    loaded = yaml.load(f"a: {written}", Loader)["a"]
    assert loaded == value and type(loaded) is type(value)


def test_values_of_a_command_line_are_bounded_too():
    assert load("{a: 1, b: [x]}") == {"a": 1, "b": ["x"]}
    with pytest.raises(UserError, match=r"^line 1: 'a' is given twice"):
        load("{a: 1, a: 2}")

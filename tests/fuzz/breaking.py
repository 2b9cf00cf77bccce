"""What can happen to files, folders and settings: damage drawn from a seed, the same every time."""

import copy
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

CASES = int(os.environ.get("SADDLE_FUZZ", "40"))
"""How many cases of each kind are tried; `make fuzz` tries more."""

Place = list[str | int]
"""The way to a value in nested dicts and lists: keys and indices."""

ODD: tuple[Any, ...] = (
    None, "", " ", [], {}, [None], {"a": 1}, [[[[[[[[1]]]]]]]], -1, 0, 0.5, True, float("nan"), float("inf"), -(10**30),
    "nan", "1e999", "1/0", "8/255", "-8/255", "8/255/2", "1e99999999/255", "~", "yes", "2026-11-27", "1:30", "é",
    "\x1b[31mred", "a\nb", "../..", "/", "x" * 400, "planted.mark", "os.path.join", "PGD", "torch.nn.Identity",
)  # fmt: skip
"""Values that nobody meant."""


def cases(kind: str) -> list[str]:
    """Names of the cases of a kind; each draws from `Random(name)`."""
    return [f"{kind}-{number}" for number in range(CASES)]


def broken_bytes(content: bytes, draw: Random) -> bytes:
    """A file after an accident: cut, bits flipped, a piece lost, doubled or zeroed, or all of it another file."""
    start, end = sorted(draw.randrange(len(content) + 1) for _ in range(2))
    end = min(end, start + draw.choice((1, 16, 4096)))
    flipped = bytearray(content)
    for _ in range(draw.choice((1, 1, 8))):
        if flipped:
            flipped[draw.randrange(len(flipped))] ^= 1 << draw.randrange(8)
    return draw.choice(
        (
            content[:start],
            bytes(flipped),
            bytes(flipped),
            content[:start] + content[end:],
            content[:end] + content[start:],
            content[:start] + bytes(end - start) + content[end:],
            b"",
            b"<html>404 Not Found</html>\n",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
            "\ufeff".encode() + content,
        )
    )


def broken_text(text: str, draw: Random) -> bytes:
    """A text file after a hand's slip: a line lost, doubled or moved, a character more or less, another encoding."""
    lines = text.splitlines(keepends=True)
    line, character = draw.randrange(len(lines)), draw.randrange(len(text))
    return draw.choice(
        (
            "".join(lines[:line] + lines[line + 1 :]).encode(),
            "".join([*lines[: line + 1], lines[line], *lines[line + 1 :]]).encode(),
            "".join([*lines[:line], " " + lines[line], *lines[line + 1 :]]).encode(),
            "".join([*lines[:line], "\t" + lines[line], *lines[line + 1 :]]).encode(),
            (text[:character] + text[character + 1 :]).encode(),
            (text[:character] + draw.choice("{}[]:&*!%@`\"'#|>-?,\0\x1b") + text[character:]).encode(),
            text.encode("utf-16"),
            "\ufeff".encode() + text.encode(),
            (text + "# Übung\n").encode("latin-1"),
            text.replace("\n", "\r\n").encode(),
        )
    )


def places(tree: Any, way: Place | None = None) -> Iterator[Place]:
    """The ways to all values of a tree but its root."""
    children: Any = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, child in children:
        yield [*(way or []), key]
        yield from places(child, [*(way or []), key])


def broken_tree(tree: Any, draw: Random, times: int = 1) -> Any:
    """A copy of nested dicts and lists in which values are odd, are missing, have another name or are elsewhere."""
    tree = copy.deepcopy(tree)
    for _ in range(times):
        ways = list(places(tree))
        if not ways:
            break
        *way, last = draw.choice(ways)
        parent = tree
        for key in way:
            parent = parent[key]
        kind = draw.choice(("odd", "odd", "odd", "odd", "lost", "renamed", "moved"))
        if kind == "lost":
            del parent[last]
        elif kind == "renamed" and isinstance(parent, dict):
            parent[draw.choice((f"{last}s", str(last).upper(), "", "class", "é"))] = parent.pop(last)
        elif kind == "moved":
            parent[last] = copy.deepcopy(tree)
        else:
            parent[last] = copy.deepcopy(draw.choice(ODD))
    return tree


def break_folder(root: Path, draw: Random) -> str:
    """Do something to one of the files below a folder; returns what."""
    path = draw.choice(sorted(path for path in root.rglob("*") if path.is_file()))
    content = path.read_bytes()
    kind = draw.choice(("bytes", "bytes", "bytes", "bytes", "gone", "folder", "link", "loop", "pipe", "copy", "swap"))
    if kind == "bytes":
        path.write_bytes(broken_bytes(content, draw))
    elif kind == "copy":  # as file managers name them, and systems leave them
        name = draw.choice((f"{path.stem} (copy){path.suffix}", "Thumbs.db", ".DS_Store", f"{path.stem}.txt", "é.bak"))
        path.with_name(name).write_bytes(content)
    elif kind == "swap":
        other = draw.choice(sorted(path for path in root.rglob("*") if path.is_file()))
        path.write_bytes(other.read_bytes())
        other.write_bytes(content)
        return f"swap: {path.relative_to(root)}, {other.relative_to(root)}"
    else:
        path.unlink()
        if kind == "folder":
            path.mkdir()
        elif kind == "link":
            path.symlink_to("nowhere")
        elif kind == "loop":
            path.symlink_to(path.name)
        elif kind == "pipe":  # nobody ever writes into it: whoever opens it waits for ever
            os.mkfifo(path)
    return f"{kind}: {path.relative_to(root)}"


def copied(source: Path, target: Path) -> Path:
    shutil.rmtree(target, ignore_errors=True)
    return Path(shutil.copytree(source, target, symlinks=True))

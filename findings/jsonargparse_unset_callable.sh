#!/usr/bin/env bash
# jsonargparse 4.53.0 with `unset_sentinel=True` writes a config that it cannot read: None for a callable becomes a text.
#
# Met with: by default a null passes for a number in a class's `init_args`. With this setting it is told; but then the
# config that `--print_config` writes, of a model whose loss or optimizer is a callable that may be None, is broken.
# One would expect: `null`, as without the setting, and as for a class or a number that may be None.
# Seen: `Unable to serialize instance None`, which reading refuses.
# Fails if that has changed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check 'jsonargparse[signatures]==4.53.0' PyYAML==6.0.3
cd "$place"
"$place/venv/bin/python" -W ignore - <<'PYTHON'
from collections.abc import Callable

import jsonargparse
import yaml
from jsonargparse import ArgumentParser, set_parsing_settings


class Model:
    def __init__(self, loss: Callable[[float], float] | None = None, weight: float | None = None) -> None:
        """A model."""


def written(unset_sentinel: bool) -> tuple[object, bool]:
    """What stands in the config for the callable, and whether the config can be read."""
    set_parsing_settings(unset_sentinel=unset_sentinel)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Model, "model")
    text = parser.dump(parser.parse_args([]), skip_unset=False)
    try:
        parser.parse_string(text)
    except Exception:
        return yaml.safe_load(text)["model"]["loss"], False
    return yaml.safe_load(text)["model"]["loss"], True


print("jsonargparse", jsonargparse.__version__)
found = {setting: written(setting) for setting in (False, True)}
for setting, (loss, readable) in found.items():
    print(f"unset_sentinel={setting}: loss is {loss!r}, can be read: {readable}; expected None and True")
assert found == {False: (None, True), True: ("Unable to serialize instance None", False)}, "this has changed"
PYTHON

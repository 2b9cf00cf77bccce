#!/usr/bin/env bash
# msgspec 0.22.0: a TypedDict takes no value at all for a required field of `Raw`.
#
# Met with: COCO's annotation files, whose polygons are left unparsed until it is known whose they are.
# One would expect: the bytes of the value, as `Struct`, dataclasses, NamedTuple and TypedDict(total=False) give them.
# Seen: "Expected `raw`, got `array`", whatever the value is.
# Fails if that has changed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check msgspec==0.22.0
cd "$place"
"$place/venv/bin/python" - <<'PYTHON'
from dataclasses import dataclass
from typing import NamedTuple, TypedDict

import msgspec

print("msgspec", msgspec.__version__)


class AsStruct(msgspec.Struct):
    segmentation: msgspec.Raw


@dataclass
class AsDataclass:
    segmentation: msgspec.Raw


class AsNamedTuple(NamedTuple):
    segmentation: msgspec.Raw


class Required(TypedDict):
    segmentation: msgspec.Raw


class Optional(TypedDict, total=False):
    segmentation: msgspec.Raw


record, row = b'{"segmentation":[[1,2,3,4,5,6]]}', b"[[[1,2,3,4,5,6]]]"
refused = []
for kind in (AsStruct, AsDataclass, AsNamedTuple, Required, Optional):
    try:
        print(kind.__name__, msgspec.json.decode(row if kind is AsNamedTuple else record, type=kind) and "is read")
    except msgspec.ValidationError as error:
        refused.append(kind.__name__)
        print(kind.__name__, "is refused:", error)
assert refused == ["Required"], "this has changed"
PYTHON

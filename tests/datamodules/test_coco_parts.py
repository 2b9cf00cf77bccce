import json

import pytest
from coco_content import SQUARE, record, small_content

from datamodules import coco_parts
from datamodules.coco_parts import KINDS, UNUSUAL, Parts, parsed

RUNS = {"counts": [192], "size": [12, 16]}
ODD = [
    {"x": [{"a": 1}, {"b": 2}]},
    {"x": "}, {"},
    {"x": '"images": [{}]'},
    {"x": "}]"},
    {"images": 5},
    {"x": {"categories": "é"}},
]
"""What records may hold besides, in which a part may seem to end."""


@pytest.fixture
def content():
    content = small_content()
    content["images"] = [{**content["images"][0], "id": number, "file_name": f"é{number}.jpg"} for number in range(7)]
    shapes = ([SQUARE], [], [SQUARE, SQUARE], RUNS)
    content["annotations"] = [record(shapes[number % 4], id=number) for number in range(40)]
    return content


@pytest.fixture
def parts(tmp_path):
    def parts(content, **how):
        path = tmp_path / "instances.json"
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content, **how).encode())
        return Parts(path)

    return parts


def read(parts):
    """All records of a file, as they were written."""
    return {
        kind: [
            {
                key: json.loads(bytes(value)) if key == "segmentation" else value
                for key in one.__struct_fields__
                for value in [getattr(one, key)]
            }
            for some in parts.records(kind)
            for one in some
        ]
        for kind in KINDS
    }


def used(content):
    return {
        kind: [{key: one[key] for key in of.__struct_fields__} for one in content[kind]] for kind, of in KINDS.items()
    }


@pytest.mark.parametrize("size", [1, 50, 333, 2**17])
@pytest.mark.parametrize("how", [{}, {"indent": 1}, {"separators": (",", ":")}, {"ensure_ascii": False}], ids=str)
@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 2, 0]])
def test_records_are_those_of_the_file_however_it_is_written(parts, content, monkeypatch, size, how, order):
    monkeypatch.setattr(coco_parts, "PART", size)
    kinds = [*KINDS]
    content = {"info": {"year": 2017, "x": [{}, {}]}, **{kinds[i]: content[kinds[i]] for i in order}, "licenses": [{}]}
    found = parts(content, **how)
    assert read(found) == used(content)
    assert len(found.spans["annotations"]) > 1 or size > 333


@pytest.mark.parametrize("size", [1, 50, 333, 2**17])
@pytest.mark.parametrize("odd", ODD, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_what_records_hold_besides_changes_nothing_or_is_unusual(parts, content, monkeypatch, size, odd, kind):
    """Never is a record lost, or read otherwise."""
    monkeypatch.setattr(coco_parts, "PART", size)
    content[kind][1] = {**odd, **content[kind][1]}
    try:
        found = read(parts(content))
    except UNUSUAL:
        return
    assert found == used(content)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: b"",
        lambda text: text[:-1],
        lambda text: text + b"}",
        lambda text: b"\xef\xbb\xbf" + text,
        lambda text: text.decode().encode("utf-16"),
        lambda text: text.replace(b'"area": 40.0', b'"area": NaN'),
        lambda text: text.replace(b'"area": 40.0', b'"area": "40.0"'),
        lambda text: text.replace(b'"id": 39', b'"id": 3'),
        lambda text: text.replace(b'"id": 39', b'"id": 1' + b"0" * 30),
        lambda text: text.replace(b"}, {", b"}; {", 1),
        lambda text: text.replace(b"}, {", b"} {", 1),
        lambda text: text.replace(b'"images": [', b'"images": [5, ', 1),
        lambda text: text.replace(b'{"images"', b'{"images": [], "images"', 1),
        lambda text: b'{"info": ' + text + b"}",
        lambda text: text.replace(b'"images": [', b'"images": [], "im\\u0061ges": [', 1),
    ],
)
@pytest.mark.parametrize("size", [333, 2**17])
def test_all_else_is_unusual(parts, content, monkeypatch, size, change):
    monkeypatch.setattr(coco_parts, "PART", size)
    text = json.dumps(content).encode()
    changed = change(text)
    assert changed != text
    with pytest.raises(UNUSUAL):
        read(parts(changed))


def raw(value):
    return coco_parts.Raw(json.dumps(value).encode())


@pytest.mark.parametrize("value", [RUNS, [SQUARE, [1, 2, 3, 4], []], [[-28, 56, 0, 0, 0, 0.25]], []])
def test_segmentations_are_parsed(value):
    assert parsed(raw(value)) == value


@pytest.mark.parametrize("value", [[[1]], [SQUARE[1:]], [["1", *SQUARE[1:]]], [[None]], SQUARE, 5, None])
def test_segmentations_of_something_else_are_unusual(value):
    with pytest.raises(UNUSUAL):
        parsed(raw(value))

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from one_line import one_line
from PIL import Image

from callbacks.synthesis.painting import Painting
from command_line import UserError
from paint.files import Picture, Sample
from paint.record import Record

SETTINGS = {"task": "LargeEps", "seed": 0}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (6, 4), "red").save("a.png")


def record(runs=("one",), **settings):
    return Record(Path("out"), SETTINGS | settings, {"device": "cpu"}, list(runs))


def sample(name="a"):
    stored = torch.full((3, 4, 6), 100, dtype=torch.uint8)
    return Sample(Picture(name, Path("a.png"), (4, 6)), stored, None, {})


def painting(value=0.2, variant="", score=1.0):
    result = torch.full((1, 3, 4, 6), value)
    scores = {"psnr": torch.tensor([score])}
    return Painting(variant, torch.zeros_like(result), torch.ones_like(result), result, torch.eye(2)[:1], scores)


def test_what_was_painted_is_found_again():
    first = record()
    first.add("one", sample(), [painting(variant="to_n/a"), painting(0.4, "to_b", torch.nan)], 0, ["x", "y"])
    first.skip("b", "b.png: broken")
    first.write()
    assert {path.name for path in Path("out").glob("*.*")} == {"a_to_n_a.png", "a_to_b.png", "paint.json"} | {
        ".thumbnails"
    }
    told = json.loads(Path("out/paint.json").read_text())
    assert told["settings"] == SETTINGS and told["device"] == "cpu" and told["scores"] == {"one": {"psnr": 1.0}}
    assert told["skipped"] == {"b": "b.png: broken"} and told["versions"]["torch"] == torch.__version__
    result = told["pictures"]["a"]["painted"]["one"][1]
    assert result["files"] == ["a_to_b.png"] and result["scores"] == {"psnr": None} and list(result["seen"]) == ["x"]
    again = record()
    again.go_on()
    assert again.pictures == first.pictures and not again.skipped
    assert again.is_done("one", sample().picture) and not again.is_done("other", sample().picture)
    Image.new("RGB", (6, 4), "blue").save("a.png")
    assert not again.is_done("one", sample().picture), "the picture is another one"


def test_a_picture_that_has_changed_loses_what_others_painted_on_the_old_one():
    both = record(["one", "other"])
    for run in both.runs:
        both.add(run, sample(), [painting()], 0, [])
    assert set(both.pictures["a"].painted) == {"one", "other"}
    Image.new("RGB", (6, 4), "blue").save("a.png")
    both.add("one", sample(), [painting()], 0, [])
    assert set(both.pictures["a"].painted) == {"one"}


def test_two_results_of_one_name_are_told():
    found = record()
    found.add("one", sample(), [painting(variant="b")], 0, [])
    with pytest.raises(ValueError, match=one_line("its result a_b.png would have the name of that of a; rename it")):
        found.add("one", sample("a_b"), [painting()], 0, [])
    for name in ("contact_sheet", "contact_sheet_12"):
        with pytest.raises(ValueError, match=one_line(f"{name}.png would have the name of a contact sheet; rename")):
            found.add("one", sample(name), [painting()], 0, [])
    assert set(found.pictures) == {"a"} and not Path("out/contact_sheet.png").exists()
    both = record(["one", "other"])
    both.add("one", sample("contact_sheet"), [painting()], 0, [])
    assert Path("out/one/contact_sheet.png").is_file(), "there is no danger in a folder below"


def test_a_sheet_has_a_column_for_each_picture_and_at_most_a_hundred_rows(monkeypatch):
    rows = []
    monkeypatch.setattr("paint.record.contact_sheet", lambda *args: rows.append(args) or Image.new("RGB", (1, 1)))
    found = record(["one", "other"])
    for number in range(101):
        for run, value in (("one", 0.2), ("other", 0.6)):
            found.add(run, sample(f"{number:03d}"), [painting(value, "to_b"), painting(0.8, "to_c")], 0, ["sky", "sea"])
    assert found.write_sheets() == [Path("out/contact_sheet.png"), Path("out/contact_sheet_2.png")]
    (columns, first), (_, second) = rows
    assert columns == ["original", "to_b start", "to_b one", "to_b other", "to_c start", "to_c one", "to_c other"]
    assert len(first) == 100 and [row.name for row in second] == ["100"]
    assert [np.asarray(first[0].pictures[column])[0, 0, 0] for column in columns] == [100, 255, 51, 153, 255, 204, 204]
    assert first[0].captions["to_b one"] == "sky 73 %" and "original" not in first[0].captions


def test_a_sheet_does_without_small_pictures_that_were_removed():
    found = record()
    found.add("one", sample(), [painting()], 0, [])
    for path in Path("out/.thumbnails").rglob("*.png"):
        path.unlink()
    assert found.write_sheets() == [Path("out/contact_sheet.png")]


def test_reasons_add_up_and_none_is_said_twice():
    found = record()
    for reason in ("one met NaN", "other met NaN", "one met NaN"):
        found.skip("a", reason)
    assert found.skipped == {"a": "one met NaN; other met NaN"}


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "{}", '{"settings": 3, "pictures": {}}', '{"settings": {}, "pictures": []}',
     '{"settings": {}, "pictures": {"a": {"painted": {}}}}', '{"settings": {}, "pictures": {"a": 3}}',
     '{"settings": {}, "pictures": {"a": {"painted": {"one": [{}]}, "file": "", "size": [], "sources": {}}}}',
     "[" * 100_000],
)  # fmt: skip
def test_what_another_hand_has_written_is_refused(content):
    Path("out").mkdir()
    Path("out/paint.json").write_text(content)
    with pytest.raises(UserError, match=one_line("out/paint.json: not as `paint` writes it")):
        record().go_on()


def test_an_empty_folder_will_do():
    Path("out").mkdir()
    record().go_on()


def test_the_setting_that_differs_is_named():
    record().write()
    with pytest.raises(UserError, match=one_line("--out out: was painted with other settings, seed 0, now 3; name a")):
        record(seed=3).go_on()
    with pytest.raises(UserError, match=one_line("masks null, now", '"m"')):
        record(masks="m").go_on()
